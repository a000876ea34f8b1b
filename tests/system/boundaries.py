"""Where a driver can be killed: every step of every strategy, on the way forward and on the ways back, by its name.

``tests/procedures/test_boundaries.py`` holds this table against what releases do; ``tests/system/test_kills.py`` kills
drivers there on the lab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from onlyvips.core.action import Action
from onlyvips.core.plan import Strategy
from onlyvips.core.record import Record

Moment = Literal["meant", "done", "in", "after"]
"""``meant``: the intent is written, nothing is done. ``done``: it is done, and not written down. ``in``: in the middle
of a wait or a look. ``after``: it is written down, and nothing else begun."""
Comes = Literal["retried", "nobody"]
"""Who comes after the death: the same run, tried again, or nobody but the reconciler."""

START = "snapshot, enter backup, back-up, enter secrets, create-secrets, migrate"
END = "enter evidence, write-evidence, close"

WAYS: Mapping[Strategy, Mapping[str, str]] = {
    "canary": {
        "": f"{START}, create-canary, wait canary-ready, set-weight 50, scale-canary, look, enter promote, "
        "set-weight 100, wait route, replace-stable, wait stable-ready, set-weight 0, wait route#2, remove-canary, "
        "remove-leftovers, enter evidence, prune-configuration, write-evidence, close",
        "set-weight 50": "enter rollback, set-weight 0, wait route, restore-configuration, remove-canary, "
        f"remove-leftovers, {END}",
        "replace-stable": "enter rollback, restore-configuration, restore-stable, wait stable-ready, set-weight 0, "
        f"wait route#2, remove-canary, remove-leftovers, {END}",
        "set-weight 0": "enter rollback, set-weight 100#2, wait route#2, restore-configuration, restore-stable, "
        f"wait stable-ready#2, set-weight 0#2, wait route#3, remove-canary, remove-leftovers, {END}",
    },
    "blue-green": {
        "": f"{START}, bring-up, wait new-ready, smoke-test, enter switch, switch new, wait route, enter warm, look, "
        f"retire, remove-leftovers, {END}",
        "smoke-test": f"enter rollback, put-back, remove-leftovers, {END}",
        "switch new": f"enter rollback, switch old, wait route, put-back, remove-leftovers, {END}",
    },
    "rolling": {
        "": f"{START}, replace-stable, wait rolling, note-progress, look, remove-leftovers, {END}",
        "replace-stable": f"enter rollback, restore-stable, wait stable-ready, remove-leftovers, {END}",
    },
    "recreate": {
        "": f"{START}, stop, wait ending, replace-stable, wait empty, start, wait stable-ready, {END}",
        "stop": f"enter rollback, wait ending, start, wait stable-ready, {END}",
        "start": f"enter rollback, stop#2, restore-stable, start#2, wait stable-ready, {END}",
    },
}
"""By strategy, and by the step after which a person aborts ("" when nobody does): the steps that follow, in order. A
``#2`` is the second time."""

OF_BACKEND = ("restore-configuration", "prune-configuration")
"""Steps that only a service has whose pods read Secrets or ConfigMaps by name."""

MOMENTS: Mapping[str, tuple[Moment, ...]] = {"wait": ("in",), "look": ("in",), "enter": ("after",), "close": ("after",)}
"""Of all others an intent is written: they have two moments."""


@dataclass(frozen=True)
class Kill:
    """One death: of a release by ``strategy``, aborted after the step ``way`` ("" for not at all), at ``step``."""

    strategy: Strategy
    way: str
    step: str
    moment: Moment
    comes: Comes

    def __str__(self) -> str:
        way = f"back after {self.way}" if self.way else "forward"
        return f"{self.strategy}, {way}, {self.moment} {self.step}, {self.comes}"


def every() -> Iterator[Kill]:
    """All of them. The end is the same on each way back, so it is killed on the first one only."""
    for strategy, ways in WAYS.items():
        for number, (way, listed) in enumerate(ways.items()):
            for step in (listed if number < 2 else listed.partition(f", {END}")[0]).split(", "):
                for moment in MOMENTS.get(step.split()[0], ("meant", "done")):
                    for comes in ("retried", "nobody"):
                        yield Kill(strategy, way, step, moment, comes)


def sample(seed: int, each: int = 3) -> list[Kill]:
    """``each`` of every strategy where users are concerned: not before traffic, not at the end; the last of each on its
    first way back, and both who come after in turn."""
    random, calm = Random(seed), {*START.split(", "), *END.split(", "), *OF_BACKEND}
    found = []
    for first, strategy in enumerate(WAYS):
        for number in range(each):
            comes, back = ("retried", "nobody")[(first + number) % 2], number == each - 1
            fitting = [
                kill
                for kill in every()
                if kill.strategy == strategy
                and kill.comes == comes
                and kill.way == list(WAYS[strategy])[back]
                and kill.step not in calm
            ]
            found.append(random.choice(fitting))
    return found


class Steps:
    """Gives each action of one driver its name in the table."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._last = ""

    def name(self, action: Action, record: Record) -> str:
        """A wait that goes on, and a look after a look, is the same step."""
        what = {"set-weight": str(action.number), "enter": action.phase, "wait": action.what, "switch": action.what}
        word = what.get(action.kind, "")
        for colour, role in zip(record.colours, ("old", "new"), strict=False):
            word = word.replace(colour, role)
        name = f"{action.kind} {word}".strip()
        if name != self._last:
            self._seen[name] += 1
        self._last = name
        return name if self._seen[name] == 1 else f"{name}#{self._seen[name]}"
