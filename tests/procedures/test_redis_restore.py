"""Restores of Redis on simulators: into a server that has none of it or over one that has, killed at every write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from onlyvips.core.catalog import read_catalog
from onlyvips.core.keys import KeyServer
from onlyvips.core.points import choose_point
from onlyvips.core.redis_restore import (
    MARKED,
    RedisPlan,
    RestoredKeys,
    as_json,
    check_loader,
    check_source,
    check_target,
    done,
    lines,
    plan_redis,
)
from onlyvips.errors import Permanent, Refused
from onlyvips.steps.redis_restore import restore_redis
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_redis_snapshots import KEY, back_up
from tests.simulators.clock import SimClock
from tests.simulators.keys import SimulatedKeys, SimulatedLoader, payload
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.redis import SimulatedRedis


class World:
    """A backup of two databases in three copies, and a target."""

    def __init__(self, url: str, redis: SimulatedRedis, folder: Path) -> None:
        self.clock = SimClock()
        self.places = [SimulatedStore(name) for name in "abc"]
        self.databases = {number: dict(keys) for number, keys in redis.databases.items()}
        self.manifest = back_up(url, self.places).manifest
        self.loader = SimulatedLoader(self.clock, self.databases, folder)
        self.target = SimulatedKeys(self.clock)

    def plan(self, at: str = "latest") -> RedisPlan:
        point = choose_point(read_catalog(read_shelves(self.places, "lab")), {}, "redis", at)
        found = plan_redis("lab", point, self.target.describe(), self.target.noted(MARKED))
        expire = {number: sum(n == number for n, _ in self.loader.expires) for number in found.databases or {}}
        return replace(found, databases={n: replace(one, expire=expire[n]) for n, one in found.databases.items()})

    def restore(self, *over: int, keys: Any = None, plan: RedisPlan | None = None) -> RestoredKeys:
        reader = Reader({one.name: one for one in self.places}, keys or IDENTITIES[:1], lambda doing, size: None)
        return restore_redis(plan or self.plan(), self.target, self.loader, reader, self.clock, over)

    def values(self) -> dict[int, dict[bytes, bytes]]:
        """What the target has."""
        every = {n: {one.key: one.payload for one in keys.values()} for n, keys in self.target.data.items()}
        return {number: keys for number, keys in every.items() if keys}

    @property
    def expected(self) -> dict[int, dict[bytes, bytes]]:
        return {n: {key: payload(value) for key, value in keys.items()} for n, keys in self.databases.items()}


@pytest.fixture
def redis() -> SimulatedRedis:
    made = SimulatedRedis()
    made.databases = {0: {b"user:%d" % n: b"geheim %d" % n for n in range(7)}, 7: {b"one": b"1", b"two": b"2"}}
    return made


@pytest.fixture
def url(redis: SimulatedRedis) -> Iterator[str]:
    with redis.serving() as address:
        yield address


@pytest.fixture
def world(url: str, redis: SimulatedRedis, tmp_path: Path) -> World:
    return World(url, redis, tmp_path)


def test_an_empty_server_gets_every_key_of_every_database_and_nothing_is_left_of_the_plain_file(world: World):
    world.loader.expires[7, b"one"] = int(world.clock.now() * 1000) + 90_000
    found = world.restore()
    assert world.values() == world.expected
    assert world.target.data[7][b"one"].expires == world.loader.expires[7, b"one"]
    assert (found.keys, found.expired, found.removed, found.others, found.resumed) == (9, 0, 0, 0, False)
    assert found.databases == ("db0", "db7")
    assert world.target.noted_as == {} and list(world.loader.folder.iterdir()) == []
    told = done(found)
    assert "9 keys of db0, db7 read back equal" in told and "load mylib again" in told and "Take a new backup" in told


def test_databases_with_keys_are_written_over_only_where_that_was_asked_and_nothing_is_changed_before(world: World):
    world.target.keep(0, b"user:1", b"wrecked")
    world.target.keep(0, b"session", b"new")
    assert world.plan().overwritten == ("db0",)
    with pytest.raises(Refused, match="db0 of the target has keys, and nobody asked to write over them"):
        world.restore(7)
    assert world.target.life.writes == 0
    found = world.restore(0)
    assert world.values() == world.expected
    assert (found.keys, found.removed) == (9, 1)


def test_a_database_that_the_backup_has_not_stays(world: World):
    world.target.keep(5, b"other", b"stays")
    assert world.plan().overwritten == ()
    assert any("db5 of the target stays as it is, 1 keys" in line for line in lines(world.plan()))
    world.restore()
    assert world.values() == {**world.expected, 5: {b"other": payload(b"stays")}}


def test_what_the_backup_has_not_goes_only_after_every_key_was_compared(world: World):
    world.target.keep(0, b"session", b"new")
    world.target.alters = b"two"
    with pytest.raises(
        Permanent, match=r"Keys of db7 read back otherwise than they were written: 1 have another value"
    ):
        world.restore(0)
    assert b"session" in world.target.data[0]
    world.target.alters = b""
    again = replace(world.plan(), named=frozenset({"db0", "db7"}))
    assert world.restore(0, 7, plan=again).removed == 1 and world.values() == world.expected


def test_a_key_that_expires_at_another_time_than_it_should_is_no_restore(world: World):
    for expires in (int(world.clock.now() * 1000) + 90_000, 0):
        world.loader.expires[7, b"two"] = expires
        world.target = SimulatedKeys(world.clock)
        world.target.delays = b"two"
        with pytest.raises(Permanent, match="Keys of db7 read back otherwise .* 1 expire at another time"):
            world.restore()


@pytest.mark.parametrize("over", [False, True])
def test_killed_before_any_write_and_run_again_with_the_same_options_it_ends_the_same(world: World, over: bool):
    def before() -> SimulatedKeys:
        target = SimulatedKeys(world.clock)
        if over:
            target.keep(0, b"user:1", b"wrecked")
            target.keep(0, b"session", b"new")
        return target

    asked = (0,) if over else ()
    world.target = before()
    world.restore(*asked)
    writes = world.target.life.writes
    assert writes >= 11
    for death in range(1, writes + 1):
        world.target = before()
        world.target.life = Life(death)
        with pytest.raises(Killed):
            world.restore(*asked)
        world.target.life = Life()
        begun = death > 1
        assert world.plan().overwritten == (("db0",) if over else ())
        found = world.restore(*asked)
        assert world.values() == world.expected and world.target.noted_as == {}
        assert found.resumed == begun


def test_a_run_of_another_backup_that_died_there_counts_as_what_is_there(
    world: World, redis: SimulatedRedis, url: str, tmp_path: Path
):
    world.target.life = Life(4)
    with pytest.raises(Killed):
        world.restore()
    world.target.life = Life()
    other = World(url, redis, tmp_path)
    other.manifest = replace(world.manifest, id="20270101T000000Z-abababab")
    plan = world.plan()
    another = replace(plan.point, manifest=other.manifest)
    found = plan_redis("lab", another, world.target.describe(), world.target.noted(MARKED))
    assert found.begun is None and found.overwritten == ("db0",)
    assert any(f"another restore, of {world.manifest.prefix}, is not done there" in note for note in found.notes)


def test_keys_that_expired_before_or_meanwhile_are_told_and_are_no_fault(world: World):
    now = int(world.clock.now() * 1000)
    world.loader.expires = {(0, b"user:1"): now + 1000, (7, b"two"): now + 30_000}
    telling = iter([2000.0])
    world.target.busy = lambda: world.clock.sleep(next(telling, 0.0))
    found = world.restore()
    assert (found.keys, found.expired) == (7, 2)
    assert "2 others had expired" in done(found)


def test_a_key_that_the_targets_clock_let_go_a_little_earlier_is_no_loss_and_one_much_earlier_is(world: World):
    world.target.clock = SimClock()
    world.target.clock.sleep(20)
    world.loader.expires[0, b"user:1"] = int(world.clock.now() * 1000) + 10_000
    assert world.restore().expired == 1
    world.target.clock.sleep(300)
    world.loader.expires[0, b"user:1"] = int(world.clock.now() * 1000) + 100_000
    with pytest.raises(Permanent, match="1 are missing"):
        world.restore(0, 7)


def test_somebody_who_writes_into_an_empty_target_is_not_written_over_and_what_is_his_stays(world: World):
    world.target.busy = lambda: world.target.keep(7, b"his", b"own")
    found = world.restore()
    assert found.others == 1 and world.values()[7][b"his"] == payload(b"own")
    assert "1 keys were written there by somebody else meanwhile, and stay" in done(found)
    world.target = SimulatedKeys(world.clock)
    world.target.busy = lambda: world.target.keep(7, b"two", b"his")
    with pytest.raises(Permanent, match="db7 had none when this began, so somebody else writes there"):
        world.restore()
    assert world.target.data[7][b"two"].payload == payload(b"his")


# --- copies


def flip(store: SimulatedStore, key: str) -> None:
    data = store.objects[key]
    store.objects[key] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize("fault", ["flipped", "missing"])
def test_a_bad_copy_is_passed_by_for_a_good_one_and_told_until_there_is_none(world: World, fault: str):
    key, plan = world.manifest.prefix + KEY, world.plan()
    for bad, place in enumerate(world.places, start=1):
        if fault == "flipped":
            flip(place, key)
        else:
            del place.objects[key]
        world.target = SimulatedKeys(world.clock)
        if bad < 3:
            found = world.restore(plan=plan)
            assert world.values() == world.expected and len(found.flaws) == bad
            continue
        with pytest.raises(Refused, match="No good copy is left of .* so nothing was written"):
            world.restore(plan=plan)
        assert world.target.life.writes == 0 and list(world.loader.folder.iterdir()) == []


def test_the_wrong_identity_is_refused_before_the_target_is_touched(world: World):
    with pytest.raises(Refused, match="see that the identity is the right one"):
        world.restore(keys=[pyrage.x25519.Identity.generate()])
    assert world.target.life.writes == 0


# --- what is refused


def test_a_server_of_ours_that_lost_keys_is_found_out_before_the_target_is_touched(world: World):
    world.loader.loses = 1
    with pytest.raises(Refused, match="db0 of the backup has 7 keys, of which 0 expire; 6 were loaded"):
        world.restore()
    assert world.target.life.writes == 0


def test_a_target_that_does_not_take_the_values_is_refused_before_any_key_is_written(world: World):
    world.target.takes = b"older"
    with pytest.raises(Refused, match="does not take these values.* Nothing was changed"):
        world.restore()
    world.target.takes, world.target.most_databases = payload(b"")[-10:], 7
    with pytest.raises(Refused, match="fewer databases than the backup.* Nothing was changed"):
        world.restore()
    assert world.target.life.writes == 0


FITS = KeyServer("redis", "7.0.15", "target")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(FITS, refusal="it is one node of a cluster"), "it is one node of a cluster. Nothing was changed"),
        (replace(FITS, dialect="valkey"), "The backup is of redis, the target is valkey"),
        (replace(FITS, version="6.2.7"), "an older server does not know all of it.* give one of 7.0 or later"),
        (replace(FITS, most=5 << 20), "it would refuse the last of them.*raise maxmemory first"),
        (replace(FITS, most=5 << 20, evicts=True), "it would throw keys away while they come back"),
        (replace(FITS, memory=5 << 20), "the target's machine has 5.0 MiB"),
    ],
)
def test_a_target_that_cannot_take_it_is_refused_by_the_plan(world: World, facts: KeyServer, why: str):
    world.target.facts = facts
    with pytest.raises(Refused, match=why):
        check_target(replace(world.plan(), used=6 << 20))


def test_where_the_manifest_says_nothing_of_memory_the_loaded_server_does(world: World):
    world.target.facts, world.loader.used = replace(FITS, most=5 << 20), 6 << 20
    with pytest.raises(Refused, match="raise maxmemory first"):
        world.restore()
    assert world.target.life.writes == 0


def test_the_live_source_under_another_name_and_a_program_that_does_not_fit_are_refused(world: World):
    plan = world.plan()
    with pytest.raises(Refused, match="The target is the live Redis.*say --target live"):
        check_source(plan, replace(FITS, identity="target"))
    check_source(plan, replace(FITS, identity="another"))
    check_source(plan, None)
    for dialect, version in (("redis", "6.2.1"), ("valkey", "8.0.0")):
        with pytest.raises(Refused, match=f"to load the backup is {dialect} {version}, the backup is of redis 7.0.15"):
            check_loader(plan, dialect, version)
    check_loader(plan, "redis", "7.2.0")


def test_a_backup_that_could_not_count_its_keys_may_write_over_whatever_there_is(world: World):
    world.target.keep(3, b"a", b"1")
    plan = replace(world.plan(), databases=None)
    assert plan.overwritten == ("db3",)
    assert "the backup could not count them" in "\n".join(lines(plan))


def test_a_plan_says_what_comes_what_is_there_and_what_is_written_over(world: World):
    world.target.keep(0, b"session:geheim", b"geheim")
    plan = world.plan()
    told = "\n".join(lines(plan))
    assert f"out of the backup {plan.point.name}" in told
    assert "db0: 7 keys, 0 of them expire; the target has 1" in told
    assert "written over: db0 (1 keys); keys that the backup does not have are removed at the end" in told
    assert "libraries of functions, cached scripts, ACLs" in told
    values = as_json(plan)
    assert values["overwritten"] == ["db0"] and values["databases"]["db7"] == {"keys": 2, "target": 0}
    assert "geheim" not in told + str(values)


# --- which backup


def test_latest_a_moment_and_a_name_each_mean_one_backup(world: World):
    first = read_catalog(read_shelves(world.places, "lab"))[0]
    assert first.manifest is not None
    second = replace(
        first,
        prefix="lab/redis/20990101T000000Z-cdcdcdcd-e9/",
        manifest=replace(first.manifest, id="20990101T000000Z-cdcdcdcd", epoch=9, finished="2099-01-01T00:00:00Z"),
    )
    torn = replace(second.copies[0], flaws=("lacks an object",))

    def chosen(at: str, *backups: Any) -> Any:
        return choose_point(list(backups), {}, "redis", at)

    assert chosen("latest", first, second).manifest == second.manifest
    assert chosen(first.finished, first, second).manifest == first.manifest
    assert chosen("2099-01-01T00:00:00Z", first, second).manifest == second.manifest
    assert chosen("20990101", first, second).manifest == second.manifest
    only = chosen("latest", first, replace(second, copies=(torn,)))
    assert only.manifest == first.manifest and "no copy of it is complete" in only.notes[0]
    assert chosen("20990101", first, replace(second, copies=(torn,))).manifest == second.manifest
    for at, why in (
        ("2001-01-01T00:00:00Z", "before the first backup was finished: the earliest moment"),
        ("2001-13-01T00:00:00Z", "is no moment"),
        ("20", "more than one backup|neither"),
        ("yesterday", "neither `latest`, nor a moment"),
    ):
        with pytest.raises(Refused, match=why):
            chosen(at, first, second)
    with pytest.raises(Refused, match="There is no backup of media"):
        choose_point([first], {}, "media", "latest")
