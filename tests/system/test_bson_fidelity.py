"""Every BSON type, every kind of ``_id``, byte for byte, both ways with MongoDB's own tools.

FerretDB cannot hold most of this, so the servers are stand-ins that serve given BSON and keep what they get.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import fastcrc
import pyrage
import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.core.archive import Closed, Documents, Event, Prelude, Reader
from onlyvips.errors import Permanent, Transient
from onlyvips.steps.backup import Run, Taken, take
from onlyvips.steps.base import base
from onlyvips.steps.opened import open_object
from tests import firehose
from tests.conftest import Lab
from tests.every_bson import COLLECTIONS
from tests.mongo_tools import restored
from tests.procedures.test_backup import PLAN
from tests.simulators.queries import decoded

pytestmark = pytest.mark.lab
IDENTITY = pyrage.x25519.Identity.generate()
OTHER = pyrage.x25519.Identity.generate()
DATABASE = "bench"
ENTRIES: dict[str, dict[str, Any]] = {
    "empty": {
        "options": {"capped": True, "size": 4096, "max": bson.Int64(7)},
        "info": {"readOnly": False, "uuid": bson.Binary(bytes(range(16)), 4)},
    },
    "every type": {
        "options": {
            "validator": {"$jsonSchema": {"properties": {"double": {"minimum": 1.0}}}},
            "collation": {"locale": "tr", "strength": 2},
            "changeStreamPreAndPostImages": {"enabled": True},
        },
        "indexes": [
            {"v": 2, "key": {"_id": 1}, "name": "_id_"},
            {"v": 2, "key": {"a": 1.0, "b": bson.Int64(-1)}, "name": "two", "unique": True, "sparse": True},
            {"v": 2, "key": {"_fts": "text", "_ftsx": 1}, "name": "words", "weights": {"t": 1}, "textIndexVersion": 3},
            {"v": 2, "key": {"p": "2dsphere"}, "name": "place", "2dsphereIndexVersion": 3},
            {"v": 2, "key": {"h": "hashed"}, "name": "hash"},
            {"v": 2, "key": {"$**": 1}, "name": "all", "wildcardProjection": {"x": 0}},
            {"v": 2, "key": {"d": 1}, "name": "old", "expireAfterSeconds": 3600, "hidden": True},
            {
                "v": 2,
                "key": {"q": -1},
                "name": "part",
                "partialFilterExpression": {"q": {"$gt": bson.DatetimeMS(2**60)}},
                "collation": {"locale": "de"},
            },
        ],
    },
}
VIEW = {"type": "view", "options": {"viewOn": "ids", "pipeline": [{"$match": {"is": {"$exists": True}}}]}}


@pytest.fixture(scope="module")
def source(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with all of it."""
    folder = tmp_path_factory.mktemp("given")
    for name, documents in COLLECTIONS.items():
        firehose.put(folder, name, documents, **ENTRIES.get(name, {}))
    firehose.put(folder, "a view", [], **VIEW)
    with firehose.running(f"-folder={folder}") as (uri, _):
        yield uri


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def store(folder: Path) -> DirectoryStore:
    return DirectoryStore("disk", folder)


@pytest.fixture(scope="module")
def taken(source: str, store: DirectoryStore) -> Taken:
    """A base of it; the collection of ids is split."""
    recipients = (str(IDENTITY.to_public()), str(OTHER.to_public()))
    plan = replace(PLAN, database=DATABASE, recipients=recipients, split_above=20_000, object_size=20_000)
    database = MongoDatabase(source)
    return take(base(database, [store], plan, Run(1, SystemClock(), os.urandom), sampler=database))


def objects(taken: Taken, collection: str) -> list[str]:
    return [one.key for one in taken.manifest.objects if one.namespaces[0].collection == collection]


def test_what_was_taken_opens_and_is_as_the_manifest_says(taken: Taken, store: DirectoryStore) -> None:
    for record in taken.manifest.objects:
        assert open_object(store.read(taken.manifest.prefix + record.key), record, [IDENTITY]) == ""
    ids = objects(taken, "ids")
    assert len(ids) > 3 and "ids.rest" in ids[-1]
    assert len(objects(taken, "empty")) == len(objects(taken, "a view")) == 1


