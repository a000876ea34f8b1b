"""Calendar periods in UTC: which hour, day, week (from Monday), month or year a moment is in, numbered without gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

_HOUR, _DAY, _WEEK = 3600, 86400, 7 * 86400
_MONDAY = 4 * _DAY
"""The first Monday after the epoch, which was a Thursday."""


@dataclass(frozen=True)
class Period:
    """A kind of period: ``index`` numbers the one that a unix second is in, ``start`` is its first unix second."""

    name: str
    index: Callable[[float], int]
    start: Callable[[int], float]
    written: str

    def label(self, index: int) -> str:
        """``day 2026-08-01``: for people."""
        return f"{datetime.fromtimestamp(self.start(index), UTC):{self.written}}"


def _month(unix: float) -> int:
    at = datetime.fromtimestamp(unix, UTC)
    return at.year * 12 + at.month - 1


def _month_start(index: int) -> float:
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC).timestamp()


PERIODS = (
    Period("hourly", lambda unix: int(unix // _HOUR), lambda i: i * _HOUR, "hour %Y-%m-%dT%H"),
    Period("daily", lambda unix: int(unix // _DAY), lambda i: i * _DAY, "day %Y-%m-%d"),
    Period("weekly", lambda unix: int((unix - _MONDAY) // _WEEK), lambda i: i * _WEEK + _MONDAY, "week of %Y-%m-%d"),
    Period("monthly", _month, _month_start, "month %Y-%m"),
    Period("yearly", lambda unix: _month(unix) // 12, lambda i: _month_start(12 * i), "year %Y"),
)
"""The shortest first."""
