"""Scratch's contract: the simulator, FerretDB of the lab, and a real MongoDB where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import bson
import pytest

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.scratch_mongodb import MongoScratch
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.changes import Create, Drop
from onlyvips.errors import Misuse, Transient
from onlyvips.ports import TargetDatabase
from onlyvips.ports.scratch import Scratch
from tests.contracts.test_target import MONGODB, SERVERS
from tests.simulators.target import SimulatedScratch, SimulatedTarget


@dataclass
class Place:
    """A scratch server, the same as a target, and a name that no database has."""

    scratch: Scratch
    target: TargetDatabase
    name: str


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    name = f"drill_contract_{os.urandom(4).hex()}"
    if request.param == "simulator":
        target = SimulatedTarget()
        yield Place(SimulatedScratch(target), target, name)
        return
    uri = MONGODB if request.param == "mongodb" else request.getfixturevalue("lab").env["ONLYVIPS_LAB_MONGODB_URI"]
    database = MongoDatabase(uri)
    found = Place(MongoScratch(database), MongoTarget(database), name)
    yield found
    found.scratch.drop(name)


def test_a_database_is_listed_once_it_has_a_collection_and_is_gone_with_all_of_it(place: Place):
    assert place.name not in place.scratch.databases()
    place.target.insert(f"{place.name}.a", bson.encode({"_id": 1}))
    place.target.apply([Create(f"{place.name}.empty")])
    assert place.name in place.scratch.databases() == sorted(place.scratch.databases())
    place.scratch.drop(place.name)
    assert place.name not in place.scratch.databases()
    assert place.target.collections(place.name) == []
    place.scratch.drop(place.name)


def test_it_can_be_filled_again_after_it_was_dropped(place: Place):
    for document in ({"_id": 1, "n": 1}, {"_id": 1, "n": 2}):
        place.scratch.drop(place.name)
        place.target.insert(f"{place.name}.a", bson.encode(document))
        assert [*chain.from_iterable(place.target.documents(f"{place.name}.a"))] == [bson.encode(document)]


def test_what_is_left_without_a_collection_is_not_listed(place: Place):
    place.target.apply([Create(f"{place.name}.a"), Drop(f"{place.name}.a")])
    assert place.name not in place.scratch.databases()


def test_what_is_not_named_like_a_drills_is_never_dropped(place: Place):
    with pytest.raises(Misuse):
        place.scratch.drop("onlyvips")


def test_a_server_that_is_away_is_told(request: pytest.FixtureRequest):
    away = MongoScratch(MongoDatabase("mongodb://127.0.0.1:9/", connect_timeout=0.2))
    with pytest.raises(Transient):
        away.databases()
    with pytest.raises(Transient):
        away.drop("drill_x")
