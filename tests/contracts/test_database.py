"""SourceDatabase's contract on a real server: FerretDB of the lab, and a real MongoDB when there is one.

``ONLYVIPS_TEST_MONGODB_URI`` names a replica set of MongoDB itself; without it that half is not collected.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import bson
import fastcrc
import pymongo.uri_parser
import pytest
from pymongo import ASCENDING, DESCENDING, MongoClient

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.archive import Prelude, Reader
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Namespace

pytestmark = pytest.mark.lab
MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
DATABASE = f"contract_{os.urandom(4).hex()}"
DOCUMENTS = [{"_id": n, "email": f"{n % 40}@x.io", "n": n, "text": "é" * 50} for n in range(30_000)]


@pytest.fixture(scope="module", params=["ferretdb", *(["mongodb"] if MONGODB else [])])
def uri(request: pytest.FixtureRequest) -> str:
    return MONGODB if request.param == "mongodb" else request.getfixturevalue("lab").env["ONLYVIPS_LAB_MONGODB_URI"]


@pytest.fixture(scope="module")
def seeded(uri: str) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](uri) as client:
        database = client[DATABASE]
        for at in range(0, len(DOCUMENTS), 5000):
            database.many.insert_many(DOCUMENTS[at : at + 5000])
        database.many.create_index([("n", ASCENDING), ("email", DESCENDING)], name="both")
        database.one.insert_one({"_id": 1})
        database.one.create_index("email", unique=True)
        database.create_collection("empty")
        database.create_collection("capped", capped=True, size=1 << 16)
        database["wéird /$name"[:7]].insert_one({"_id": "x"})
        yield database
        client.drop_database(DATABASE)


def namespace(found: list[Namespace], collection: str) -> Namespace:
    (one,) = [namespace for namespace in found if namespace.collection == collection]
    return one


def in_order(metadata: str) -> list[tuple[str, Any]]:
    """Metadata as pairs, so that the order of keys counts; that of the options does not."""
    pairs = json.loads(metadata, object_pairs_hook=list)
    return [(key, sorted(value) if key == "options" else value) for key, value in pairs]


def test_the_server_says_who_it_is(uri: str):
    server = MongoDatabase(uri).server()
    assert server["dialect"] == ("mongodb" if uri == MONGODB else "ferretdb")
    assert server["version"].split(".")[0].isdecimal()
    assert server["oplog"] == "local.oplog.rs"


def test_every_collection_is_listed_by_name(uri: str, seeded: Any):
    found = MongoDatabase(uri).namespaces(DATABASE)
    assert [one.collection for one in found] == sorted(["many", "one", "empty", "capped", "wéird /"])
    assert {one.type for one in found} == {"collection"}


def test_metadata_is_what_mongodump_writes(uri: str, seeded: Any, lab: Any, tmp_path_factory: pytest.TempPathFactory):
    """Key by key in mongodump's own order, as the prelude of its archive has it.

    Only the options stand in any order there: mongodump writes them from a map, otherwise each time.
    """
    archive = tmp_path_factory.mktemp("dump") / "archive"
    command = [lab.bin / "mongodump", f"--uri={uri.rstrip('/')}/{DATABASE}", f"--archive={archive}"]
    subprocess.run(command, check=True, capture_output=True)
    reader = Reader(fastcrc.crc64.xz)
    events = reader.feed(archive.read_bytes())
    reader.finish()
    assert isinstance(events[0], Prelude)
    theirs = {entry.collection: (in_order(entry.metadata), entry.type) for entry in events[0].entries}
    ours = MongoDatabase(uri).namespaces(DATABASE)
    assert {one.collection: (in_order(one.metadata), one.type) for one in ours} == theirs


def test_metadata_has_options_and_indexes_in_mongodumps_order(uri: str, seeded: Any):
    found = MongoDatabase(uri).namespaces(DATABASE)
    capped = json.loads(namespace(found, "capped").metadata)
    assert list(capped) == ["options", "indexes", "uuid", "collectionName", "type"]
    assert capped["options"]["capped"] is True
    (_, both) = json.loads(namespace(found, "many").metadata)["indexes"]
    assert list(both["key"].items()) == [("n", {"$numberInt": "1"}), ("email", {"$numberInt": "-1"})]
    assert "options" not in json.loads(namespace(found, "many").metadata)


def test_documents_are_whole_raw_and_all_there(uri: str, seeded: Any):
    source = MongoDatabase(uri)
    batches = list(source.documents(namespace(source.namespaces(DATABASE), "many")))
    assert len(batches) > 1
    decoded = [document for batch in batches for document in bson.decode_all(batch)]
    assert sorted(decoded, key=lambda document: document["_id"]) == DOCUMENTS
    assert b"".join(batches) == b"".join(map(bson.encode, decoded))


@pytest.mark.parametrize("collection", ["empty", "capped"])
def test_an_empty_collection_has_no_documents(uri: str, seeded: Any, collection: str):
    source = MongoDatabase(uri)
    assert b"".join(source.documents(namespace(source.namespaces(DATABASE), collection))) == b""


def test_a_database_that_is_not_there_is_an_error_and_never_an_empty_backup(uri: str):
    with pytest.raises(Permanent, match="no_such_database has no collection"):
        MongoDatabase(uri).namespaces("no_such_database")


def test_a_server_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match="see that it runs"):
        MongoDatabase("mongodb://127.0.0.1:1/", connect_timeout=0.3).server()


@pytest.mark.parametrize("uri", ["mongodb://u:geheim:x@h/", "http://geheim", "mongodb://u:geheim@h:port/"])
def test_a_uri_that_cannot_be_read_is_not_shown(uri: str):
    with pytest.raises(Permanent, match="URI cannot be understood") as raised:
        MongoDatabase(uri)
    assert "geheim" not in str(raised.value)
    assert raised.value.__cause__ is None


class Relay:
    """A wire to the server that can be cut; what the server sends after ``limit`` bytes never arrives, and the
    rest ``late`` by so many seconds."""

    def __init__(self, uri: str, limit: int) -> None:
        self._server = pymongo.uri_parser.parse_uri(uri)["nodelist"][0]
        self._left = limit
        self.late = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/?directConnection=true"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, limited: bool) -> None:
        with source, target, suppress(OSError):
            while data := source.recv(65536):
                self._left -= len(data) if limited else 0
                if self._left < 0:
                    self.close()
                    target.shutdown(socket.SHUT_RDWR)
                    return
                if limited:
                    time.sleep(self.late)
                target.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_a_connection_that_breaks_while_read_is_an_error_and_never_a_short_backup(uri: str, seeded: Any):
    many = namespace(MongoDatabase(uri).namespaces(DATABASE), "many")
    relay = Relay(uri, limit=2_000_000)
    passed = []
    with pytest.raises(Transient, match=f"went away while we wanted to read {DATABASE}.many"):
        passed.extend(MongoDatabase(relay.uri, connect_timeout=0.5).documents(many))
    assert passed, "it broke after the first batch"
    relay.close()


# --- duplicates


def duplicates(uri: str, documents: list[dict[str, Any]], *keys: str, limit: int = 10) -> list[str]:
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client[DATABASE][f"d{os.urandom(4).hex()}"]
        collection.insert_many(documents)
        try:
            return sorted(MongoDatabase(uri).duplicates(DATABASE, collection.name, keys, limit))
        finally:
            collection.drop()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], []),
        ([1, 2, 2, 2], ['{"a": 2}']),
        ([1, 1.0], ['{"a": 1}']),
        (["1", 1], []),
        ([True, 1], []),
        ([["x", "y"], ["y", "z"]], ['{"a": "y"}']),
        ([["x", "x"], ["y"]], []),
        ([2**40, 2**40], ['{"a": 1099511627776}']),
    ],
)
def test_values_that_would_break_a_unique_index_are_found(uri: str, values: list[Any], expected: list[str]):
    assert duplicates(uri, [{"a": value} for value in values], "a") == expected


def test_missing_counts_as_null_and_keys_count_together(uri: str):
    assert duplicates(uri, [{"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": 2}], "a", "b") == ['{"a": 1, "b": null}']


def test_a_field_inside_a_document_is_a_key_too(uri: str):
    assert duplicates(uri, [{"a": {"b": 1, "c": 1}}, {"a": {"b": 1, "c": 2}}], "a.b") == ['{"a.b": 1}']


def test_no_more_duplicates_than_asked_for(uri: str, seeded: Any):
    source = MongoDatabase(uri)
    assert len(source.duplicates(DATABASE, "many", ["email"], 3)) == 3
    assert source.duplicates(DATABASE, "many", ["email", "n"], 3) == []
