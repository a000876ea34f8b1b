"""When releases may begin, as the file says it: windows of the week, and freezes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator

from onlyvips.core import windows
from onlyvips.environment.base import Section, Text
from onlyvips.environment.problems import nearest

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def _days(text: str) -> str:
    parse_days(text)
    return text


def parse_days(text: str) -> tuple[int, ...]:
    """``mon-thu`` or ``mon, wed`` as numbers of days, Monday is 0. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        for name in (first, last) if dash else (first,):
            if name not in windows.DAYS:
                raise ValueError(f"`{name}` is no day{nearest(name, windows.DAYS)}")
        begin, end = windows.DAYS.index(first), windows.DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))}
    return tuple(sorted(found))


def _clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError('not a time of day: write it as "08:00", quoted')
    return text


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError(f"`{text}` is no time zone{nearest(text, available_timezones())}")
    return text


def _moment(text: str) -> str:
    try:
        known = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise ValueError('not a moment with its zone: write it as "2026-12-21T00:00+01:00", quoted')
    return text


ClockTime = Annotated[str, AfterValidator(_clock)]
Moment = Annotated[str, AfterValidator(_moment)]


class ReleaseWindow(Section):
    """Releases begin on ``days`` from ``start`` to ``end``, by the clocks of ``zone``."""

    days: Annotated[str, AfterValidator(_days)]
    start: ClockTime
    end: ClockTime
    zone: Annotated[str, AfterValidator(_zone)]


class ReleaseFreeze(Section):
    """No release begins from ``start`` to ``end``."""

    start: Moment
    end: Moment
    why: Text

    @property
    def span(self) -> tuple[float, float]:
        """Unix seconds."""
        return datetime.fromisoformat(self.start).timestamp(), datetime.fromisoformat(self.end).timestamp()


def calendar(some: tuple[ReleaseWindow, ...], freezes: tuple[ReleaseFreeze, ...]) -> windows.Calendar:
    """For core."""
    return windows.Calendar(
        tuple(windows.Window(parse_days(one.days), _minutes(one.start), _minutes(one.end), one.zone) for one in some),
        tuple(windows.Freeze(*one.span, one.why) for one in freezes),
    )
