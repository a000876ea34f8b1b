"""Logs of which what they say is kept from their check, and logs that are too long for it: the same end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from onlyvips.core.changes import Put, Remove, Write
from onlyvips.core.manifest import moment
from onlyvips.errors import Permanent, Transient
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader, find_sound
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_restore import World, flip, killed_until_it_ends
from tests.procedures.test_slices import take_slice
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life
from tests.simulators.oplog import entry
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


class Busy(World):
    """One with many documents that are only changed after the base."""

    def write(self, count: int) -> None:
        self.writer.kinds = "u" if self.writer.documents else "i"
        super().write(5 * count)


class Wide(SimulatedTarget):
    """Notes how many documents it was given at a time."""

    def __init__(self, life: Life | None = None) -> None:
        super().__init__(life)
        self.given: list[int] = []

    def apply(self, writes: Sequence[Write]) -> None:
        if isinstance(writes[0], Put | Remove) and writes[0].namespace == "app.orders":
            self.given.append(len(writes))
        super().apply(writes)


def test_what_diffs_make_large_is_written_in_parts_so_that_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    world = Busy(4, slices=2)
    world.restore(whole := Wide())
    monkeypatch.setattr("onlyvips.steps.replay._LARGEST", 1)
    world.restore(parts := Wide())
    assert len(parts.given) > len(whole.given) and sum(parts.given) == sum(whole.given)
    assert whole.data == parts.data and state(parts, "app.orders") == world.writer.documents


def test_killed_between_two_parts_of_one_batch_it_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.steps.replay._LARGEST", 1)
    world = Busy(4, slices=1)
    world.restore(alone := SimulatedTarget())
    for death in range(1, alone.life.writes):
        target = SimulatedTarget(Life(death))
        with pytest.raises(Killed):
            world.restore(target)
        target.life = Life()
        world.restore(target)
        assert state(target, "app.orders") == world.writer.documents


def test_what_another_run_replayed_meanwhile_is_not_done_a_second_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world, alone = World(), SimulatedTarget()
    world.restore(alone)
    places = {one.name: one for one in world.places}
    for death in range(1, alone.life.writes):
        target = SimulatedTarget()

        def meanwhile(doing: str, size: int, target: SimulatedTarget = target, death: int = death) -> None:
            if doing == "checking" and not target.life.writes:
                target.life = Life(death)
                with pytest.raises(Killed):
                    world.restore(target)
                target.life = Life()
                target.life.writes = 1

        restore(world.plan(), target, Reader(places, IDENTITIES[:1], meanwhile, 1, world.keeps), SimClock())
        assert target.data == alone.data, death


def test_a_diff_that_nobody_can_apply_to_what_is_there_ends_the_restore_in_words():
    world = World(slices=0)
    id = min(world.writer.documents)
    world.log.write(entry(world.writer.at + 1, op="u", o={"$v": 2, "diff": {"x": {}}}, o2={"_id": id}))
    world.log.now = world.writer.at + 1
    take_slice(world.log, world.places)
    with pytest.raises(Permanent, match=r"a document of app\.orders cannot be done \(a diff has no section x\)"):
        world.restore(SimulatedTarget())
