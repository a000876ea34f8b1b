"""``next_action`` of blue-green: what it decides in each scene, and what it never does in any world."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlyvips.core import decide as decisions
from onlyvips.core.action import Action
from onlyvips.core.phases import phases_of
from onlyvips.core.plan import BlueGreen, SmokeTest, Stage
from onlyvips.core.record import Record
from onlyvips.core.world import ASTRAY, Split, Workload, World
from tests.core.decisions import ABORT, NEW, OLD, PROPAGATION, look
from tests.core.decisions import PLAN as CANARY
from tests.core.decisions import RECORD as OF_CANARY

PLAN = replace(
    CANARY, stages=(Stage(100, 20.0),), blue_green=BlueGreen("version", ("blue", "green"), (SmokeTest("/"),))
)
RECORD = replace(OF_CANARY, strategy="blue-green", colours=("blue", "green"), phase="preview")
UP = replace(RECORD, canary_scaled=4)
TESTED = replace(UP, tested="4 smoke tests passed", phase="switch")
WARM = replace(TESTED, phase="warm", weight=100, intended_weight=100, looks=(look("pass"),))
BACK = replace(WARM, phase="rollback", reason="it failed")
WATCHED = replace(WARM, looks=(look("pass"), look("pass")))


def split(weight: int, settled: float = 99.0, listed: bool = True) -> Split:
    return Split(weight, settled, listed)


def decide(record: Record, world: World, attended: bool = True) -> Action:
    return decisions.next_action(record, world, PLAN, attended=attended)


def few(of: Workload, ready: int) -> Workload:
    return replace(of, ready=ready, visible=min(ready, of.visible))


BOTH: dict[str, Any] = {"stable": OLD, "canary": NEW}
Expected = tuple[Record, World, str, int | str]
SCENES: dict[str, Expected] = {
    "nothing of it is there": (RECORD, World(OLD, None, split(0, listed=False)), "bring-up", 4),
    "its preview is not": (UP, World(OLD, NEW, split(0, listed=False)), "bring-up", 4),
    "it is not ready": (UP, World(OLD, few(NEW, 3), split(0)), "wait", "green-ready"),
    "the router may not see it": (UP, World(OLD, replace(NEW, visible=3), split(0)), "wait", "green-ready"),
    "it is ready": (UP, World(**BOTH, split=split(0)), "smoke-test", 0),
    "it is tested": (replace(TESTED, phase="preview"), World(**BOTH, split=split(0)), "enter", "switch"),
    "all is ready": (TESTED, World(**BOTH, split=split(0)), "switch", 100),
    "it lost a pod since": (TESTED, World(OLD, few(NEW, 3), split(0)), "wait", "green-ready"),
    "switched, not written down": (
        replace(TESTED, intended_weight=100),
        World(**BOTH, split=split(100)),
        "switch",
        100,
    ),
    "the autoscaler is left behind": (WARM, World(**BOTH, split=split(100), scaler="stable"), "move-scaler", 0),
    "it grew": (WARM, World(OLD, replace(NEW, replicas=6), split(100)), "scale-stable", 6),
    "watched for half its time": (WARM, World(**BOTH, split=split(100)), "look", 0),
    "watched well": (WATCHED, World(**BOTH, split=split(100)), "retire", 0),
    "watched well by a process that has just begun": (WATCHED, World(**BOTH, split=split(100, 1.0)), "wait", "route"),
    "a pod is lost in the window": (WARM, World(OLD, few(NEW, 3), split(100)), "enter", "rollback"),
    "a look failed": (replace(WARM, looks=(look("fail"),)), World(**BOTH, split=split(100)), "enter", "rollback"),
    "somebody switched back": (WARM, World(**BOTH, split=split(0)), "wait", "drift"),
    "going back": (BACK, World(**BOTH, split=split(100)), "switch", 0),
    "the old one is not all ready": (BACK, World(few(OLD, 2), NEW, split(100)), "wait", "blue-ready"),
    "the old one is healthier": (BACK, World(few(OLD, 2), few(NEW, 1), split(100)), "switch", 0),
    "the new one is dead": (BACK, World(few(OLD, 1), few(NEW, 0), split(100)), "switch", 0),
    "the old one sleeps": (BACK, World(replace(few(OLD, 0), replicas=0), NEW, split(100)), "scale-stable", 4),
    "nobody is selected": (BACK, World(**BOTH, split=split(ASTRAY)), "switch", 0),
    "the old one is gone": (BACK, World(None, NEW, split(100)), "wait", "gone"),
    "back, not obeyed yet": (BACK, World(**BOTH, split=split(0, 1.0)), "wait", "route"),
    "back, with the autoscaler": (BACK, World(**BOTH, split=split(0), scaler="canary"), "move-scaler", 0),
    "back": (BACK, World(**BOTH, split=split(0)), "put-back", 0),
    "back, with leftovers": (
        replace(BACK, canary_scaled=0),
        World(OLD, None, split(0), leftovers=("Service/x",)),
        "remove-leftovers",
        "Service/x",
    ),
}


@pytest.mark.parametrize("scene", SCENES)
def test_each_scene_has_its_act(scene: str) -> None:
    record, world, kind, what = SCENES[scene]
    action = decide(record, world)
    told = action.number if isinstance(what, int) else action.phase if kind == "enter" else action.what
    assert (action.kind, told) == (kind, what), action.reason


PODS = st.integers(0, 5)
SECONDS = st.sampled_from([0.0, PROPAGATION - 1, PROPAGATION, 1e6])
FACTS: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    **{(who, name): PODS for who in ("stable", "canary") for name in ("replicas", "ready", "visible")},
    **{(who, "quiet"): SECONDS for who in ("stable", "canary")},
    **{(who, "complete"): st.booleans() for who in ("stable", "canary")},
    **{(who, "release"): st.sampled_from(["", "r0", "r1"]) for who in ("stable", "canary")},
    ("split", "weight"): st.sampled_from([0, 100, ASTRAY]),
    ("split", "settled"): SECONDS,
    ("split", "listed"): st.booleans(),
    ("world", "stable"): st.none(),
    ("world", "canary"): st.none(),
    ("world", "split"): st.none(),
    ("world", "scaler"): st.sampled_from(["", "stable", "canary"]),
    ("world", "waiting"): st.sampled_from(["drift", "green-ready", "blue-ready", "route", "gone"]),
    ("world", "waited"): SECONDS,
    ("record", "phase"): st.sampled_from(phases_of("blue-green")),
    ("record", "weight"): st.sampled_from([0, 100]),
    ("record", "stable_replaced"): st.booleans(),
    ("record", "commands"): st.just((ABORT,)),
}


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Record, World]:
    """A real scene with up to three facts of it changed."""
    record, world, *_ = SCENES[draw(st.sampled_from(sorted(SCENES)))]
    for owner, name in draw(st.lists(st.sampled_from(sorted(FACTS)), max_size=3, unique=True)):
        fact: dict[str, Any] = {name: draw(FACTS[owner, name])}
        if owner == "record":
            record = replace(record, **fact)
        elif owner == "world":
            world = replace(world, **fact)
        elif (thing := getattr(world, owner)) is not None:
            changed = replace(thing, **fact)
            if isinstance(changed, Workload):
                changed = replace(changed, visible=min(changed.visible, changed.ready))
            world = replace(world, **{owner: changed})
    return record, world


Switched = Literal["stable", "canary"]


@settings(max_examples=1500, deadline=None)
@given(scene=scenes(), attended=st.booleans())
def test_no_decision_breaks_a_rule(scene: tuple[Record, World], attended: bool) -> None:
    record, world = scene
    action = decide(record, world, attended)
    now = world.split.weight if world.split else ASTRAY
    if action.kind == "switch" and action.number == 100 and now != 100:
        assert attended and not record.aborted and record.tested, "only a driver gives users the new colour"
        assert world.canary is not None and world.canary.complete
        assert min(world.canary.ready, world.canary.visible) >= record.capacity
    if action.kind == "switch" and action.number == 0 and now == 100:
        assert world.stable is not None and world.stable.ready > 0
        serving = world.canary.ready if world.canary else 0
        assert world.stable.visible >= record.capacity or world.stable.ready > serving
    if action.kind == "retire":
        assert now == 100 and world.split is not None and world.split.settled >= PROPAGATION
        assert world.canary is not None and world.canary.ready > 0 and not record.aborted
    if action.kind == "put-back":
        assert now == 0 and world.split is not None and world.split.settled >= PROPAGATION
        assert record.phase == "rollback"
    if record.aborted and record.phase in ("preview", "switch", "warm"):
        assert (action.kind, action.phase) == ("enter", "rollback")
