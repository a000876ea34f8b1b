"""What cutting a collection needs of a real server, and that a base is read from one member alone.

FerretDB of the lab, a real MongoDB where there is one, and stand-ins of a replica set's members.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import bson
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.member_mongodb import at_member, identity
from onlyvips.core.ranges import cut, matching, rest
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Namespace
from tests import firehose

pytestmark = pytest.mark.lab
MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
DATABASE = f"split_{os.urandom(4).hex()}"
MILLISECONDS: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
IDS: list[Any] = [
    *range(2000),
    *(n + 0.5 for n in range(200)),
    *(bson.Int64(2**60 + n) for n in range(50)),
    *(f"t{n}" for n in range(500)),
    *(bson.ObjectId(n.to_bytes(12, "big")) for n in range(500)),
    bson.DatetimeMS(1_700_000_000_000),
    bson.Timestamp(1, 2),
    True,
    b"abc",
    {"a": 1},
]


@pytest.fixture(scope="module", params=["ferretdb", *(["mongodb"] if MONGODB else [])])
def uri(request: pytest.FixtureRequest) -> str:
    return MONGODB if request.param == "mongodb" else request.getfixturevalue("lab").env["ONLYVIPS_LAB_MONGODB_URI"]


@pytest.fixture(scope="module")
def source(uri: str) -> Iterator[MongoDatabase]:
    with MongoClient[dict[str, Any]](uri) as client:
        for at in range(0, len(IDS), 1000):
            client[DATABASE].mixed.insert_many([{"_id": id, "p": "x" * 40} for id in IDS[at : at + 1000]])
        client[DATABASE].create_collection("empty")
        yield MongoDatabase(uri)
        client.drop_database(DATABASE)


def namespace(source: MongoDatabase, name: str) -> Namespace:
    return next(one for one in source.namespaces(DATABASE) if one.collection == name)


def ids(source: MongoDatabase, name: str, where: bytes) -> list[str]:
    batches = source.documents(namespace(source, name), where)
    return [repr(one["_id"]) for batch in batches for one in bson.decode_all(batch, MILLISECONDS)]


def test_ranges_and_the_rest_are_all_documents_and_none_twice(source: MongoDatabase):
    ranges = cut(source.sample(namespace(source, "mixed"), 1000), 6)
    assert len(ranges) >= 6
    found = [ids(source, "mixed", where) for where in [*map(matching, ranges), rest(ranges)]]
    assert sorted(id for each in found for id in each) == sorted(repr(id) for id in IDS)
    assert len(found[-1]) >= 3, "the rest has what no range matches"


def test_the_size_is_that_of_the_documents_about(source: MongoDatabase):
    """FerretDB counts its own pages, so a factor of some either way is all that holds."""
    size = sum(len(bson.encode({"_id": id, "p": "x" * 40})) for id in IDS)
    assert size / 4 < source.size(namespace(source, "mixed")) < size * 8
    assert source.size(namespace(source, "empty")) <= 1 << 16


def test_samples_are_few_and_spread_and_of_nothing_there_are_none(source: MongoDatabase):
    found = source.sample(namespace(source, "mixed"), 50)
    assert 10 < len(found) <= 50
    assert len({one.id.type for one in found}) > 1
    assert source.sample(namespace(source, "empty"), 50) == []


# --- one member


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class Members:
    """Two members of a replica set, each with its own data, so that it shows who was asked."""

    def __init__(self, stack: ExitStack) -> None:
        self.ports = free_ports(2)
        self.names = [f"127.0.0.1:{port}" for port in self.ports]
        self.uri = f"mongodb://{','.join(self.names)}/?replicaSet=rs"
        self._stack = stack
        self.processes = [self.start(number) for number in range(2)]

    def start(self, number: int) -> Any:
        flags = ("-set=rs", f"-hosts={','.join(self.names)}", f"-primary={self.names[0]}", "-collections=1")
        sized = (f"-docs={(number + 1) * 1000}", "-size=4000")
        return self._stack.enter_context(firehose.running(*flags, *sized, port=self.ports[number]))[1]

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()


@pytest.fixture
def members(lab: Any) -> Iterator[Members]:
    with ExitStack() as stack:
        yield Members(stack)


def count(source: MongoDatabase) -> int:
    (one,) = source.namespaces("bench")
    return sum(len(bson.decode_all(batch)) for batch in source.documents(one))


def test_the_primary_is_read_unless_the_uri_prefers_another(members: Members):
    assert count(MongoDatabase(members.uri)) == 1000
    secondary = MongoDatabase(f"{members.uri}&readPreference=secondary")
    assert count(secondary) == 2000
    assert secondary.server()["member"].startswith(members.names[1])
    assert secondary.server()["oplog"] == "local.oplog.rs"


def test_what_writes_goes_to_the_primary_whatever_the_uri_prefers(members: Members):
    target = MongoDatabase(f"{members.uri}&readPreference=secondary", writes=True)
    assert target.server()["member"].startswith(members.names[0])
    with pytest.raises(Permanent, match="is not the primary of its replica set"):
        MongoDatabase(f"mongodb://{members.names[1]}/?directConnection=true", writes=True).server()


def test_an_earlier_attempts_member_is_read_again_while_it_answers(members: Members):
    assert count(MongoDatabase(members.uri, member=f"{members.names[1]}#abc")) == 2000
    members.kill(1)
    assert count(MongoDatabase(members.uri, member=members.names[1], connect_timeout=1.0)) == 1000
    assert count(MongoDatabase(members.uri, member="127.0.0.1:1")) == 1000


def test_a_member_that_goes_is_never_replaced_by_another_in_mid_read(members: Members):
    source = MongoDatabase(f"{members.uri}&readPreference=secondary", connect_timeout=0.5)
    (one,) = source.namespaces("bench")
    batches = source.documents(one)
    assert next(batches)
    members.kill(1)
    with pytest.raises(Transient, match="went away"):
        list(batches)
    with pytest.raises(Transient, match="went away"):
        next(source.documents(one))


def test_a_member_that_was_restarted_is_another_one(members: Members):
    source = MongoDatabase(members.uri, connect_timeout=2.0)
    (one,) = source.namespaces("bench")
    assert list(source.documents(one))
    members.kill(0)
    members.start(0)
    with pytest.raises(Transient, match="restarted or replaced.*take the backup again"):
        list(source.documents(one))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://a,b/", "mongodb://h:1/"),
        ("mongodb://u:p%40@a:1,b:2/db?replicaSet=rs&tls=true", "mongodb://u:p%40@h:1/db?tls=true"),
        ("mongodb://a/?readPreference=secondary&authSource=x&directConnection=false", "mongodb://h:1/?authSource=x"),
    ],
)
def test_a_members_uri_keeps_all_but_the_set(uri: str, expected: str):
    assert at_member(uri, "h:1") == expected


def test_a_server_that_tells_nothing_of_itself_has_no_name():
    assert identity({}) == ""
    assert identity({"me": "h:1"}) == "h:1#"
