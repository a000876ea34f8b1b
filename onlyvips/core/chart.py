"""Plots as plain values: what is drawn, and the sentence that says it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
"""Unix seconds and a value."""


@dataclass(frozen=True)
class Line:
    """One thing on a plot. ``steps`` stay until the next point, ``limit`` is one value throughout; ``reach`` is the
    interval (low, high) of each point, where there is one."""

    name: str
    role: Literal["canary", "stable", "limit", "intended"]
    kind: Literal["steps", "dots", "limit"]
    points: tuple[Point, ...]
    reach: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Chart:
    """One plot over time; values are in ``unit``. ``told`` says what is seen there."""

    title: str
    unit: str
    told: str
    lines: tuple[Line, ...]
