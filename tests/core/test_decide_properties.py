"""``next_action``: what no decision does, in whatever world."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from onlyvips.core.phases import phases_of
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World, pods_for, weight_for
from tests.core.decisions import ABORT, PROPAGATION, RECORD, decide, look

WEIGHTS = st.sampled_from([0, 10, 25, 30, 50, 75, 100])
SECONDS = st.sampled_from([0.0, PROPAGATION - 1, PROPAGATION, 1e6])


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    ready = draw(st.integers(0, 5))
    return Workload(
        image=draw(st.sampled_from(["img:v1", "img:v2", "img:v3"])),
        release=draw(st.sampled_from(["", "r1", "r0"])),
        replicas=draw(st.integers(0, 5)),
        ready=ready,
        visible=draw(st.integers(0, ready)),
        quiet=draw(SECONDS),
        complete=draw(st.booleans()),
        trouble=draw(st.sampled_from(["", "ErrImagePull: img"])),
    )


WORLDS = st.builds(
    World,
    stable=st.none() | workloads(),
    canary=st.none() | workloads(),
    split=st.none() | st.builds(Split, WEIGHTS, SECONDS, st.booleans()),
    leftovers=st.sampled_from([(), ("Service/backend-canary",)]),
    waited=SECONDS,
    waiting=st.sampled_from(["", "drift", "canary-ready", "stable-ready", "route", "gone"]),
)
LOOKS = st.lists(
    st.builds(look, st.sampled_from(["pass", "fail", "too-few", "no-data", "error"]), st.integers(0, 2), SECONDS),
    max_size=4,
)


@st.composite
def releases(draw: st.DrawFn) -> Record:
    return replace(
        RECORD,
        phase=draw(st.sampled_from(phases_of("canary"))),
        stage=draw(st.integers(0, 2)),
        weight=draw(WEIGHTS),
        intended_weight=draw(WEIGHTS),
        stable_replaced=draw(st.booleans()),
        canary_scaled=draw(st.integers(0, 4)),
        snapshot=draw(st.sampled_from(["", "s"])),
        backup=draw(st.sampled_from(["", "b"])),
        evidence=draw(st.sampled_from(["", "e"])),
        looks=tuple(draw(LOOKS)),
        commands=draw(st.sampled_from([(), (ABORT,)])),
    )


thorough = settings(max_examples=600, deadline=None)


@thorough
@given(releases(), WORLDS)
def test_unattended_no_weight_is_raised_but_on_the_way_back_of_what_stable_runs_already(
    record: Record, world: World
) -> None:
    action = decide(record, world, attended=False)
    if action.kind == "set-weight" and world.split is not None and action.number > world.split.weight:
        assert record.phase == "rollback"
        assert world.stable is not None and world.stable.release == record.id


@thorough
@given(releases(), WORLDS, st.booleans())
def test_an_abort_leads_back_from_every_phase(record: Record, world: World, attended: bool) -> None:
    action = decide(replace(record, commands=(ABORT,)), world, attended)
    if record.phase not in ("rollback", "evidence", "closed"):
        assert (action.kind, action.phase) == ("enter", "rollback")
    if record.phase == "rollback":
        assert action.kind != "enter" or action.phase == "evidence"
        assert action.kind not in ("look", "next-stage", "replace-stable", "close")


@thorough
@given(releases(), WORLDS, st.booleans())
def test_a_raised_weight_has_pods_that_the_router_can_see(record: Record, world: World, attended: bool) -> None:
    action = decide(record, world, attended)
    if action.kind == "set-weight" and world.split is not None and action.number > world.split.weight:
        assert world.canary is not None and world.canary.complete
        assert action.number <= weight_for(world.canary.ready, record.capacity)
        assert world.canary.visible >= pods_for(action.number, record.capacity)
        assert world.canary.quiet >= PROPAGATION


@thorough
@given(releases(), WORLDS, st.booleans())
def test_a_lowered_weight_goes_to_ready_pods_or_leaves_dead_ones(record: Record, world: World, attended: bool) -> None:
    action = decide(record, world, attended)
    if action.kind == "set-weight" and world.split is not None and action.number < world.split.weight:
        assert world.stable is not None
        carried = weight_for(world.canary.ready, record.capacity) if world.canary else 0
        enough = 100 - action.number <= weight_for(world.stable.ready, record.capacity)
        assert enough or carried < world.split.weight


@thorough
@given(releases(), WORLDS, st.booleans())
def test_stable_is_replaced_only_where_no_request_reaches_it(record: Record, world: World, attended: bool) -> None:
    action = decide(record, world, attended)
    if action.kind == "replace-stable":
        assert attended and not record.aborted and record.phase == "promote"
        assert world.split is not None and world.split.weight == 100 and world.split.settled >= PROPAGATION
        assert world.canary is not None and world.canary.visible >= record.capacity
        assert world.stable is not None and world.stable.release != record.id


@thorough
@given(releases(), WORLDS, st.booleans())
def test_the_canary_goes_only_when_no_router_can_still_send_to_it(record: Record, world: World, attended: bool) -> None:
    action = decide(record, world, attended)
    if action.kind == "remove-canary":
        assert world.split is not None and (world.split.weight, world.split.settled >= PROPAGATION) == (0, True)
    if action.kind == "enter" and action.phase == "evidence":
        assert world.canary is None and not world.leftovers
        never_made = world.split is None and not record.canary_scaled  # no rule, and nothing it could have sent to
        assert never_made or (world.split is not None and not world.split.listed)


@thorough
@given(releases(), WORLDS, st.booleans())
def test_stable_is_put_back_only_when_this_release_had_replaced_it(
    record: Record, world: World, attended: bool
) -> None:
    action = decide(record, world, attended)
    if action.kind == "restore-stable":
        assert record.phase == "rollback" and world.stable is not None and world.stable.release == record.id


@thorough
@given(releases(), WORLDS)
def test_no_wait_of_a_canary_lasts_for_ever(record: Record, world: World) -> None:
    record = replace(record, commands=())
    action = decide(record, world)
    if action.kind == "wait" and record.phase == "canary":
        later = decide(record, replace(world, waiting=action.what, waited=1e6))
        assert (later.kind, later.phase) == ("enter", "rollback")
