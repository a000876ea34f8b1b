"""What came out, for people and as JSON: medians, ratios round by round, and which aims are reached."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import restore
from tests.bench.base import Found
from tests.bench.measure import Cost
from tests.bench.setting import Round

MEBIBYTE = 1 << 20
NOTES = (
    "Ratios count, not seconds: in each round the sides ran in turn on this machine, whatever else it did.",
    "One round before these is not counted: it warms the servers, and what each side left is opened and counted.",
    "CPU is user and system time of the side's own processes, a Python's start included; servers beside it.",
    "Peak memory is the sum of each process's largest resident size.",
    "`busy` is how many cores worked meanwhile: the side, the servers, and everybody else, whose part is `others`.",
)


@dataclass(frozen=True)
class Unit:
    """What is counted: ``speed`` things are one in the column of speed, ``cost`` things one in those of CPU."""

    speed: float
    speed_name: str
    cost: float
    cost_name: str


BYTES = Unit(1e6, "MB/s", 1e9, "GB")
FILES = Unit(1, "files/s", 1e3, "1000 files")
OPERATIONS = Unit(1, "ops/s", 1e5, "100k ops")
OURS_CHECKS = "ours checks: the hash of every object before the target is touched;"
LOAD_CHECKS = (
    f"{OURS_CHECKS} CRC-64, counts and framing as it is opened; every document, read back from the target.",
    "the pipeline checks: age's MAC, zstd's checksums, the archive's CRC-64, as they pass; nothing is read back.",
)
REPLAY_CHECKS = (
    f"{OURS_CHECKS} every entry, translated before it; then the outcome of each batch, read back from the target.",
    "mongorestore checks: nothing but what applyOps answers; nothing is read back.",
)


@dataclass(frozen=True)
class Aim:
    """A number of each round, and what its median should be: at least ``asked``, or at most."""

    what: str
    each: tuple[float, ...]
    asked: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return median(self.each) <= self.asked if self.at_most else median(self.each) >= self.asked

    def facts(self) -> dict[str, Any]:
        each = [round(value, 3) for value in self.each]
        return asdict(self) | {"each": each, "median": round(median(self.each), 3), "reached": self.reached}


@dataclass(frozen=True)
class Part:
    """One comparison: ``amount`` of ``unit`` in each round."""

    title: str
    amount: float
    unit: Unit
    rounds: Sequence[Round]
    aims: Sequence[Aim]
    steps: Mapping[str, float] = field(default_factory=dict)
    checks: Sequence[str] = ()

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        rounds = [{side: asdict(cost) for side, cost in found.items()} for found in self.rounds]
        return {
            "title": self.title,
            "amount": self.amount,
            "rounds": rounds,
            "aims": [aim.facts() for aim in self.aims],
            "steps": dict(self.steps),
            "checks": list(self.checks),
        }


def of_base(found: Found) -> Part:
    """The report of ``base.measure``."""
    rounds = found.rounds
    one, three, zstd, gzip = rounds[0]
    aims = [
        Aim(
            "speed of ours to one copy / zstd pipeline", _each(rounds, lambda r: r[zstd].seconds / r[one].seconds), 1.15
        ),
        Aim(
            "speed of ours to one copy / gzip pipeline", _each(rounds, lambda r: r[gzip].seconds / r[one].seconds), 2.5
        ),
        Aim(
            "CPU per GB of ours to one copy / zstd pipeline", _each(rounds, lambda r: r[one].cpu / r[zstd].cpu), 1, True
        ),
        Aim(
            "CPU per GB of ours to one copy / gzip pipeline", _each(rounds, lambda r: r[one].cpu / r[gzip].cpu), 1, True
        ),
        Aim(
            "time of ours to three copies / one", _each(rounds, lambda r: r[three].seconds / r[one].seconds), 1.3, True
        ),
        Aim("peak MiB of ours to three copies", _each(rounds, lambda r: r[three].peak / MEBIBYTE), 512, True),
    ]
    title = f"A base of {found.size / 1e6:.0f} MB of BSON, {found.documents} documents"
    return Part(title, found.size, BYTES, rounds, aims, found.steps)


def of_media(files: int, found: Mapping[str, Sequence[Round]]) -> list[Part]:
    """The reports of ``media.measure``, one a phase."""
    return [
        Part(
            f"Media, {files} files of 20 KB, {phase}",
            files,
            FILES,
            rounds,
            [_beside(rounds, other) for other in rounds[0] if other != "ours"],
        )
        for phase, rounds in found.items()
    ]


def of_load(found: restore.Found) -> Part:
    """The report of ``restore.measure_load``."""
    return _restored(found, BYTES, restore.PIPELINE, 1.5, LOAD_CHECKS)


def of_replay(found: restore.Found) -> Part:
    """The report of ``restore.measure_replay``."""
    return _restored(found, OPERATIONS, restore.REPLAY, 5, REPLAY_CHECKS)


def _restored(found: restore.Found, unit: Unit, other: str, asked: float, checks: Sequence[str]) -> Part:
    rounds = found.rounds
    aims = [
        _beside(rounds, other, asked),
        Aim("peak MiB of ours", _each(rounds, lambda r: r["ours"].peak / MEBIBYTE), 512, True),
    ]
    return Part(found.title, found.amount, unit, rounds, aims, found.steps, checks)


def _beside(rounds: Sequence[Round], other: str, asked: float = 1) -> Aim:
    return Aim(f"speed of ours / {other}", _each(rounds, lambda r: r[other].seconds / r["ours"].seconds), asked)


def machine() -> dict[str, Any]:
    """What these numbers depend on."""
    return {"cores": os.cpu_count()}


def show(parts: Sequence[Part], out: Console) -> None:
    """Tables."""
    for part in parts:
        out.print(f"\n{part.title}, {machine()['cores']} cores")
        out.print(_costs(part), crop=False)
        out.print(_aims(part.aims), crop=False)
        if part.steps:
            out.print(_steps(part.steps, part.unit), crop=False)
        for line in part.checks:
            out.print(line, soft_wrap=True)
    for note in NOTES:
        out.print(note, soft_wrap=True)


def _costs(part: Part) -> Table:
    unit = part.unit
    own, served = f"CPU s/{unit.cost_name}", f"servers s/{unit.cost_name}"
    table = _table("", unit.speed_name, "min", "max", own, served, "peak MiB", "stored MB", "busy", "others")
    for side in part.rounds[0]:
        costs = [found[side] for found in part.rounds]
        speeds = [part.amount / unit.speed / cost.seconds for cost in costs]
        per = unit.cost / part.amount
        table.add_row(
            side,
            *(f"{value:.0f}" for value in (median(speeds), min(speeds), max(speeds))),
            *(f"{median(found) * per:.2f}" for found in ([c.cpu for c in costs], [c.servers for c in costs])),
            f"{max(cost.peak for cost in costs) / MEBIBYTE:.0f}",
            f"{costs[-1].size / 1e6:.1f}" if costs[-1].size else "",
            f"{median(map(_busy, costs)):.2f}",
            f"{median(cost.others / cost.seconds for cost in costs):.2f}",
        )
    return table


def _busy(cost: Cost) -> float:
    return (cost.cpu + cost.servers + cost.others) / cost.seconds


def _aims(aims: Sequence[Aim]) -> Table:
    table = _table("", "median", "aim", "", "each round")
    for aim in aims:
        asked = f"{'≤' if aim.at_most else '≥'} {aim.asked:g}"
        each = ", ".join(f"{value:.2f}" for value in aim.each)
        table.add_row(aim.what, f"{median(aim.each):.2f}", asked, "reached" if aim.reached else "NOT reached", each)
    return table


def _steps(steps: Mapping[str, float], unit: Unit) -> Table:
    table = _table("each step of ours by itself, one thread", f"CPU s/{unit.cost_name}", "share")
    for step, cpu in steps.items():
        table.add_row(step, f"{cpu:.2f}", f"{cpu / sum(steps.values()):.0%}")
    return table


def _table(*names: str) -> Table:
    table = Table(*names, box=None)
    for column in table.columns:
        column.justify, column.no_wrap = "left" if column is table.columns[0] else "right", True
    return table


def _each(rounds: Sequence[Round], of: Callable[[Round], float]) -> tuple[float, ...]:
    return tuple(map(of, rounds))
