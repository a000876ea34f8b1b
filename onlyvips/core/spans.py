"""Lengths of time for people. Pure."""

from __future__ import annotations

_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))


def span(seconds: float) -> str:
    """``5400`` as ``1 h 30 min``, ``8.5`` as ``8.5 s``: the two largest units that say something."""
    if seconds < 60:
        return f"{round(seconds, 1):g} s"
    left, parts = round(seconds), []
    for unit, worth in (*_UNITS, ("s", 1.0)):
        count, left = divmod(left, int(worth))
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
