"""TargetDatabase's contract: the simulator, FerretDB of the lab, a real MongoDB where there is one; and the stand-in of
one, which speaks MongoDB's protocol and keeps what it is given, but builds no index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.changes import Create, Drop, Index, Put, Remove, Rename
from onlyvips.core.swap import same_view
from onlyvips.errors import Permanent, Transient
from onlyvips.ports.live import LiveDatabase
from tests import firehose
from tests.contracts.test_database import Relay
from tests.simulators.target import SimulatedTarget

MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
SERVERS = [
    "simulator",
    pytest.param("ferretdb", marks=pytest.mark.lab),
    pytest.param("stand-in", marks=pytest.mark.lab),
    *([pytest.param("mongodb", marks=pytest.mark.lab)] if MONGODB else []),
]


@dataclass
class Place:
    """A target, an empty database in it, and how one connects to the same server once more."""

    target: LiveDatabase
    database: str
    again: Callable[[], LiveDatabase]
    whole: bool = True

    def name(self, collection: str) -> str:
        return f"{self.database}.{collection}"

    def ids(self, collection: str) -> dict[Any, dict[str, Any]]:
        found = [bson.decode(one) for batch in self.target.documents(self.name(collection)) for one in batch]
        return {one["_id"]: one for one in found}


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    database = f"target_{os.urandom(4).hex()}"
    if request.param == "simulator":
        yield Place(simulated := SimulatedTarget(), database, lambda: simulated)
        return
    if request.param == "stand-in":
        with firehose.running("-store", "-docs=0") as (uri, _):
            server = MongoDatabase(uri)
            yield Place(MongoTarget(server), database, lambda: MongoTarget(MongoDatabase(uri)), whole=False)
            server.client.close()  # while it can still say good-bye
        return
    uri = MONGODB if request.param == "mongodb" else request.getfixturevalue("lab").env["ONLYVIPS_LAB_MONGODB_URI"]
    yield Place(MongoTarget(MongoDatabase(uri)), database, lambda: MongoTarget(MongoDatabase(f"{uri}?appname=x")))
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(database)


def raw(*documents: dict[str, Any]) -> bytes:
    return b"".join(bson.encode(one) for one in documents)


def put(place: Place, collection: str, **document: Any) -> Put:
    whole = {"_id": document.pop("id"), **document}
    return Put(place.name(collection), raw({"_id": whole["_id"]}), raw(whole))


def test_it_says_what_it_is_and_is_the_same_by_another_connection(place: Place):
    if not place.whole:
        pytest.skip("the stand-in is nobody in particular")
    told = place.target.describe()
    assert told["dialect"] and told["version"][0].isdecimal() and told["identity"]
    assert place.again().describe() == told


def test_an_absent_database_has_no_collections_and_no_documents(place: Place):
    assert place.target.collections(place.database) == []
    assert place.ids("nothing") == {}


def test_documents_are_kept_byte_by_byte(place: Place):
    documents = [{"_id": n, "text": "é" * n, "list": [1, {"a": None}], "z": 1, "a": 1.5} for n in range(1, 250)]
    assert place.target.insert(place.name("c"), raw(*documents)) == []
    found = [one for batch in place.target.documents(place.name("c")) for one in batch]
    assert sorted(found) == sorted(bson.encode(one) for one in documents)


def test_more_documents_than_a_server_takes_at_once_are_inserted(place: Place):
    count = 100_001
    assert place.target.insert(place.name("c"), raw(*({"_id": n} for n in range(count)))) == []
    assert sum(len(batch) for batch in place.target.documents(place.name("c"))) == count


def test_more_ids_than_one_filter_holds_are_asked_for(place: Place):
    place.target.insert(place.name("c"), raw({"_id": f"{0:036}"}, {"_id": f"{360_000:036}"}, {"_id": "other"}))
    ids = [raw({"_id": f"{n:036}"}) for n in range(360_001)]
    found = [one for batch in place.target.documents(place.name("c"), ids) for one in batch]
    assert sorted(found) == [raw({"_id": f"{0:036}"}), raw({"_id": f"{360_000:036}"})]


@pytest.mark.lab
def test_an_index_may_take_longer_than_any_other_command():
    database = f"target_{os.urandom(4).hex()}"
    with firehose.running("-store", "-docs=0") as (uri, _):
        relay = Relay(uri, limit=1 << 30)
        target = MongoTarget(MongoDatabase(relay.uri, timeout=0.5))
        target.describe()
        target.apply([Create(f"{database}.c")])
        relay.late = 1.0
        target.apply([Index(f"{database}.c", '{"v": 2, "key": {"n": 1}, "name": "n_1"}')])
        with pytest.raises(Transient, match="went away"):
            list(target.documents(f"{database}.c"))
        relay.close()


def test_what_python_has_no_date_for_is_written_over_found_and_removed(place: Place):
    far = bson.DatetimeMS(1 << 50)
    id, other = raw({"_id": far}), raw({"_id": 1})
    document, changed = raw({"_id": far, "at": far}), raw({"_id": 1, "at": far})
    for _ in range(2):
        place.target.apply([Put(place.name("c"), id, document), Put(place.name("c"), other, changed)])
    assert [one for batch in place.target.documents(place.name("c"), [id]) for one in batch] == [document]
    place.target.apply([Remove(place.name("c"), id)])
    assert [one for batch in place.target.documents(place.name("c")) for one in batch] == [changed]


def test_a_document_whose_id_is_there_is_told_and_not_written_the_others_are(place: Place):
    place.target.insert(place.name("c"), raw({"_id": 2, "first": True}))
    assert place.target.insert(place.name("c"), raw({"_id": 1}, {"_id": 2}, {"_id": 3}, {"_id": 3, "x": 1})) == [1, 3]
    assert place.ids("c") == {1: {"_id": 1}, 2: {"_id": 2, "first": True}, 3: {"_id": 3}}


def test_documents_are_found_by_ids_of_any_kind(place: Place):
    ids: list[Any] = [1, "one", bson.ObjectId(), {"a": 1, "b": "x"}, bson.Int64(5)]
    place.target.insert(place.name("c"), raw(*({"_id": one, "n": n} for n, one in enumerate(ids)), {"_id": "other"}))
    batches = place.target.documents(place.name("c"), [raw({"_id": one}) for one in [*ids, "absent"]])
    assert sorted(bson.decode(one)["n"] for batch in batches for one in batch) == [0, 1, 2, 3, 4]


def test_writes_done_twice_end_the_same(place: Place):
    place.target.insert(place.name("c"), raw({"_id": 1, "old": 1}, {"_id": 2}, {"_id": "keep"}))
    writes = [put(place, "c", id=1, new=1), Remove(place.name("c"), raw({"_id": 2})), put(place, "c", id="x", n=1)]
    for _ in range(2):
        place.target.apply(writes)
        assert place.ids("c") == {1: {"_id": 1, "new": 1}, "keep": {"_id": "keep"}, "x": {"_id": "x", "n": 1}}


def test_collections_are_made_renamed_and_dropped_and_once_more_is_no_error(place: Place):
    old, new = place.name("old"), place.name("new")
    for _ in range(2):
        place.target.apply([Create(old), Create(place.name("other"), raw({}))])
        assert place.target.collections(place.database) == ["old", "other"]
    place.target.apply([put(place, "old", id=1)])
    for _ in range(2):
        place.target.apply([Rename(old, new)])
        assert (place.target.collections(place.database), place.ids("new")) == (["new", "other"], {1: {"_id": 1}})
    for _ in range(2):
        place.target.apply([Drop(new)])
        assert place.target.collections(place.database) == ["other"]


def test_a_collection_takes_the_place_of_another_and_once_more_is_no_error(place: Place):
    old, new = f"{place.database}.shadow", f"{place.database}.real"
    for name, number in ((old, 1), (new, 2)):
        place.target.insert(name, bson.encode({"_id": number}))
    for _ in range(2):
        place.target.apply([Rename(old, new, over=True)])
    assert place.target.collections(place.database) == ["real"]
    assert [bson.decode(one) for batch in place.target.documents(new) for one in batch] == [{"_id": 1}]
    place.target.insert(old, bson.encode({"_id": 3}))
    place.target.apply([Drop(new)])  # as one leaves it who dies between the two steps of a server without dropTarget
    place.target.apply([Rename(old, new, over=True)])
    assert [bson.decode(one) for batch in place.target.documents(new) for one in batch] == [{"_id": 3}]


def test_a_view_is_told_with_its_definition_dropped_and_made_anew(place: Place):
    assert place.target.views(place.database) == {}
    if isinstance(place.target, MongoTarget) and place.target._database.server()["dialect"] == "ferretdb":
        with pytest.raises(Permanent):
            place.target.apply([Create(place.name("v"), '{"viewOn":"c","pipeline":[]}')])
        return
    if not place.whole:
        pytest.skip("the stand-in takes a view for a collection")
    place.target.insert(place.name("c"), raw({"_id": 1}))
    for pipeline in ('[{"$sort":{"b":{"$numberInt":"1"},"a":{"$numberInt":"-1"}}}]', "[]"):
        told = f'{{"viewOn":"c","pipeline":{pipeline}}}'
        for _ in range(2):
            place.target.apply([Create(place.name("v"), told)])
        assert place.target.collections(place.database) == ["c", "v"]
        assert list(found := place.target.views(place.database)) == ["v"]
        assert same_view(found["v"], told) and not same_view(found["v"], told.replace('"c"', '"d"'))
        place.target.apply([Drop(place.name("v"))])
        assert place.target.views(place.database) == {} and place.target.collections(place.database) == ["c"]


def test_an_index_is_built_by_its_specification_in_either_form(place: Place):
    place.target.insert(place.name("c"), raw({"_id": 1, "a": 1}, {"_id": 2, "a": 2}))
    told = '{"v":{"$numberInt":"2"},"key":{"a":{"$numberInt":"1"}},"name":"a_1","unique":true}'
    other = raw({"v": 2, "key": {"b": -1}, "name": "b_-1"})
    for _ in range(2):
        place.target.apply([Index(place.name("c"), told), Index(place.name("c"), other)])
    if isinstance(place.target, MongoTarget) and place.whole:
        found = place.target._database.client[place.database].c.index_information()
        assert set(found) == {"_id_", "a_1", "b_-1"} and found["a_1"]["unique"]
        place.target.insert(place.name("twice"), raw({"_id": 1, "a": 1}, {"_id": 2, "a": 1}))
        with pytest.raises(Permanent, match="cannot be built.*a_1"):
            place.target.apply([Index(place.name("twice"), told)])


def test_a_server_that_is_away_is_an_error_that_may_pass():
    with pytest.raises(Transient):
        MongoTarget(MongoDatabase("mongodb://127.0.0.1:1/", connect_timeout=0.3)).describe()
