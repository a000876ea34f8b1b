"""Logs of which what they say is kept from their check, and logs that are too long for it: the same end."""

from __future__ import annotations

import random

import pytest

from onlyvips.core.manifest import moment
from onlyvips.errors import Transient
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader, find_sound
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_restore import World, flip, killed_until_it_ends
from tests.simulators.clock import SimClock
from tests.simulators.target import SimulatedTarget, state


class Long(World):
    """A log of which no more than a few entries are kept."""

    keeps = 2_000


def kept(world: World) -> bool:
    places = {one.name: one for one in world.places}
    reader = Reader(places, IDENTITIES[:1], lambda doing, size: None, 1, world.keeps)
    return find_sound(world.plan(), reader).translated is not None


def test_a_long_log_is_read_again_and_every_moment_is_had_exactly():
    world = Long()
    assert kept(World()) and not kept(world)
    for second in range(world.first, world.writer.at + 1):
        world.restore(target := SimulatedTarget(), world.plan(moment(second)))
        assert state(target, "app.orders") == world.writer.states[second]


def test_killed_again_and_again_in_a_long_log_it_goes_on_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world, target = Long(3), SimulatedTarget()
    assert killed_until_it_ends(world, target, random.Random(7))
    assert state(target, "app.orders") == world.writer.documents


def test_a_long_log_that_is_not_what_was_checked_any_more_ends_the_restore_and_run_again_it_goes_on():
    world, target = Long(), SimulatedTarget()
    (*_, last) = world.plan().logs
    whole = {place.name: place.objects[last.key] for place in world.places}
    places = {one.name: one for one in world.places}

    def rot(doing: str, size: int) -> None:
        if doing == "replaying":
            for place in world.places:
                if place.objects[last.key] == whole[place.name]:
                    flip(place, last.key)

    with pytest.raises(Transient, match="was good when it was checked, and is not now"):
        restore(world.plan(), target, Reader(places, IDENTITIES[:1], rot, 1, world.keeps), SimClock())
    for place in world.places:
        place.objects[last.key] = whole[place.name]
    world.restore(target)
    assert state(target, "app.orders") == world.writer.documents


def test_of_a_copy_that_opens_and_is_another_log_nothing_comes_back():
    world, other = World(1), World(2)
    plan = world.plan()
    for mine, theirs in zip(plan.logs, other.plan().logs, strict=True):
        (first,) = [place for place in world.places if place.name == mine.destinations[0]]
        first.objects[mine.key] = other.places[0].objects[theirs.key]
    found = world.restore(target := SimulatedTarget(), plan)
    assert state(target, "app.orders") == world.writer.documents != other.writer.documents
    assert found.flaws