def test_mongorestore_brings_every_byte_back(lab: Lab, taken: Taken, folder: Path, tmp_path: Path) -> None:
    """One object after the other, as the runbook says; several are of one collection."""
    into = tmp_path / "kept"
    into.mkdir()
    (tmp_path / "identity").write_text(str(IDENTITY))
    with firehose.running(f"-keep={into}") as (uri, _):
        for record in taken.manifest.objects:
            told = restored(lab, folder / taken.manifest.prefix / record.key, tmp_path / "identity", uri)
            assert "0 document(s) failed to restore" in told or "failed" not in told, told[-3000:]
    found = firehose.kept(into)
    for name, documents in COLLECTIONS.items():
        there = found.get(f"{DATABASE}.{name}", [])
        assert Counter(there) == Counter(documents), f"{name}: {len(there)} of {len(documents)} documents"
    created = firehose.kept(into, ".create.bson")
    assert {f"{DATABASE}.{name}" for name in (*COLLECTIONS, "a view")} <= set(created)
    capped, view = (bson.decode(created[f"{DATABASE}.{name}"][0]) for name in ("empty", "a view"))
    assert capped["capped"] is True and view["viewOn"] == "ids"
    made = [decoded(one) for one in firehose.kept(into, ".indexes.bson")[f"{DATABASE}.every type"]]
    asked = {one["name"]: list(one["key"].items()) for one in ENTRIES["every type"]["indexes"][1:]}
    assert {one["name"]: list(one["key"].items()) for one in made} == asked


def dumped(lab: Lab, source: str, path: Path) -> list[Event]:
    """mongodump's own archive, through our reader, in odd portions."""
    command = [lab.bin / "mongodump", f"--uri={source}{DATABASE}", f"--archive={path}"]
    subprocess.run(command, check=True, capture_output=True)
    reader, events = Reader(fastcrc.crc64.xz), list[Event]()
    with path.open("rb") as file:
        while portion := file.read(1_234_567):
            events += reader.feed(portion)
    reader.finish()
    return events


def test_mongodumps_archive_is_read_and_says_the_same(lab: Lab, source: str, taken: Taken, tmp_path: Path) -> None:
    events = dumped(lab, source, tmp_path / "archive")
    for name, documents in COLLECTIONS.items():
        data = b"".join(one.data for one in events if isinstance(one, Documents) and one.collection == name)
        assert firehose.whole(data) == documents, name
    closed = {one.collection: (one.count, one.size) for one in events if isinstance(one, Closed)}
    mine: dict[str, tuple[int, int]] = {}
    for one in (namespace for record in taken.manifest.objects for namespace in record.namespaces):
        count, size = mine.get(one.collection, (0, 0))
        mine[one.collection] = count + one.documents, size + one.bytes
    assert closed == mine
    head = events[0]
    assert isinstance(head, Prelude)
    theirs = {one.collection: (one.type, parsed(one.metadata)) for one in head.entries}
    ours = {one.collection: (one.type, parsed(one.metadata)) for one in MongoDatabase(source).namespaces(DATABASE)}
    assert ours == theirs


def parsed(metadata: str) -> list[tuple[str, Any]]:
    """Metadata as pairs, so that the order of keys counts; mongodump writes options, at any depth, in any order."""
    pairs = json.loads(metadata, object_pairs_hook=list)
    return [(key, unordered(value) if key == "options" else value) for key, value in pairs]


def unordered(value: Any) -> Any:
    """Lists of pairs, and what is in them, in one order whatever it was."""
    if isinstance(value, list):
        return sorted((unordered(one) for one in value), key=repr)
    return (value[0], unordered(value[1])) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("name", "entry", "what"),
    [
        ("series", {"type": "timeseries", "options": {"timeseries": {"timeField": "t"}}}, "series is a time series"),
        ("system.buckets.series", {}, "series is a time series"),
        ("system.sessions", {}, "system.sessions is a collection of the server's own"),
        ("odd", {"type": "mystery"}, "odd is a mystery"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(
    lab: Lab, tmp_path: Path, name: str, entry: dict[str, Any], what: str
) -> None:
    firehose.put(tmp_path, name, [], **entry)
    with (
        firehose.running(f"-folder={tmp_path}") as (uri, _),
        pytest.raises(Permanent, match=rf"{DATABASE}\.{what}.*cannot keep yet"),
    ):
        MongoDatabase(uri).namespaces(DATABASE)


def test_a_source_that_dies_in_the_middle_of_a_range_leaves_no_backup(lab: Lab, tmp_path: Path) -> None:
    given, place = tmp_path / "given", tmp_path / "disk"
    given.mkdir()
    firehose.put(given, "ids", COLLECTIONS["large"][:1] * 4)
    with firehose.running(f"-folder={given}") as (uri, process):
        database = MongoDatabase(uri, connect_timeout=0.5)
        (namespace,) = database.namespaces(DATABASE)
        batches = database.documents(namespace)
        next(batches)
        process.kill()
        process.wait()
        with pytest.raises(Transient, match=r"went away while we wanted to read bench\.ids"):
            list(batches)
    assert not place.exists()
