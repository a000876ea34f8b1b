"""An entry that no replay can do, on simulators: told by its slice, by the plan and by the audit, and healed."""

from __future__ import annotations

import pytest

from onlyvips.core import backup_report as report
from onlyvips.core.manifest import Manifest, moment
from onlyvips.core.oplog_chain import best_chain
from onlyvips.errors import Refused
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.procedures.test_restore import Source, World
from tests.procedures.test_slices import Later, facts, known, take_slice
from tests.simulators.oplog import command, entry
from tests.simulators.target import SimulatedTarget, state

STOPS = ["collMod", "dropDatabase", "a view", "the swap of a restore", "an old server's update"]


def stop(world: World, which: str) -> tuple[int, Manifest]:
    """It happens, between writes: its second, and the slice that has it."""
    world.write(3)
    at = world.writer.at + 1
    shadow = {"renameCollection": "app.onlyvips_restored_orders", "to": "app.orders", "dropTarget": True}
    world.log.write(
        {
            "collMod": command(at, ns="app.$cmd", collMod="orders", validator={}),
            "dropDatabase": command(at, ns="app.$cmd", dropDatabase=1),
            "a view": entry(at, ns="app.system.views", o={"_id": "app.v", "viewOn": "orders"}),
            "the swap of a restore": command(at, ns="app.$cmd", **shadow),
            "an old server's update": entry(at, op="u", o={"$set": {"n": 1}}, o2={"_id": 1}),
        }[which]
    )
    world.writer.at = at
    world.write(3)
    return at, take_slice(world.log, world.places).manifest


def recoverable(world: World) -> str:
    """As the audit has it."""
    found = known(world.places)
    best = best_chain(found.bases, found.slices)
    assert best is not None
    return moment(best.until)


@pytest.mark.parametrize("which", STOPS)
def test_it_is_told_by_the_slice_the_plan_and_the_audit_and_the_moment_before_it_is_had(which: str):
    world = World(slices=1)
    at, taken = stop(world, which)
    world.write(5)
    assert "not_replayable" not in facts(take_slice(world.log, world.places).manifest)
    assert facts(taken)["not_replayable"].startswith(f"{at}:1 ")
    told = report.taken(taken, "")
    assert f"after {moment(at - 1)}" in told and "onlyvips backup run -e lab --kind mongodb" in told
    assert report.ends(taken) and report.backup_summary(taken)["not_replayable"]
    assert recoverable(world) == moment(at - 1)
    with pytest.raises(Refused, match=f"{at}:1 of the oplog cannot be replayed.*had by --at {moment(at - 1)}"):
        world.plan(moment(at + 4))
    for asked in ("latest", moment(at - 1)):
        plan = world.plan(asked)
        assert plan.reached == moment(at - 1)
        world.restore(target := SimulatedTarget(), plan)
        assert state(target, "app.orders") == world.writer.states[at - 1]


def test_a_new_base_after_it_leads_on_by_slices_of_the_same_timeline():
    world = World(slices=1)
    at, _ = stop(world, "collMod")
    run = Run(70, Later(), lambda n: b"\xbb" * n)
    newer = take(base(Source(world.writer, world.log, 1), world.places, BASE_PLAN, run, oplog=world.log)).manifest
    world.write(5)
    last = take_slice(world.log, world.places).manifest
    assert last.timeline == world.base.id.replace("-", ".")
    assert recoverable(world) == moment(world.writer.at)
    plan = world.plan()
    assert plan.base == newer and not any("cannot be replayed" in note for note in plan.notes)
    world.restore(target := SimulatedTarget(), plan)
    assert state(target, "app.orders") == world.writer.documents
    world.restore(before := SimulatedTarget(), world.plan(moment(at - 1)))
    assert state(before, "app.orders") == world.writer.states[at - 1]


def test_a_collection_that_it_is_not_about_comes_back_alone_to_a_later_moment():
    world = World(slices=1)
    world.log.write(command(world.writer.at + 1, ns="app.$cmd", collMod="users", validator={}))
    world.writer.at += 1
    world.write(4)
    take_slice(world.log, world.places)
    later = moment(world.writer.at)
    with pytest.raises(Refused, match="collMod"):
        world.plan(later)
    with pytest.raises(Refused, match="collMod"):
        world.plan(later, "app.*=other.*")
    plan = world.plan(later, "app.orders=rescue.orders")
    assert any("collMod" in note for note in plan.notes)
    world.restore(target := SimulatedTarget(), plan)
    assert state(target, "rescue.orders") == world.writer.documents
    with pytest.raises(Refused, match="collMod"):
        world.restore(SimulatedTarget(), world.plan(later, "app.users=rescue.users"))
