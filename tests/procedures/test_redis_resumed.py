"""A restore of Redis that died, run again: what it had written is its own, what is there besides is somebody's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onlyvips.adapters.keys_redis import MARKER
from onlyvips.core.redis_restore import done
from onlyvips.errors import Refused
from tests.procedures.test_redis_restore import World
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life
from tests.simulators.redis import SimulatedRedis


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    redis = SimulatedRedis()
    redis.databases = {0: {b"user:%d" % n: b"geheim %d" % n for n in range(7)}, 7: {b"one": b"1", b"two": b"2"}}
    with redis.serving() as url:
        yield World(url, redis, tmp_path)


def test_what_an_earlier_run_wrote_over_is_written_over_again_only_by_who_says_so(world: World):
    world.target.keep(0, b"session", b"new")
    world.target.life = Life(4)
    with pytest.raises(Killed):
        world.restore(0)
    world.target.life = Life()
    world.target.keep(0, b"user:1", b"repaired by hand")
    with pytest.raises(Refused, match="db0 of the target has keys, and nobody asked to write over them"):
        world.restore()
    assert world.target.life.writes == 0


@pytest.mark.parametrize("key", [b"user:1", b"user:6", b"session"])
def test_a_database_that_was_empty_and_is_used_after_a_death_is_written_over_only_by_who_says_so(
    world: World, key: bytes
):
    """A key that was written and is another by now, one that was not written yet, one that the backup has not."""
    world.target.life = Life(4)
    with pytest.raises(Killed):
        world.restore()
    world.target.life = Life()
    world.target.keep(0, key, b"new")
    with pytest.raises(Refused, match="keys that the earlier run .* did not write.*--at .* --overwrite db0"):
        world.restore()
    assert world.target.life.writes == 0
    named = replace(world.plan(), named=frozenset({"db0"}))
    assert named.overwritten == ("db0",)
    world.restore(0, plan=named)
    assert world.values() == world.expected


def test_more_keys_than_an_earlier_run_can_have_written_are_told_by_the_plan(world: World):
    world.target.life = Life(4)
    with pytest.raises(Killed):
        world.restore()
    assert world.plan().overwritten == ()
    for number in range(6):
        world.target.keep(0, b"session:%d" % number, b"new")
    assert world.plan().overwritten == ("db0",)


def test_a_key_of_an_earlier_run_that_has_just_expired_here_is_nobody_elses(world: World):
    world.target.clock = SimClock()
    world.loader.expires[0, b"user:0"] = int(world.clock.now() * 1000) + 5000
    world.target.life = Life(4)
    with pytest.raises(Killed):
        world.restore()
    world.target.life = Life()
    world.clock.sleep(6)
    assert b"user:0" in world.target.data[0]
    assert world.restore().resumed


@pytest.mark.parametrize("more", [{}, {b"user:1": b"geheim 1"}])
def test_a_backup_taken_while_a_restore_was_under_way_comes_back_without_its_word(
    tmp_path: Path, more: dict[bytes, bytes]
):
    """With other keys beside it, and without any."""
    redis = SimulatedRedis()
    redis.databases = {0: {MARKER: b'{"backup": "b", "empty": [0], "over": []}', **more}, 7: {b"one": b"1"}}
    with redis.serving() as url:
        world = World(url, redis, tmp_path)
    found = world.restore()
    assert (found.keys, found.expired, found.amid) == (1 + len(more), 0, True)
    assert "taken while a restore was under way" in done(found)
    del world.databases[0][MARKER]
    assert world.values() == {number: keys for number, keys in world.expected.items() if keys}
