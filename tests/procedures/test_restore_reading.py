"""Copies that could not be read, are not what they were, or are read by a run that is over: each is told as that."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pyrage
import pytest

from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Fenced, Refused, Transient
from onlyvips.steps.frames import compress
from onlyvips.steps.several import Stopped, several, stoppable
from onlyvips.steps.sound import Reader, find_sound, read_sound
from onlyvips.steps.verify import check_opens
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_restore import World
from tests.simulators.oplog import entry
from tests.simulators.target import SimulatedTarget, state


class Breaking:
    """A store whose connection breaks in the middle of so many readings of what ends with ``part``."""

    def __init__(self, store: object, part: str, times: int) -> None:
        self.store, self.part, self.times = store, part, times

    @property
    def name(self) -> str:
        return str(self.store.name)  # type: ignore[attr-defined]

    def read(self, key: str) -> Iterator[bytes]:
        whole = b"".join(self.store.read(key))  # type: ignore[attr-defined]
        if self.part in key and self.times:
            self.times -= 1
            yield whole[: len(whole) // 2]
            raise Transient(f"{self.name}: the connection broke.")
        yield whole


def reader(world: World, part: str, times: int, plan: RestorePlan) -> Reader:
    """Of one destination alone."""
    store = world.places[0]
    return Reader({store.name: Breaking(store, part, times)}, IDENTITIES[:1], lambda doing, size: None, 1)  # type: ignore[dict-item]


@pytest.mark.parametrize("part", ["orders", "users", "oplog"])
def test_a_connection_that_breaks_once_costs_another_attempt_and_nothing_else(part: str):
    world = World(slices=2)
    plan = world.plan()
    sound = find_sound(plan, reader(world, part, 1, plan))
    assert sound.flaws == () and len(sound.stores) == len(plan.archives) + len(plan.logs)
    assert sound.translated is not None
    whole = find_sound(plan, reader(world, part, 0, plan)).translated
    assert whole is not None and repr(sound.translated.steps) == repr(whole.steps)


@pytest.mark.parametrize("part", ["orders", "oplog"])
def test_what_cannot_be_read_now_is_not_called_lost(part: str):
    world = World(slices=1)
    plan = world.plan()
    with pytest.raises(Transient, match="could not be read now, and nothing was written"):
        find_sound(plan, reader(world, part, 99, plan))
    with pytest.raises(Transient, match="could not be read now"):
        read_sound(plan.logs[0], reader(world, "oplog", 99, plan))


def test_an_object_with_one_bad_copy_and_one_that_is_not_read_now_is_not_called_lost():
    world = World(slices=1)
    plan = world.plan()
    (key, *_) = [one.key for one in plan.archives]
    first, second = world.places[0], Breaking(world.places[1], key, 99)
    del first.objects[key]
    stores = {first.name: first, second.name: second}
    with pytest.raises(Transient, match="could not be read now"):
        find_sound(plan, Reader(stores, IDENTITIES[:1], lambda doing, size: None))  # type: ignore[arg-type]


def test_a_run_that_was_overtaken_accuses_no_copy():
    world = World(slices=1)
    plan = world.plan()

    def told(doing: str, size: int) -> None:
        raise Fenced("This run may no longer restore.")

    stores = {one.name: one for one in world.places}
    with pytest.raises(Fenced, match="no longer"):
        find_sound(plan, Reader(stores, IDENTITIES[:1], told))


def test_another_log_in_the_place_of_one_is_a_bad_copy_and_no_entry_that_cannot_be_replayed():
    world = World(slices=1)
    plan = world.plan()
    forged = pyrage.encrypt(_forged(world.writer.at), [one.to_public() for one in IDENTITIES])
    world.places[0].objects[plan.logs[-1].key] = forged
    target = SimulatedTarget()
    found = world.restore(target, plan)
    assert state(target, "app.orders") == world.writer.documents
    assert len(found.flaws) == 1 and "has SHA-256" in found.flaws[0]


def _forged(at: int) -> bytes:
    """A log that opens, of an entry that no replay can do."""
    return b"".join(compress([entry(at, op="c", ns="app.$cmd", o={"collMod": "orders", "validator": {}})], 3))


def test_an_identity_that_opens_none_of_it_is_known_before_anything_is_read():
    world = World(slices=1)
    manifest = world.plan().base
    mine = pyrage.x25519.Identity.generate()
    ours = replace(manifest, recipients=(str(mine.to_public()), "age1other"))
    check_opens([mine], [ours])
    with pytest.raises(
        Refused, match="None of the identities here opens .*it is for age1other, and here is what opens"
    ):
        check_opens([mine], [ours, replace(manifest, recipients=("age1other",))])


def interrupted(after: threading.Event) -> threading.Thread:
    """A person who presses Ctrl-C then."""

    def press() -> None:
        after.wait(20)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in what it starts
    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_an_interrupt_ends_what_is_done_in_a_thread_before_it_is_raised():
    begun, stopping, ended = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        stopping.wait(20)
        ended.append("it heard")
        raise Stopped("It was told to stop.")

    pressing = interrupted(begun)
    with pytest.raises(KeyboardInterrupt):
        stoppable(work, stopping)
    pressing.join()
    assert ended == ["it heard"]


def test_an_interrupt_begins_nothing_more_of_several():
    begun, release, done = threading.Event(), threading.Event(), list[int]()

    def one(number: int) -> None:
        begun.set()
        release.wait(0.5)
        done.append(number)

    pressing = interrupted(begun)
    with pytest.raises(KeyboardInterrupt):
        several(one, range(100), 2)
    pressing.join()
    assert len(done) <= 4
