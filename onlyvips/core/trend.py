"""Drills over time: what the page and its plots show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips.core import drills
from onlyvips.core.drills import DrillPlan, DrillRecord, Drills
from onlyvips.core.manifest import seconds

_SHOWN = 20
"""Drills in a table."""


@dataclass(frozen=True)
class Point:
    """One drill on a plot: unix seconds of its beginning, and the value in seconds, None where it was not measured."""

    at: float
    value: float | None
    passed: bool


@dataclass(frozen=True)
class Plot:
    """One plot: what is measured, the target in seconds, and the points, oldest first."""

    name: Literal["RTO", "RPO"]
    title: str
    target: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Trend:
    """All that the page shows. ``headline`` says how things stand, ``good`` whether that is well; ``rows`` are the
    newest drills first."""

    environment: str
    at: str
    headline: str
    good: bool
    plots: tuple[Plot, ...]
    rows: tuple[DrillRecord, ...]
    ignored: tuple[str, ...]


def trend(found: Drills, plan: DrillPlan, at: str) -> Trend:
    """The trend at a moment, ``2026-08-01T12:00:00Z``."""
    faults = [one for one in drills.findings(found, plan, seconds(at)) if one.severity != "note"]
    told = f"{_capital(faults[0].what)}." if faults else drills.headline(found.records[-1])
    return Trend(
        environment=plan.environment,
        at=at,
        headline=told,
        good=not faults,
        plots=(
            Plot("RTO", "time to restore", plan.rto, _points(found.records, "recovery_time_ms")),
            Plot("RPO", "age of the newest moment to be had", plan.rpo, _points(found.records, "recovery_point_ms")),
        ),
        rows=tuple(reversed(found.records))[:_SHOWN],
        ignored=tuple(drills.told_unverified(one) for one in found.unverified),
    )


def _points(records: Sequence[DrillRecord], name: str) -> tuple[Point, ...]:
    found = list[Point]()
    for one in records:
        value: int | None = getattr(one, name)
        found.append(Point(seconds(one.started), None if value is None else value / 1000, one.passed))
    return tuple(found)


def markdown(found: Trend, pictures: Sequence[str]) -> str:
    """The page for who reads Markdown; ``pictures`` are addresses of the plots."""
    lines = [f"**{found.headline}**", ""]
    for plot, picture in zip(found.plots, pictures, strict=True):
        lines += [f"![{plot.name}, {plot.title}: at most {drills.span(plot.target)}]({picture})", ""]
    lines += [f"| {' | '.join(drills.HEADS)} |", f"|{' --- |' * len(drills.HEADS)}"]
    lines += [f"| {' | '.join(drills.row(one))} |" for one in found.rows]
    return "\n".join([*lines, "", *(f"- {one}" for one in found.ignored)])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
