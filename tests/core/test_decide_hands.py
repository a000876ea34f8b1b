"""``next_action`` when somebody or something else had a hand in it: edits, growth, pods that never come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.record import Step
from onlyvips.core.world import World
from tests.core.decisions import HOLD, IN_CANARY, IN_PROMOTE, NEW, OLD, PROPAGATION, READY, canary, decide, look, split

REPLACED = replace(IN_PROMOTE, weight=100, stable_replaced=True, steps=(Step("replace stable", "", 1.0, 2.0, "done"),))
GROWN = replace(OLD, replicas=8, ready=8, visible=8)

TABLE = [
    ("a drift is not held on a dead canary", IN_CANARY, World(OLD, canary(0), split(30)), "enter rollback"),
    (
        "a drift is not held after a failed look",
        replace(IN_CANARY, looks=(look("fail"),)),
        World(OLD, canary(4), split(30), waiting="drift", waited=HOLD / 2),
        "enter rollback",
    ),
    (
        "a pod template edited by hand is held",
        replace(IN_CANARY, from_template="abc"),
        World(replace(OLD, template="def"), canary(1), split(10)),
        "wait drift",
    ),
    (
        "the same pod template is not",
        replace(IN_CANARY, from_template="abc"),
        World(replace(OLD, template="abc"), canary(1), split(10)),
        "look",
    ),
    ("stable taken back by hand is not replaced again", REPLACED, World(OLD, canary(4), split(100)), "enter rollback"),
    (
        "a replacement that was only meant is done",
        replace(REPLACED, steps=(Step("replace stable", "", 1.0),)),
        World(OLD, canary(4), split(100)),
        "replace stable",
    ),
    (
        "stable that grew needs more pods",
        replace(IN_CANARY, stage=1, weight=10),
        World(GROWN, canary(1), split(10)),
        "scale canary to 2 pods",
    ),
    (
        "promotion needs what stable has now",
        replace(IN_PROMOTE, weight=50),
        World(GROWN, canary(4), split(50)),
        "scale canary to 8 pods",
    ),
    (
        "going back waits for stable's pods",
        replace(IN_CANARY, phase="rollback", weight=50),
        World(replace(OLD, ready=2, visible=2), canary(2), split(50)),
        "wait stable-ready",
    ),
    (
        "but not for ever",
        replace(IN_CANARY, phase="rollback", weight=50),
        World(
            replace(OLD, ready=2, visible=2),
            canary(2),
            split(50),
            waiting="stable-ready",
            waited=READY + PROPAGATION,
        ),
        "set weight 0 %",
    ),
]


@pytest.mark.parametrize(("record", "world", "title"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_what_follows(record: object, world: World, title: str) -> None:
    assert decide(record, world).title == title  # type: ignore[arg-type]


def test_unattended_a_new_stable_is_completed_even_then() -> None:
    world = World(NEW, canary(4), split(100))
    assert decide(REPLACED, world, attended=False).title == "set weight 0 %"
