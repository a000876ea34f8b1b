"""How far a restore leads, on simulators: to the second that is all there, to slices of which no copy is whole."""

from __future__ import annotations

import pytest

from onlyvips.core.manifest import moment
from onlyvips.errors import Refused
from tests.procedures.test_restore import World
from tests.procedures.test_slices import facts, take_slice
from tests.simulators.oplog import entry
from tests.simulators.target import SimulatedTarget, state


def quiet_world() -> tuple[World, int]:
    """Its last slice says that nothing was written until some moment within the second that is returned."""
    world = World(slices=1)
    quiet = world.writer.at + 100
    world.log.now = quiet + 0.7
    assert facts(take_slice(world.log, world.places).manifest)["quiet_until"] == moment(quiet)
    return world, quiet


def test_a_quiet_server_grants_whole_seconds_alone_for_what_comes_later_in_the_last_one_is_in_no_slice():
    world, quiet = quiet_world()
    world.log.write(entry(quiet, 900, o={"_id": "late"}))
    assert world.plan(moment(quiet - 1)).reached == moment(quiet - 1)
    for asked in (moment(quiet), f"{quiet}:900", f"{quiet}:1"):
        with pytest.raises(Refused, match=f"leads to {moment(quiet - 1)}"):
            world.plan(asked)
    take_slice(world.log, world.places)
    world.restore(target := SimulatedTarget(), world.plan(moment(quiet)))
    assert "late" in state(target, "app.orders")


def test_of_the_second_of_the_last_entry_it_is_noted_what_may_be_missing_unless_it_was_quiet_beyond():
    world = World(slices=1)
    world.log.now = world.writer.at + 0.5
    world.write(0)
    world.log.write(entry(world.writer.at + 1, o={"_id": "a"}))
    world.log.now = world.writer.at + 1.5
    last = take_slice(world.log, world.places).manifest
    assert last.window is not None
    missing = f"entries of the same second after {last.window.end.ts} are in no slice: they do not come back"
    assert missing in world.plan(moment(world.writer.at + 1)).notes
    world.log.now = world.writer.at + 2.5
    take_slice(world.log, world.places)
    assert missing not in world.plan(moment(world.writer.at + 1)).notes


def incomplete(world: World) -> str:
    """The newest slice, with every object still there, and no record of a copy."""
    last = take_slice(world.log, world.places).manifest
    copies = f"{last.prefix}copies/"
    for place in world.places:
        place.objects = {key: data for key, data in place.objects.items() if not key.startswith(copies)}
    return f"{last.id}-e{last.epoch}"


def test_latest_says_that_a_newer_slice_is_whole_nowhere_and_what_gets_it_all_the_same():
    world = World(slices=2)
    whole = world.writer.at
    assert not any("is complete" in note for note in world.plan().notes)
    world.write(5)
    name = incomplete(world)
    plan = world.plan()
    assert plan.reached == moment(whole)
    (note,) = [note for note in plan.notes if "is complete" in note]
    assert note.startswith(f"no copy of {name} is complete, which would lead to {moment(world.writer.at)}")
    asked = note.partition("--at ")[2].split()[0]
    world.restore(target := SimulatedTarget(), world.plan(asked))
    assert state(target, "app.orders") == world.writer.documents


@pytest.mark.parametrize("how", ["the commit point stalls", "a secondary answers"])
def test_nothing_is_called_quiet_while_entries_may_be_there_that_are_not_final(how: str):
    world = World(slices=1)
    final = world.writer.at
    if how == "a secondary answers":
        world.log.secondary = True
    else:
        world.write(5)
        world.log.unfinal = 5
    world.log.now = final + 100
    assert "quiet_until" not in facts(take_slice(world.log, world.places).manifest)
    assert world.plan().reached == moment(final)
    with pytest.raises(Refused, match=f"leads to {moment(final)}"):
        world.plan(moment(final + 50))
    world.log.unfinal, world.log.secondary = 0, False
    assert facts(take_slice(world.log, world.places).manifest)["quiet_until"] == moment(final + 100)
