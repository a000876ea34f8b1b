"""``next_action``: the rules of ``test_decide_properties`` where they bite, a fact or three beside a real scene.

Worlds of pure chance nearly always end in "enter rollback": a rule about raised weights is then about nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlyvips.core.phases import phases_of
from onlyvips.core.record import Record
from onlyvips.core.world import World
from tests.core import test_decide_properties as rules
from tests.core.decisions import ABORT, GOING_BACK, IN_CANARY, IN_PROMOTE, NEW, OLD, canary, decide, split

Scene = tuple[Record, World]
BROUGHT_BACK = replace(GOING_BACK, stable_replaced=True, weight=100, intended_weight=100)
SCENES: list[Scene] = [
    (replace(IN_CANARY, weight=0), World(OLD, canary(1), split(0))),
    (replace(IN_CANARY, stage=2, weight=25, intended_weight=25), World(OLD, canary(2), split(25))),
    (IN_CANARY, World(OLD, canary(4), split(10))),
    (IN_CANARY, World(OLD, canary(0), split(10))),
    (replace(IN_PROMOTE, weight=50, intended_weight=50), World(OLD, canary(4), split(50))),
    (IN_PROMOTE, World(OLD, canary(4), split(100))),
    (replace(IN_PROMOTE, stable_replaced=True), World(NEW, canary(4), split(100))),
    (replace(IN_PROMOTE, stable_replaced=True), World(NEW, canary(4), split(0))),
    (replace(IN_PROMOTE, stable_replaced=True), World(NEW, None, split(0, listed=False))),
    (GOING_BACK, World(OLD, canary(4), split(50))),
    (GOING_BACK, World(OLD, canary(1), split(0))),
    (GOING_BACK, World(NEW, canary(4), split(0))),
    (GOING_BACK, World(NEW, OLD, split(0))),
    (GOING_BACK, World(NEW, canary(2), split(0))),
    (GOING_BACK, World(NEW, canary(4), split(100))),
    (BROUGHT_BACK, World(OLD, canary(4), split(100))),
    (BROUGHT_BACK, World(OLD, canary(4), split(0))),
]
PODS = st.integers(0, 5)
OF_A_WORKLOAD: dict[str, st.SearchStrategy[Any]] = {
    "image": st.sampled_from(["img:v1", "img:v2", "img:v3"]),
    "release": st.sampled_from(["", "r1", "r0"]),
    "replicas": PODS,
    "ready": PODS,
    "visible": PODS,
    "quiet": rules.SECONDS,
    "complete": st.booleans(),
}
FACTS: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    **{(who, name): how for who in ("stable", "canary") for name, how in OF_A_WORKLOAD.items()},
    ("split", "weight"): rules.WEIGHTS,
    ("split", "settled"): rules.SECONDS,
    ("split", "listed"): st.booleans(),
    ("world", "stable"): st.none(),
    ("world", "canary"): st.none(),
    ("world", "split"): st.none(),
    ("world", "leftovers"): st.just(("Service/backend-canary",)),
    ("world", "waiting"): st.sampled_from(["drift", "canary-ready", "stable-ready", "route", "gone"]),
    ("world", "waited"): rules.SECONDS,
    ("record", "phase"): st.sampled_from(phases_of("canary")),
    ("record", "stage"): st.integers(0, 2),
    ("record", "weight"): rules.WEIGHTS,
    ("record", "stable_replaced"): st.booleans(),
    ("record", "looks"): rules.LOOKS.map(tuple),
    ("record", "commands"): st.just((ABORT,)),
}


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    record, world = draw(st.sampled_from(SCENES))
    for owner, name in draw(st.lists(st.sampled_from(sorted(FACTS)), max_size=3, unique=True)):
        fact = {name: draw(FACTS[owner, name])}
        if owner == "record":
            record = replace(record, **fact)
        elif owner == "world":
            world = replace(world, **fact)
        elif (thing := getattr(world, owner)) is not None:
            world = replace(world, **{owner: _sane(replace(thing, **fact))})
    return record, world


def _sane(thing: Any) -> Any:
    """No more pods are visible than are ready."""
    return replace(thing, visible=min(thing.visible, thing.ready)) if hasattr(thing, "ready") else thing


def test_the_scenes_are_about_what_the_rules_are_about() -> None:
    decided = [(decide(*scene), scene[1].split) for scene in SCENES]
    raised = [action for action, now in decided if action.kind == "set-weight" and now and action.number > now.weight]
    lowered = [action for action, now in decided if action.kind == "set-weight" and now and action.number < now.weight]
    assert len(raised) >= 4 and len(lowered) >= 4
    assert {"replace-stable", "restore-stable", "remove-canary", "enter"} <= {action.kind for action, _ in decided}


RULES: list[Callable[..., None]] = [
    rules.test_a_raised_weight_has_pods_that_the_router_can_see,
    rules.test_a_lowered_weight_goes_to_ready_pods_or_leaves_dead_ones,
    rules.test_stable_is_replaced_only_where_no_request_reaches_it,
    rules.test_the_canary_goes_only_when_no_router_can_still_send_to_it,
    rules.test_stable_is_put_back_only_when_this_release_had_replaced_it,
    rules.test_an_abort_leads_back_from_every_phase,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("test_"))
@settings(max_examples=400, deadline=None)
@given(scene=scenes(), attended=st.booleans())
def test_no_decision_breaks_a_rule(rule: Any, scene: Scene, attended: bool) -> None:
    rule.hypothesis.inner_test(*scene, attended)


@settings(max_examples=400, deadline=None)
@given(scene=scenes())
def test_unattended_no_weight_is_raised(scene: Scene) -> None:
    rule: Any = rules.test_unattended_no_weight_is_raised_but_on_the_way_back_of_what_stable_runs_already
    rule.hypothesis.inner_test(*scene)
