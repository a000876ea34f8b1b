"""Whole canaries by chance: how many good ones the judge sends back, and how many bad ones it finds in a stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.canaries import ALPHA, EVERYTHING, FAULTS, MINUTELY, NULLS, World, failed, upper_bound

POWER = 0.95
WORLDS = {
    "nothing else happens, 9 pods of stable": World(),
    "all that happens, 9 pods of stable": EVERYTHING,
    "nothing else happens, 3 pods of stable": World(pods=3),
    "all that happens, 3 pods of stable": replace(EVERYTHING, pods=3),
    "all that happens, 2 pods of stable": replace(EVERYTHING, pods=2),
    "all that happens, looks of a minute, 9 pods": MINUTELY,
    "all that happens, looks of a minute, 3 pods": replace(MINUTELY, pods=3),
    "all that happens, looks of a minute, 2 pods": replace(MINUTELY, pods=2),
}


@dataclass(frozen=True)
class Line:
    """``failed`` of ``runs`` canaries; ``bound`` at 95 %: from above for false alarms, from below for faults found."""

    what: str
    good: bool
    runs: int
    failed: int

    @property
    def bound(self) -> float:
        """Upper for a good version; for a fault, lower: one less the upper bound of those that were missed."""
        if self.good:
            return upper_bound(self.failed, self.runs)
        return 1 - upper_bound(self.runs - self.failed, self.runs)

    @property
    def reached(self) -> bool:
        """By the bound, not by the share."""
        return self.bound <= ALPHA if self.good else self.bound >= POWER

    def facts(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"bound": round(self.bound, 4), "reached": self.reached}


def measure(runs: int, console: Console) -> Iterator[Line]:
    """Every null over a whole canary, every fault in the first stage, at 10 requests/s of the canary's own."""
    for name, (canary, stable, world) in NULLS.items():
        console.print(f"{name} …")
        yield Line(name, True, runs, failed(canary, stable, world, runs))
    for name, versions in FAULTS.items():
        for where, world in WORLDS.items():
            console.print(f"{name}, {where} …")
            yield Line(f"{name}, {where}", False, runs, failed(*versions, world, runs, stages=1))


def show(lines: list[Line], console: Console) -> None:
    """A table for people."""
    table = Table(title=f"The judge: whole canaries by chance (alpha {ALPHA:.0%}, power {POWER:.0%} in a stage)")
    for head in ("canary", "runs", "sent back", "95 % bound", "asked"):
        table.add_column(head, justify="left" if head == "canary" else "right")
    for line in lines:
        bound = f"{'≤' if line.good else '≥'} {line.bound:.1%}"
        asked = f"{f'≤ {ALPHA:.0%}' if line.good else f'≥ {POWER:.0%}'} {'reached' if line.reached else 'MISSED'}"
        table.add_row(line.what, str(line.runs), str(line.failed), bound, asked)
    console.print(table)
