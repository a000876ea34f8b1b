"""A backup of Redis, whole: what the manifest says of it, what breaks it, and what a look inside finds later."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyrage
import pytest
from backports import zstd

from onlyvips.adapters.snapshot_redis import RedisSnapshot
from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.core.manifest import Fact, ObjectRecord, Server
from onlyvips.errors import OnlyVipsError, Transient
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.journal import find_begun
from onlyvips.steps.opened import open_object
from onlyvips.steps.pipe import Progress
from onlyvips.steps.redis_snapshots import rdb_piece
from onlyvips.steps.secret_snapshots import about
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.verify import Reading, verify
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.redis import SimulatedRedis, closed, rdb

PLAN = replace(BASE_PLAN, kind="redis", database="")
KEY = "objects/0001-redis.rdb.zst.age"


@pytest.fixture
def redis() -> SimulatedRedis:
    made = SimulatedRedis()
    made.databases = {0: {b"user:%d" % n: b"geheim %d" % n * 9 for n in range(3000)}, 7: {b"one": b"1", b"two": b"2"}}
    return made


@pytest.fixture
def url(redis: SimulatedRedis) -> Iterator[str]:
    with redis.serving() as address:
        yield address


@pytest.fixture
def stores() -> list[SimulatedStore]:
    return [SimulatedStore(name) for name in "abc"]


def session(
    url: str, stores: list[SimulatedStore], on_progress: Progress = lambda size, documents: None, key: str = ""
) -> Session:
    source = RedisSnapshot(url)
    run = Run(1, SimClock(), lambda size: b"\xab" * size, on_progress, key)
    begun = find_begun(stores, "lab", "redis", key) if key else None
    made = Session([rdb_piece(source)], partial(about, source), stores, PLAN, run, begun=begun)
    made.begin()
    return made


def back_up(url: str, stores: list[SimulatedStore]) -> Taken:
    return take(session(url, stores))


def plain(stored: bytes) -> bytes:
    """What ``age -d | zstd -d`` gives."""
    return bytes(zstd.decompress(pyrage.decrypt(stored, IDENTITIES[:1])))


def catalog(stores: list[SimulatedStore]) -> Backup:
    (found,) = read_catalog(read_shelves(stores, "lab"))
    return found


@pytest.mark.parametrize("length", [True, False])
def test_a_backup_is_the_rdb_that_redis_sent_and_its_manifest_says_what_is_in_it(
    redis: SimulatedRedis, url: str, stores: list[SimulatedStore], length: bool
):
    redis.length_is_known = length
    manifest = back_up(url, stores).manifest
    (record,) = manifest.objects
    expected = rdb(redis.databases)
    for store in stores:
        assert plain(store.objects[manifest.prefix + KEY]) == expected
        assert b"geheim" not in b"".join(store.objects.values())
    (inside,) = record.namespaces
    assert (inside.type, inside.documents, inside.bytes) == ("rdb", 3002, len(expected))
    assert inside.crc64 == f"{int.from_bytes(expected[-8:], 'little'):016x}"
    told = json.loads(inside.metadata)
    assert [(one["number"], one["keys"]) for one in told["databases"]] == [(0, 3000), (7, 2)]
    assert (told["rdb"], told["redis-ver"]) == (10, "7.0.15")
    assert (manifest.server, manifest.facts) == (Server("redis", "7.0.15"), (Fact("role", "master"),))


def test_progress_counts_bytes_and_keys(redis: SimulatedRedis, url: str, stores: list[SimulatedStore]):
    seen: list[tuple[int, int]] = []
    take(session(url, stores, lambda size, documents: seen.append((size, documents))))
    assert seen[-1] == (len(rdb(redis.databases)), 3002)


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("after", [0, 20, 100_000, -1])
def test_a_redis_that_dies_in_the_middle_leaves_nothing_published(
    redis: SimulatedRedis, url: str, stores: list[SimulatedStore], length: bool, after: int
):
    redis.length_is_known, redis.cuts_after = length, after
    with pytest.raises(Transient, match="it closed the connection"):
        back_up(url, stores)
    assert [(store.objects, store.uploads) for store in stores] == [({}, set())] * 3


@pytest.mark.parametrize("at", [0, 8, 100, 100_000, -9, -1])
def test_a_flipped_bit_of_what_redis_sent_leaves_nothing_published(
    redis: SimulatedRedis, url: str, stores: list[SimulatedStore], at: int
):
    redis.flips = at
    with pytest.raises(Transient, match="What Redis sent is not a whole RDB: .*take it again"):
        back_up(url, stores)
    assert [(store.objects, store.uploads) for store in stores] == [({}, set())] * 3


def test_an_abort_ends_the_reading_though_redis_has_sent_nothing_yet(
    redis: SimulatedRedis, url: str, stores: list[SimulatedStore]
):
    class Aborted(OnlyVipsError):
        pass

    asked: list[int] = []

    def abort(size: int, documents: int) -> None:
        asked.append(size)
        if any(words.startswith("PSYNC") for words in redis.asked):
            raise Aborted

    redis.signs_of_life = 5
    with pytest.raises(Aborted):
        take(session(url, stores, abort))
    assert set(asked) == {0}
    assert [store.objects for store in stores] == [{}, {}, {}]


def test_a_retry_goes_on_with_the_object_of_the_dead_attempt_and_tells_what_that_holds(redis: SimulatedRedis, url: str):
    alive = Life()
    take(session(url, [SimulatedStore("a", alive)], key="run-1"))
    resumed = 0
    for death in range(2, alive.writes + 1):
        dying = [SimulatedStore("a", Life(death))]
        with pytest.raises(Killed):
            take(session(url, dying, key="run-1"))
        again = SimulatedStore("a")
        again.objects = dict(dying[0].objects)
        redis.asked, done = [], any("/journal/0001" in key for key in again.objects)
        redis.databases[7][b"later"] = b""
        manifest = take(session(url, [again], key="run-1")).manifest
        del redis.databases[7][b"later"]
        (record,) = manifest.objects
        assert record.namespaces[0].documents == (3002 if done else 3003)
        assert any(words.startswith("PSYNC") for words in redis.asked) != done
        assert open_object(iter([again.objects[manifest.prefix + KEY]]), record, IDENTITIES[:1]) == ""
        resumed += done
    assert resumed


# --- looked into later


def sealed(data: bytes, record: ObjectRecord) -> tuple[bytes, ObjectRecord]:
    """Other bytes in the place of an object, as somebody would put them there who can write the manifest too."""
    stored = pyrage.encrypt(zstd.compress(data), [one.to_public() for one in IDENTITIES])
    return stored, replace(record, size=len(stored), sha256=hashlib.sha256(stored).hexdigest())


def test_what_was_written_opens_as_it_was_in_every_copy(url: str, stores: list[SimulatedStore]):
    back_up(url, stores)
    reading = Reading(SimClock(), lambda size: b"\1" * size, identities=tuple(IDENTITIES[:1]))
    found = verify(catalog(stores), stores, reading)
    assert [(one.destination, one.how, one.good, one.whole) for one in found] == [
        (name, "decrypted", True, True) for name in "abc"
    ]


def test_a_look_inside_finds_what_a_hash_of_the_stored_bytes_cannot(
    redis: SimulatedRedis, url: str, stores: list[SimulatedStore]
):
    (record,) = back_up(url, stores).manifest.objects
    whole = rdb(redis.databases)
    cases = {
        "does not open: CRC-64 of its": bytes([*whole[:500], whole[500] ^ 1, *whole[501:]]),
        "does not open: it has no checksum": whole[:1000] + bytes(8),
        "does not open: it begins with": b"x" + whole,
        "holds 1 keys in .* the manifest says 3002 keys": rdb({0: {b"a": b"1"}}),
        "holds 3002 keys in .* with CRC-64 .* the manifest says 3002 keys": closed(
            whole[:-8].replace(b"REDIS0010", b"REDIS0011")
        ),
    }
    for why, data in cases.items():
        stored, mine = sealed(data, record)
        assert re.search(why, open_object(iter([stored]), mine, IDENTITIES[:1])), why
    assert open_object(iter([stored]), record, IDENTITIES[:1]).startswith("has SHA-256")
