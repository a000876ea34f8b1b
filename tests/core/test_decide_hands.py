"""``next_action`` when somebody or something else had a hand in it: edits, growth, pods that never come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.record import Step
from onlyvips.core.world import World
from tests.core.decisions import HOLD, IN_CANARY, IN_PROMOTE, NEW, OLD, PROPAGATION, READY, canary, decide, look, split

REPLACED = replace(IN_PROMOTE, weight=100, stable_replaced=True, steps=(Step("replace stable", "", 1.0, 2.0, "done"),))
WAITED: dict[str, Any] = {"waiting": "stable-ready", "waited": READY + PROPAGATION}
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
        "and gets no more than they carry, however long that lasts",
        replace(IN_CANARY, phase="rollback", weight=50),
        World(replace(OLD, ready=2, visible=2), canary(2), split(50), **WAITED),
        "wait stable-ready",
    ),
    (
        "a canary that somebody scaled to nothing keeps nothing",
        replace(IN_CANARY, phase="rollback", weight=50),
        World(replace(OLD, ready=2, visible=2), canary(0), split(50)),
        "set weight 0 %",
    ),
    (
        "old pods that are back carry what they can when no more come",
        replace(REPLACED, phase="rollback"),
        World(replace(OLD, ready=3, visible=3, complete=False), canary(4), split(100), **WAITED),
        "set weight 25 %",
    ),
    (
        "but not before the router saw them",
        replace(REPLACED, phase="rollback"),
        World(replace(OLD, ready=3, visible=2, quiet=1.0, complete=False), canary(4), split(100), **WAITED),
        "wait stable-ready",
    ),
    (
        "going back asks for the pods that an autoscaler took from stable",
        replace(REPLACED, phase="rollback"),
        World(replace(OLD, replicas=2, ready=2, visible=2), canary(4), split(100)),
        "scale stable to 4 pods",
    ),
    (
        "but first the traffic goes to those that are ready",
        replace(IN_PROMOTE, phase="rollback"),
        World(replace(OLD, replicas=2, ready=2, visible=2), canary(4), split(100)),
        "set weight 50 %",
    ),
    (
        "and then it asks for the rest",
        replace(IN_PROMOTE, phase="rollback", weight=50),
        World(replace(OLD, replicas=2, ready=2, visible=2), canary(4), split(50)),
        "scale stable to 4 pods",
    ),
    (
        "promotion too",
        REPLACED,
        World(replace(NEW, replicas=2, ready=2, visible=2), canary(4), split(100)),
        "scale stable to 4 pods",
    ),
    (
        "nothing is promoted while stable lacks pods, whatever the weight",
        replace(REPLACED, weight=0),
        World(replace(NEW, ready=1, visible=1), canary(4), split(0)),
        "wait stable-ready",
    ),
    (
        "a stable that its autoscaler shrank since it carries all is whole",
        replace(REPLACED, weight=0),
        World(replace(NEW, replicas=2, ready=2, visible=2), canary(4), split(0)),
        "remove canary",
    ),
    (
        "going back leaves a dead canary at once, also for the new stable",
        replace(REPLACED, phase="rollback"),
        World(NEW, canary(0), split(100)),
        "set weight 0 %",
    ),
    (
        "a release whose old pods do not all come back still ends",
        replace(REPLACED, phase="rollback", weight=0),
        World(replace(OLD, ready=3, visible=3), None, split(0, listed=False), **WAITED),
        "enter evidence",
    ),
    (
        "a canary edited by hand is held",
        replace(IN_CANARY, canary_template="abc"),
        World(OLD, canary(1, template="def"), split(10)),
        "wait drift",
    ),
    (
        "a stage that the environment lost is no crash",
        replace(IN_CANARY, stage=3),
        World(OLD, canary(1), split(10)),
        "enter rollback",
    ),
]


@pytest.mark.parametrize(("record", "world", "title"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_what_follows(record: object, world: World, title: str) -> None:
    assert decide(record, world).title == title  # type: ignore[arg-type]


def test_unattended_a_new_stable_is_completed_even_then() -> None:
    world = World(NEW, canary(4), split(100))
    assert decide(REPLACED, world, attended=False).title == "set weight 0 %"
