"""When a release may begin: windows of the week in a place's own time, and freezes. Pure; moments are unix seconds.

A window's wall-clock times are those of its zone, whatever summer time does: where a time comes twice, the window opens
with the first and closes with the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY_MINUTES = 24 * 60
_AHEAD = 15
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Window:
    """Open on ``days`` (0 is Monday) from ``start`` to ``end``, minutes after midnight in ``zone``; over midnight where
    ``end`` is not after ``start``."""

    days: tuple[int, ...]
    start: int
    end: int
    zone: str


@dataclass(frozen=True)
class Freeze:
    """No release begins from ``start`` to ``end``."""

    start: float
    end: float
    why: str


@dataclass(frozen=True)
class Calendar:
    """Without windows every moment is open; a freeze closes whatever is open."""

    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()


def closed(calendar: Calendar, now: float) -> str:
    """Why no release may begin now, and when one may; empty when one may."""
    why = _why(calendar, now)
    if not why:
        return ""
    following = next_open(calendar, now)
    then = f"the next time is {moment(calendar, following)}" if following is not None else "no later time is known"
    return f"{why}; {then}"


@dataclass(frozen=True)
class Outlook:
    """Whether a release may begin ``now``, and until when (None: for as long as is known); if not, why, and when the
    next may (None: not known). ``ends`` says what ends it."""

    open: bool
    why: str = ""
    until: float | None = None
    ends: str = ""
    following: float | None = None


def outlook(calendar: Calendar, now: float) -> Outlook:
    """What the calendar says of now and of what comes."""
    if why := _why(calendar, now):
        return Outlook(False, why, following=next_open(calendar, now))
    ends = [(one.start, f"a freeze begins ({one.why})") for one in calendar.freezes if one.start > now]
    spans = sorted(span for span in _spans(calendar, now, _AHEAD))
    if (end := _end(spans, now)) is not None:
        ends.append((end, "the window closes"))
    until, told = min(ends, default=(None, ""))
    return Outlook(True, until=until, ends=told)


def _end(spans: list[tuple[float, float]], now: float) -> float | None:
    """When the window that is open closes; windows that follow on one another are one."""
    end = None
    for start, stop in spans:
        if start <= (now if end is None else end) < stop:
            end = stop
    return end


def _why(calendar: Calendar, now: float) -> str:
    frozen = next((one for one in calendar.freezes if one.start <= now < one.end), None)
    if frozen is not None:
        return f"releases are frozen until {moment(calendar, frozen.end)} ({frozen.why})"
    if calendar.windows and not any(start <= now < end for start, end in _spans(calendar, now, 1)):
        return f"it is {moment(calendar, now)}, outside of every release window"
    return ""


def next_open(calendar: Calendar, now: float) -> float | None:
    """The first moment from ``now`` on at which a release may begin; None when there is none within
    two weeks, nor within two weeks of the end of a freeze."""
    since = [now, *(one.end for one in calendar.freezes)]
    starts = [*since, *(start for moment in since for start, _ in _spans(calendar, moment, _AHEAD))]
    return next((at for at in sorted(starts) if at >= now and not _why(calendar, at)), None)


def _spans(calendar: Calendar, now: float, ahead: int) -> Iterator[tuple[float, float]]:
    """From when to when windows are open, from two days before ``now`` on: one may have opened then, over midnight."""
    for window in calendar.windows:
        today = datetime.fromtimestamp(now, ZoneInfo(window.zone)).date()
        for number in range(-2, ahead + 1):
            day = today + timedelta(days=number)
            if day.weekday() in window.days:
                yield _span(window, day)


def _span(window: Window, day: date) -> tuple[float, float]:
    over = _DAY_MINUTES if window.end <= window.start else 0
    return _at(day, window.start, window.zone, 0), _at(day, window.end + over, window.zone, 1)


def _at(day: date, minutes: int, zone: str, fold: int) -> float:
    days, rest = divmod(minutes, _DAY_MINUTES)
    wall = datetime(day.year, day.month, day.day, rest // 60, rest % 60) + timedelta(days=days)
    return wall.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def moment(calendar: Calendar, at: float) -> str:
    """``Mon 2026-11-30 08:00 CET``, in the zone of the first window."""
    zone = ZoneInfo(calendar.windows[0].zone) if calendar.windows else UTC
    return f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M %Z}"
