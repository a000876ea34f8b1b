"""A canary by the ratio of pods: counts and weights, what follows what, and what no decision does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlyvips.core import ratio
from onlyvips.core.action import Action
from onlyvips.core.decide import next_action
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World
from tests.core import decisions
from tests.core.decisions import ABORT, HOLD, PROPAGATION, READY, TWO_PASSES, look

PLAN = replace(decisions.PLAN, service=replace(decisions.PLAN.service, router="replica-ratio", route=None))
RECORD = replace(decisions.RECORD, capacity=20)
IN_CANARY = replace(RECORD, phase="canary", canary_scaled=2, weight=10, intended_weight=10)
IN_PROMOTE = replace(RECORD, phase="promote", canary_scaled=20, weight=100, intended_weight=100, stage=2)
GOING_BACK = replace(IN_CANARY, phase="rollback", reason="it failed")
REPLACED = replace(IN_PROMOTE, stable_replaced=True)


def stable(replicas: int, ready: int | None = None, **more: Any) -> Workload:
    ready = replicas if ready is None else ready
    return Workload(
        **({"image": "img:v1", "release": "", "quiet": 99.0, "complete": True, "visible": ready} | more),
        replicas=replicas,
        ready=ready,
    )


def canary(replicas: int, ready: int | None = None, **more: Any) -> Workload:
    return stable(replicas, ready, **({"image": "img:v2", "release": "r1"} | more))


def world(left: int, others: Workload | None, **more: Any) -> World:
    """Stable asks for ``left`` of 20 pods and has them."""
    steady = more.pop("stable", stable(left))
    weight = ratio.percent_of(20 - steady.replicas, 20)
    return World(steady, others, Split(weight, more.pop("settled", 99.0), weight > 0), **more)


def decide(record: Record, seen: World, attended: bool = True) -> Action:
    return next_action(record, seen, PLAN, attended=attended)


@pytest.mark.parametrize("capacity", range(1, 260))
def test_what_can_be_made_is_read_back_and_never_gives_the_canary_more_than_was_asked(capacity: int) -> None:
    for weight in [*ratio.can_make(capacity), 100]:
        away = ratio.given_away(weight, capacity)
        assert 100 * away == weight * capacity
        assert ratio.percent_of(away, capacity) == weight
    for pods in range(capacity + 3):
        weight = ratio.carried_by(pods, capacity)
        assert ratio.given_away(weight, capacity) <= pods
        assert ratio.percent_of(ratio.given_away(weight, capacity), capacity) == weight, "shifted, it reads back"


def test_ten_percent_needs_ten_pods() -> None:
    assert ratio.granularity([10], 10) == ""
    told = ratio.granularity([10, 25, 50], 6)
    assert told.startswith("10%, 25% of 6 pods is no whole number of pods: they can make 50%; 20 pods")
    assert "no stage at all" in ratio.granularity([50], 1)
    assert ratio.granularity([10, 25, 50], 20) == ""


TABLE = [
    ("the first pods", replace(RECORD, phase="canary"), world(20, None), "create canary to 2 pods"),
    ("waits for them", replace(IN_CANARY, weight=0, intended_weight=0), world(20, canary(2, 1)), "wait canary-ready"),
    (
        "waits until the router sees them",
        replace(IN_CANARY, weight=0, intended_weight=0),
        world(20, canary(2, visible=1)),
        "wait canary-ready",
    ),
    ("then stable gives its", replace(IN_CANARY, weight=0, intended_weight=0), world(20, canary(2)), "set weight 10 %"),
    ("looks, and brings no pod up in advance", IN_CANARY, world(18, canary(2)), "look"),
    ("the next stage", replace(IN_CANARY, looks=TWO_PASSES), world(18, canary(2)), "next stage"),
    ("its pods", replace(IN_CANARY, stage=1), world(18, canary(2)), "scale canary to 5 pods"),
    ("its weight", replace(IN_CANARY, stage=1, canary_scaled=5), world(18, canary(5)), "set weight 25 %"),
    ("pods that died come back to stable", IN_CANARY, world(18, canary(2, 1)), "set weight 5 %"),
    ("another hand took pods that are needed", IN_CANARY, world(12, canary(2)), "enter rollback"),
    ("another hand gave stable one back", IN_CANARY, world(19, canary(2)), "wait drift"),
    ("an autoscaler gave stable more", IN_CANARY, world(21, canary(2)), "wait drift"),
    ("another hand gave the canary more", IN_CANARY, world(18, canary(4)), "wait drift"),
    ("and nobody puts it right", IN_CANARY, world(21, canary(2), waiting="drift", waited=HOLD), "enter rollback"),
    ("a bad look", replace(IN_CANARY, looks=(look("fail"),)), world(18, canary(2)), "enter rollback"),
    ("all pods", replace(IN_PROMOTE, canary_scaled=10, weight=50), world(10, canary(10)), "scale canary to 20 pods"),
    ("all the traffic", replace(IN_PROMOTE, weight=50), world(10, canary(20)), "set weight 100 %"),
    ("the router forgets stable", IN_PROMOTE, world(0, canary(20), settled=1.0), "wait route"),
    ("stable is replaced unseen", IN_PROMOTE, world(0, canary(20)), "replace stable"),
    ("and gets its pods", REPLACED, world(0, canary(20), stable=stable(0, release="r1")), "scale stable to 20 pods"),
    (
        "which the router has to see",
        REPLACED,
        world(20, canary(20), stable=stable(20, 19, release="r1")),
        "wait stable-ready",
    ),
    ("then the canary goes", REPLACED, world(20, canary(20), stable=stable(20, release="r1")), "remove canary"),
    (
        "and it is done",
        replace(REPLACED, canary_scaled=0),
        world(20, None, stable=stable(20, release="r1")),
        "enter evidence",
    ),
    ("back: stable's pods, at once", GOING_BACK, world(18, canary(2)), "scale stable to 20 pods"),
    ("one for one", GOING_BACK, world(20, canary(2), stable=stable(20, 19)), "scale canary to 1 pod"),
    (
        "what the router does not see yet does not count",
        GOING_BACK,
        world(20, canary(2), stable=stable(20, visible=18)),
        "wait stable-ready",
    ),
    ("until stable has all", GOING_BACK, world(20, canary(1)), "remove canary"),
    (
        "a canary that serves nobody goes at once",
        GOING_BACK,
        world(20, canary(2, 0), stable=stable(20, 18)),
        "remove canary",
    ),
    (
        "stable's last pods",
        replace(GOING_BACK, canary_scaled=0),
        world(20, None, stable=stable(20, 18)),
        "wait stable-ready",
    ),
    ("and it is over", replace(GOING_BACK, canary_scaled=0), world(20, None), "enter evidence"),
    (
        "stable replaced: behind all of the canary's",
        replace(REPLACED, phase="rollback"),
        world(20, canary(5), stable=stable(20, release="r1")),
        "scale canary to 20 pods",
    ),
    (
        "then where it stands",
        replace(REPLACED, phase="rollback"),
        world(20, canary(20), stable=stable(20, release="r1")),
        "restore stable",
    ),
    (
        "an abort before there was a canary leaves stable's count alone",
        replace(RECORD, phase="rollback", reason="why"),
        world(18, None),
        "enter evidence",
    ),
]


@pytest.mark.parametrize(("record", "seen", "follows"), [case[1:] for case in TABLE], ids=[case[0] for case in TABLE])
def test_what_follows_what(record: Record, seen: World, follows: str) -> None:
    assert decide(record, seen).title == follows


def test_pods_that_do_not_come_take_it_back() -> None:
    seen = world(20, canary(2, 0, trouble="ErrImagePull"), waiting="canary-ready", waited=READY + PROPAGATION)
    action = decide(replace(IN_CANARY, weight=0, intended_weight=0), seen)
    assert (action.kind, action.phase) == ("enter", "rollback") and "ErrImagePull" in action.reason


WORKLOADS = st.builds(
    lambda asked, ready, seen, release, quiet, complete: stable(
        asked, min(asked, ready), visible=min(asked, ready, seen), release=release, quiet=quiet, complete=complete
    ),
    st.integers(0, 22),
    st.integers(0, 22),
    st.integers(0, 22),
    st.sampled_from(["", "r1"]),
    st.sampled_from([0.0, PROPAGATION, 99.0]),
    st.booleans(),
)
WORLDS = st.builds(
    lambda steady, other, settled, waited, waiting: world(
        0, other, stable=steady, settled=settled, waited=waited, waiting=waiting
    ),
    WORKLOADS,
    st.none() | WORKLOADS,
    st.sampled_from([0.0, 99.0]),
    st.sampled_from([0.0, 1e6]),
    st.sampled_from(["", "drift", "canary-ready", "stable-ready", "route"]),
)
RECORDS = st.builds(
    lambda base, weight, intended, scaled, stage, commands, looks: replace(
        base, weight=weight, intended_weight=intended, canary_scaled=scaled, stage=stage, commands=commands, looks=looks
    ),
    st.sampled_from([IN_CANARY, IN_PROMOTE, REPLACED, GOING_BACK, replace(REPLACED, phase="rollback")]),
    st.sampled_from([0, 5, 10, 25, 50, 100]),
    st.sampled_from([0, 10, 25, 50, 100]),
    st.integers(0, 20),
    st.integers(0, 2),
    st.sampled_from([(), (ABORT,)]),
    st.sampled_from([(), TWO_PASSES, (look("fail"),)]),
)
thorough = settings(max_examples=800, deadline=None)


@thorough
@given(RECORDS, WORLDS, st.booleans())
def test_no_pod_goes_that_ready_ones_which_the_router_sees_do_not_replace(
    record: Record, seen: World, attended: bool
) -> None:
    action, steady, other = decide(record, seen, attended), seen.stable, seen.canary
    assert steady is not None and seen.split is not None
    if action.kind == "set-weight" and action.number > seen.split.weight:
        left = record.capacity - ratio.given_away(action.number, record.capacity)
        assert other is not None and other.visible + left >= record.capacity and other.quiet >= PROPAGATION
    if action.kind == "scale-canary" and other is not None and action.number < other.replicas:
        assert record.phase == "rollback" and steady.visible + action.number >= record.capacity
    if action.kind == "remove-canary" and other is not None and other.ready:
        assert steady.visible >= record.capacity


@thorough
@given(RECORDS, WORLDS)
def test_unattended_the_canary_gets_no_pod_but_where_stable_is_taken_back(record: Record, seen: World) -> None:
    action, other = decide(record, seen, attended=False), seen.canary
    more = action.kind == "create-canary" or (
        action.kind == "scale-canary" and action.number > (other.replicas if other else 0)
    )
    if (
        more
        or action.kind == "replace-stable"
        or (action.kind == "set-weight" and seen.split and action.number > seen.split.weight)
    ):
        assert record.phase == "rollback" and seen.stable is not None and seen.stable.release == record.id


@thorough
@given(RECORDS, WORLDS, st.booleans())
def test_stable_is_replaced_only_where_it_has_no_pod(record: Record, seen: World, attended: bool) -> None:
    if decide(record, seen, attended).kind == "replace-stable":
        assert seen.stable is not None and seen.stable.replicas == 0
        assert seen.canary is not None and seen.canary.visible >= record.capacity


@thorough
@given(RECORDS, WORLDS, st.booleans())
def test_an_abort_leads_back(record: Record, seen: World, attended: bool) -> None:
    action = decide(replace(record, commands=(ABORT,)), seen, attended)
    if record.phase != "rollback":
        assert (action.kind, action.phase) == ("enter", "rollback")
    else:
        assert action.kind not in ("look", "next-stage", "replace-stable") and action.phase != "rollback"
