"""Quantities as people write them: durations ``1h30m``, sizes ``64MiB``, percentages ``5%``.

A number without its unit is refused: 30 of what? Parsed durations are seconds, sizes bytes, percentages shares (0..1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII)
_SIZE = re.compile(r"(\d{1,18})(B|KiB|MiB|GiB|TiB)", re.ASCII)
_LONGEST = 3650 * 86400.0
_PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)%", re.ASCII)

Unit = Literal["seconds", "share", "count"]


@dataclass(frozen=True)
class Limit:
    """A threshold with its unit: seconds, a share of 1, or a count."""

    value: float
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "count":
            return f"{self.value:g}"
        return show_duration(self.value) if self.unit == "seconds" else show_share(self.value)


def duration(text: object) -> float:
    """Seconds of ``30m``, ``1h30m``, ``500ms``, ``7d``: whole numbers, largest unit first, not zero."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f"{_said(text)} is not a duration: write it as 30m, 1h30m, 15s or 500ms")
    seconds = sum(int(n) * unit for n, unit in zip(match.groups(), _SECONDS.values(), strict=True) if n is not None)
    if seconds <= 0:
        raise ValueError(f"{_said(text)} is no time at all: a duration must be more than zero")
    if seconds > _LONGEST:
        raise ValueError(f"{_said(text)} is more than ten years: did you mean another unit?")
    return round(seconds, 3)


def size(text: object) -> int:
    """Bytes of ``64MiB`` or ``1GiB``: binary units only, more than zero."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{_said(text)} is not a size: write it as 512KiB, 64MiB or 1GiB")
    if int(match[1]) == 0:
        raise ValueError(f"{_said(text)} is nothing: a size must be more than zero")
    return int(match[1]) * _BYTES[match[2]]


def share(text: object) -> float:
    """``5%`` as 0.05; 0 % to 100 %."""
    match = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{_said(text)} is not a percentage: write it as 5% or 0.25%")
    if float(match[1]) > 100:
        raise ValueError(f"{_said(text)} is more than all: a percentage is at most 100%")
    return round(float(match[1]) / 100, 10)


def weight(text: object) -> int:
    """``10%`` as 10, whole percent."""
    percent = round(share(text) * 100, 8)
    if percent != int(percent):
        raise ValueError(f"{_said(text)} is not a whole percentage: routers split by whole percent")
    return int(percent)


def limit(text: object) -> Limit:
    """A threshold: ``500ms`` in seconds, ``5%`` as a share, ``1000`` as a count."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= 10**12:
        return Limit(float(text), "count")
    if isinstance(text, str) and text.endswith("%"):
        return Limit(share(text), "share")
    try:
        return Limit(duration(text), "seconds")
    except ValueError:
        raise ValueError(f"{_said(text)} is not a limit: write it as 500ms, 5% or a whole number") from None


def show_duration(seconds: float) -> str:
    """``5400`` as ``1h30m``: what ``duration`` reads back."""
    left, parts = round(seconds * 1000), []
    for unit, worth in _SECONDS.items():
        count, left = divmod(left, round(worth * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def show_size(number: int) -> str:
    """``67108864`` as ``64MiB``: the largest unit that divides it."""
    unit = next(u for u in reversed(_BYTES) if number % _BYTES[u] == 0)
    return f"{number // _BYTES[unit]}{unit}"


def show_share(value: float) -> str:
    """``0.05`` as ``5%``."""
    return f"{round(value * 100, 8):g}%"


def _said(value: Any) -> str:
    """The value as an error may show it; only scalars, for a list or mapping may be long."""
    return f"`{value}`" if isinstance(value, str | int | float) and len(str(value)) <= 40 else "this value"


Duration = Annotated[float, BeforeValidator(duration)]
"""Seconds, from ``30m``."""
Size = Annotated[int, BeforeValidator(size)]
"""Bytes, from ``64MiB``."""
Share = Annotated[float, BeforeValidator(share)]
"""0..1, from ``5%``."""
Weight = Annotated[int, BeforeValidator(weight)]
"""Whole percent, from ``10%``."""
Threshold = Annotated[Limit, BeforeValidator(limit)]
"""A Limit, from ``500ms``, ``5%`` or ``1000``."""
