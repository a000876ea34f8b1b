"""What must be there after a restore, out of the objects alone: by a writer's own journal, from whatever copy."""

from __future__ import annotations

import hashlib
from typing import Any

import bson
import pyrage
import pytest
from backports import zstd

from onlyvips.core.little_bson import each
from onlyvips.core.manifest import moment
from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Permanent, Transient
from onlyvips.steps.backup import take
from onlyvips.steps.expectation import Expectation, Sums
from onlyvips.steps.sound import Reader
from tests.procedures.test_backup import IDENTITIES, stores
from tests.procedures.test_restore import World, flip
from tests.procedures.test_restore_pieces import plan_of
from tests.procedures.test_slices import take_slice
from tests.procedures.test_split import DividedDatabase, session
from tests.simulators.oplog import entry


def by_hand(documents: list[bytes]) -> tuple[int, str]:
    """As the document of the format says it."""
    hashes = [int.from_bytes(hashlib.blake2b(one, digest_size=16).digest(), "little") for one in documents]
    return len(documents), f"{sum(hashes) % 2**128:032x}"


def journal(documents: dict[Any, dict[str, Any]]) -> tuple[int, str]:
    return by_hand([bson.encode(one) for one in documents.values()])


def expectation(world: World, plan: RestorePlan) -> Expectation:
    return Expectation(plan, Reader({one.name: one for one in world.places}, IDENTITIES[:1], lambda *_: None, 2))


def expected(world: World, at: str = "latest", *names: str) -> Sums:
    return expectation(world, world.plan(at, *names)).compute()


@pytest.mark.parametrize("seed", [1, 4, 9])
def test_at_every_moment_it_is_what_the_writers_own_journal_says(seed: int):
    world = World(seed, meanwhile=2)
    for second in range(world.first, world.writer.at + 1):
        found = expected(world, moment(second))
        assert found["app.orders"] == journal(world.writer.states[second]), second
        assert found["app.users"][0] == 2


def test_under_other_names_and_alone_it_is_the_same():
    world = World()
    assert expected(world, "latest", "app.orders=x.lost") == {"x.lost": journal(world.writer.documents)}
    assert expected(world, "latest", "app.*=x.*").keys() == {"x.orders", "x.users"}


def test_a_transaction_takes_effect_with_its_end_and_an_applyops_at_once():
    world = World(slices=1)
    at, log = world.writer.at, world.log
    into = {"ns": "app.users"}
    txn = {"lsid": {"id": b"1" * 16}, "txnNumber": 1}
    nothing, begun = {"ts": bson.Timestamp(0, 0), "t": -1}, {"ts": bson.Timestamp(at + 1, 1), "t": 1}
    first = {"applyOps": [{"op": "i", **into, "o": {"_id": "w"}}], "partialTxn": True}
    last = {"applyOps": [{"op": "d", **into, "o": {"_id": "u"}}]}
    log.write(entry(at + 1, op="c", ns="admin.$cmd", o=first, prevOpTime=nothing, **txn))
    log.write(entry(at + 2, op="i", ns="app.users", o={"_id": "x"}))
    log.write(entry(at + 3, op="c", ns="admin.$cmd", o=last, prevOpTime=begun, **txn))
    log.write(entry(at + 4, op="c", ns="app.$cmd", o={"applyOps": [{"op": "i", **into, "o": {"_id": "y"}}]}))
    take_slice(log, world.places)
    v = {"_id": "v", "n": 2}
    before = [bson.encode(one) for one in ({"_id": "u", "n": 1}, v, {"_id": "x"})]
    assert expected(world, moment(at + 2))["app.users"] == by_hand(before)
    after = [bson.encode(one) for one in (v, {"_id": "w"}, {"_id": "x"}, {"_id": "y"})]
    assert expected(world)["app.users"] == by_hand(after)


def test_a_collection_of_several_objects_is_one_sum():
    places, source = stores("a"), DividedDatabase()
    take(session(source, places))
    reader = Reader({"a": places[0]}, IDENTITIES[:1], lambda *_: None, 3)
    found = Expectation(plan_of(places), reader).compute()
    assert found["app.big"] == by_hand([one for batch in source.collections["big"] for one in each(batch)])


@pytest.mark.parametrize("part", ["/mongodb/", "/oplog/"])
def test_what_a_bad_copy_said_is_forgotten_and_the_next_one_is_read(part: str):
    world = World()
    plan = world.plan()
    clean = expectation(world, plan)
    good = clean.compute()
    assert dict(clean.used) == {"a": 5}
    bad = [one.key for one in (*plan.archives, *plan.logs) if part in one.key]
    for key in bad:
        flip(world.places[0], key)
    found = expectation(world, plan)
    assert found.compute() == good and found.compute() == good  # asked again it is the same
    assert found.used["b"] == len(bad)
    for place in world.places[1:]:
        flip(place, bad[0])
    with pytest.raises(Transient, match=f"What must be there cannot be known: a: {bad[0]} .*; b: .*; c: "):
        expectation(world, plan).compute()


@pytest.mark.parametrize("part", ["/mongodb/", "/oplog/"])
def test_what_somebody_else_encrypted_in_the_place_of_an_object_is_forgotten_too(part: str):
    world, other = World(7), World(2)  # of 7 later slices change what the base has
    plan = world.plan()
    good = expectation(world, plan).compute()
    if part == "/oplog/":
        forged = entry(world.writer.at, op="i", ns="app.orders", o={"_id": "forged"})
        recipients = [one.to_public() for one in IDENTITIES]
        stands_there = pyrage.encrypt(zstd.compress(forged), recipients)
    else:
        (key,) = [one for one in other.keys("orders") if part in one]
        stands_there = other.places[0].objects[key]
    orders = next(one.key for one in plan.archives if "orders" in one.key)
    victim = plan.logs[1].key if part == "/oplog/" else orders
    world.places[0].objects[victim] = stands_there
    found = expectation(world, plan)
    assert found.compute() == good and found.used["b"] == 1


def test_a_change_of_what_is_not_there_after_the_window_is_told():
    world = World(slices=0)
    log = world.log
    log.write(entry(world.writer.at + 1, op="u", o={"$v": 2, "diff": {"u": {"n": 1}}}, o2={"_id": "nobody"}))
    take_slice(log, world.places)
    with pytest.raises(Permanent, match="base and slices do not fit each other"):
        expected(world)
