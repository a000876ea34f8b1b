"""Drills over time: what the page and its plots show. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips.core import drills
from onlyvips.core.drill_findings import counting, findings
from onlyvips.core.drills import DrillPlan, Drills
from onlyvips.core.manifest import seconds

_SHOWN = 20
"""Drills in a table."""
_KIND = "mongodb"
"""What is rehearsed."""


@dataclass(frozen=True)
class Point:
    """One drill on a plot: unix seconds of its beginning, the value in seconds, None where it was not measured, and
    whether it was of the latest moment."""

    at: float
    value: float | None
    passed: bool
    of_latest: bool = True


@dataclass(frozen=True)
class Plot:
    """One plot: what is measured, the target in seconds, and the points, oldest first."""

    name: Literal["RTO", "RPO"]
    title: str
    target: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Row:
    """A drill in the table; ``why`` it failed."""

    cells: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class Trend:
    """All that the page shows. ``headline`` says how things stand, ``good`` whether that is well; ``rows`` are the
    newest drills first."""

    environment: str
    at: str
    headline: str
    good: bool
    plots: tuple[Plot, ...]
    rows: tuple[Row, ...]
    ignored: tuple[str, ...]


def trend(found: Drills, plan: DrillPlan, at: str) -> Trend:
    """The trend at a moment, ``2026-08-01T12:00:00Z``."""
    faults = [one for one in findings(found, plan, seconds(at)) if one.severity != "note"]
    faults.sort(key=lambda one: one.severity != "fault")
    told = f"{_capital(faults[0].what)}." if faults else drills.headline(counting(found, _KIND, seconds(at))[-1])
    return Trend(
        environment=plan.environment,
        at=at,
        headline=told,
        good=not faults,
        plots=(
            Plot("RTO", "time to restore", plan.rto, _points(found, "recovery_time_ms")),
            Plot("RPO", "age of the newest moment to be had", plan.rpo, _points(found, "recovery_point_ms")),
        ),
        rows=_rows(found),
        ignored=tuple(drills.told_unverified(one) for one in found.unverified),
    )


def _points(found: Drills, name: str) -> tuple[Point, ...]:
    """One that died was not measured, and did not pass; one that runs is not shown."""
    points = [
        Point(seconds(one.started), None, False, one.of_latest) for one in found.unended if one.id != found.running
    ]
    for one in found.records:
        value: int | None = getattr(one, name)
        points.append(Point(seconds(one.started), None if value is None else value / 1000, one.passed, one.of_latest))
    return tuple(sorted(points, key=lambda one: one.at))


def _rows(found: Drills) -> tuple[Row, ...]:
    why = {one.id: " ".join(one.reasons) for one in found.records}
    return tuple(Row(cells, why.get(cells[0], "")) for cells in reversed(drills.rows(found)[-_SHOWN:]))


def markdown(found: Trend, pictures: Sequence[str]) -> str:
    """The page for who reads Markdown; ``pictures`` are addresses of the plots."""
    lines = [f"**{found.headline}**", ""]
    for plot, picture in zip(found.plots, pictures, strict=True):
        lines += [f"![{plot.name}, {plot.title}: at most {drills.span(plot.target)}]({picture})", ""]
    lines += [f"| {' | '.join(drills.HEADS)} |", f"|{' --- |' * len(drills.HEADS)}"]
    lines += [f"| {' | '.join(one.cells)} |" for one in found.rows]
    return "\n".join([*lines, "", *(f"- {one}" for one in found.ignored)])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
