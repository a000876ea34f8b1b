"""Rolling and recreate: what no decision does, in whatever world."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlyvips.core.action import Action
from onlyvips.core.decide import next_action
from onlyvips.core.phases import phases_of
from onlyvips.core.plan import Strategy
from onlyvips.core.record import Record, Step
from onlyvips.core.world import Workload, World
from tests.core.decisions import ABORT, HOLD, OLD, PLAN, PROPAGATION, RECORD, look

SECONDS = st.sampled_from([0.0, PROPAGATION - 1, PROPAGATION, 1e6])
STEPS = {
    "stop": Step("stop", "why", 1.0, 2.0),
    "replace": Step("replace stable", "why", 1.0, 2.0),
    "meant": Step("replace stable", "why", 1.0),
}


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    ready, replicas = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    ending = draw(st.sampled_from([(), ("backend-1",)]))
    return Workload(
        image="img:v1",
        release=draw(st.sampled_from(["", "r1", "r0"])),
        replicas=replicas,
        ready=ready,
        visible=draw(st.integers(0, ready)),
        quiet=draw(SECONDS),
        complete=draw(st.booleans()),
        trouble=draw(st.sampled_from(["", "ErrImagePull: img"])),
        template=draw(st.sampled_from(["", "t1", "t2"])),
        others=draw(st.integers(0, 2)),
        running=max(ready, draw(st.integers(0, 4))) + len(ending),
        ending=ending,
    )


WORLDS = st.builds(
    World,
    stable=st.none() | workloads(),
    canary=st.none(),
    split=st.none(),
    leftovers=st.sampled_from([(), ("HorizontalPodAutoscaler/backend",)]),
    waited=SECONDS,
    waiting=st.sampled_from(["", "drift", "rolling", "stable-ready", "ending", "empty", "gone"]),
)
VERDICTS = st.sampled_from(["pass", "fail", "too-few", "no-data", "error"])


@st.composite
def releases(draw: st.DrawFn) -> Record:
    strategy: Strategy = draw(st.sampled_from(["rolling", "recreate"]))
    return replace(
        RECORD,
        strategy=strategy,
        phase=draw(st.sampled_from(phases_of(strategy))),
        from_template="t1",
        canary_template=draw(st.sampled_from(["", "t2"])),
        capacity=4 if strategy == "rolling" else 1,
        rolled=draw(st.integers(0, 4)),
        judged=draw(st.booleans()),
        steps=tuple(STEPS[name] for name in draw(st.sets(st.sampled_from(sorted(STEPS))))),
        looks=tuple(look(draw(VERDICTS), 0, draw(SECONDS)) for _ in range(draw(st.integers(0, 3)))),
        commands=draw(st.sampled_from([(), (ABORT,)])),
    )


def decide(record: Record, world: World, attended: bool = True) -> Action:
    return next_action(record, world, PLAN, attended=attended)


thorough = settings(max_examples=600, deadline=None)


@thorough
@given(releases(), WORLDS, st.booleans())
def test_nothing_starts_or_changes_what_may_run_twice_while_anything_of_it_runs(
    record: Record, world: World, attended: bool
) -> None:
    action = decide(record, world, attended)
    if record.strategy == "recreate" and action.kind in ("start", "replace-stable", "restore-stable"):
        # One write that is done already is written down again: it changes nothing.
        again = world.stable is not None and world.stable.release == record.id and action.kind == "replace-stable"
        assert again or (world.stable is not None and world.stable.running == 0 and world.stable.replicas == 0)
        assert again or (world.waiting == "empty" and world.waited >= PLAN.waits.poll)


@thorough
@given(releases(), WORLDS, st.booleans())
def test_an_abort_leads_back_from_every_phase(record: Record, world: World, attended: bool) -> None:
    action = decide(replace(record, commands=(ABORT,)), world, attended)
    if record.phase not in ("rollback", "evidence", "closed"):
        assert (action.kind, action.phase) == ("enter", "rollback")
    if record.phase == "rollback":
        assert action.kind not in ("look", "replace-stable", "close", "note-progress")


@thorough
@given(releases(), WORLDS)
def test_unattended_the_new_version_is_brought_to_nobody(record: Record, world: World) -> None:
    action = decide(replace(record, commands=()), world, attended=False)
    if record.phase != "rollback":
        already = world.stable is not None and world.stable.release == record.id
        assert action.kind not in ("replace-stable", "start") or (action.kind == "replace-stable" and already)


@thorough
@given(releases(), WORLDS, st.booleans())
def test_it_is_promoted_only_where_every_pod_runs_it_and_is_seen(record: Record, world: World, attended: bool) -> None:
    action = decide(record, world, attended)
    if record.phase == "roll" and (action.kind, action.phase) == ("enter", "evidence"):
        assert world.stable is not None and world.stable.release == record.id
        assert world.stable.visible >= record.capacity and world.stable.complete and not world.leftovers
        assert not record.looks or record.looks[-1].verdict != "fail"


@thorough
@given(releases(), WORLDS, st.booleans())
def test_the_template_is_put_back_only_where_this_release_wrote_it(
    record: Record, world: World, attended: bool
) -> None:
    action = decide(record, world, attended)
    if action.kind == "restore-stable":
        assert record.phase == "rollback" and world.stable is not None and world.stable.release == record.id


@thorough
@given(releases(), WORLDS, st.booleans())
def test_it_is_not_called_back_while_a_pod_of_the_new_version_is_left(
    record: Record, world: World, attended: bool
) -> None:
    action = decide(record, world, attended)
    if record.phase == "rollback" and (action.kind, action.phase) == ("enter", "evidence"):
        assert world.stable is not None and world.stable.release != record.id
        touched = any(step.action in ("replace stable", "stop") for step in record.steps)
        assert record.strategy != "rolling" or not touched or not world.stable.others


@thorough
@given(releases(), WORLDS)
def test_no_wait_on_the_way_forward_lasts_for_ever(record: Record, world: World) -> None:
    record = replace(record, commands=())
    action = decide(record, world)
    if action.kind == "wait" and record.phase == "roll" and action.what != "empty":
        later = decide(record, replace(world, waiting=action.what, waited=1e6))
        assert (later.kind, later.phase) == ("enter", "rollback")


def test_a_recreation_whose_next_pod_is_taken_down_and_never_ends_goes_back() -> None:
    steps = (STEPS["stop"], STEPS["replace"])
    record = replace(RECORD, strategy="recreate", phase="roll", from_template="t1", canary_template="t2", steps=steps)
    stable = replace(OLD, release="r1", template="t2", replicas=0, running=1, ending=("backend-1",))
    world = World(stable, None, None, waiting="ending")
    assert decide(record, world).kind == "wait"
    later = decide(record, replace(world, waited=1e6))
    assert (later.kind, later.phase) == ("enter", "rollback") and "backend-1" in later.reason


ROLLING = replace(RECORD, strategy="rolling", phase="roll", from_template="t1", canary_template="t2")
BEGUN = replace(ROLLING, steps=(STEPS["replace"],), judged=False)
NEW = replace(OLD, release="r1", template="t2")
LET_GO = (STEPS["replace"], Step("remove leftovers HorizontalPodAutoscaler/backend", "", 2.0, 3.0))


@pytest.mark.parametrize(
    ("record", "stable", "kind", "told"),
    [
        (ROLLING, replace(OLD, template="t1"), "replace-stable", "nothing unavailable"),
        (ROLLING, replace(OLD, template="t9"), "wait", "changed by somebody else"),
        (BEGUN, replace(NEW, visible=2, ready=2, others=2), "note-progress", "router"),
        (replace(BEGUN, rolled=2), replace(NEW, visible=2, ready=2, others=2), "wait", "2 of another version are left"),
        (BEGUN, replace(NEW, replicas=2), "scale-stable", "needs 4"),
        (replace(BEGUN, rolled=4, steps=LET_GO), replace(NEW, replicas=2, visible=2, ready=2), "enter", "not judged"),
        (replace(BEGUN, rolled=4, judged=True, steps=LET_GO), replace(NEW, replicas=2), "scale-stable", "needs 4"),
        (BEGUN, replace(OLD, template="t1"), "enter", "somebody took the Deployment back"),
        (replace(BEGUN, rolled=4), NEW, "enter", "not judged"),
        (replace(BEGUN, rolled=4, judged=True), NEW, "look", "watched once more"),
        (replace(BEGUN, rolled=4, judged=True, looks=(look("too-few"),)), NEW, "enter", "every pod runs it"),
        (replace(BEGUN, rolled=4, judged=True, looks=(look("no-data"),)), NEW, "look", "watched once more"),
        (replace(BEGUN, rolled=4, judged=True, looks=(look("no-data", 0, HOLD),)), NEW, "enter", "inconclusive"),
    ],
)
def test_scenes_of_a_rolling_update(record: Record, stable: Workload, kind: str, told: str) -> None:
    action = decide(record, World(stable, None, None))
    assert action.kind == kind and told in action.reason, action
