"""A base of a real replica set, restored into it by mongorestore beside what is there: documents, options, indexes.

Collected only where ``ONLYVIPS_TEST_MONGODB_URI`` names one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import pyrage
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.oplog_mongodb import MongoOplog
from onlyvips.ports import Namespace
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base
from onlyvips.steps.slices import Known, slice_session
from tests.conftest import Lab
from tests.procedures.test_backup import PLAN
from tests.system.by_hand import restore_by_hand

MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
pytestmark = pytest.mark.lab
SOURCE, TARGET = (f"real_{side}_{os.urandom(4).hex()}" for side in ("source", "target"))
INDEXES: list[dict[str, Any]] = [
    {"key": {"a": 1, "b": -1}, "name": "two", "unique": True, "sparse": True},
    {"key": {"t": "text"}, "name": "words"},
    {"key": {"p": "2dsphere"}, "name": "place"},
    {"key": {"h": "hashed"}, "name": "hash"},
    {"key": {"w.$**": 1}, "name": "wild"},
    {"key": {"d": 1}, "name": "old", "expireAfterSeconds": 1 << 30},
    {"key": {"q": 1}, "name": "part", "partialFilterExpression": {"q": {"$gt": 5}}, "collation": {"locale": "de"}},
]


def fill(database: Any) -> None:
    ids: list[Any] = [*range(3000), *map(str, range(500)), *(bson.ObjectId() for _ in range(500)), float("nan"), None]
    ids += [bson.MinKey(), bson.MaxKey(), bson.Decimal128("NaN"), {"a": 1}, bson.Timestamp(1, 2), b"x", True]
    for at in range(0, len(ids), 1000):
        database.many.insert_many([{"_id": id, "a": n + at} for n, id in enumerate(ids[at : at + 1000])])
    database.command("createIndexes", "many", indexes=INDEXES)
    database.create_collection("capped", capped=True, size=1 << 16).insert_many([{"_id": n} for n in range(9)])
    database.create_collection("collated", collation={"locale": "tr"}).insert_one({"_id": "I"})
    database.create_collection("valid", validator={"x": {"$exists": True}}).insert_one({"_id": 1, "x": 1})
    database.create_collection("empty")
    database.command("create", "view", viewOn="many", pipeline=[{"$match": {"a": 1}}])


def state(database: Any) -> dict[str, Any]:
    """Documents as bytes, options and indexes of every collection."""
    raw: Any = CodecOptions(document_class=RawBSONDocument)
    found = {}
    for entry in database.list_collections():
        name, collection = entry["name"], database[entry["name"]]
        if entry["type"] == "view" or name.startswith("system."):
            found[name] = entry.get("options")
            continue
        documents = sorted(one.raw for one in collection.with_options(raw).find())
        indexes = sorted(repr({**one, "ns": ""}) for one in collection.list_indexes())
        found[name] = documents, entry.get("options"), indexes
    return found


def test_everything_comes_back_to_a_real_replica_set(lab: Lab, tmp_path: Path) -> None:
    uri = MONGODB
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    (tmp_path / "identity").write_text(str(keys[0]))
    with MongoClient[dict[str, Any]](uri) as client:
        try:
            fill(client[SOURCE])
            source, store = MongoDatabase(uri), DirectoryStore("disk", tmp_path / "disk")
            (tmp_path / "disk").mkdir()
            recipients = tuple(str(one.to_public()) for one in keys)
            plan = replace(PLAN, database=SOURCE, split_above=20_000, object_size=40_000, recipients=recipients)
            taken = take(base(source, [store], plan, Run(1, SystemClock(), os.urandom), sampler=source))
            assert len([one for one in taken.manifest.objects if ".many." in one.key]) > 4
            for record in taken.manifest.objects:
                restore(lab, tmp_path / "disk" / taken.manifest.prefix / record.key, tmp_path / "identity", uri)
            assert state(client[TARGET]) == state(client[SOURCE])
        finally:
            client.drop_database(SOURCE)
            client.drop_database(TARGET)


test_everything_comes_back_to_a_real_replica_set.__test__ = bool(MONGODB)  # type: ignore[attr-defined]


class Moving(MongoDatabase):
    """A source in which, while ``keys`` is read, its first document gives its unique key to a new last one."""

    moved = False

    def documents(self, namespace: Namespace, where: Any = None) -> Iterator[bytes]:
        batches = super().documents(namespace, where)
        if namespace.collection == "keys" and not self.moved:
            self.moved = True
            yield next(batches)
            keys = self.client[namespace.database].keys
            keys.update_one({"_id": 0}, {"$set": {"key": "given away"}})
            keys.insert_one({"_id": 10**9, "key": 0})
        yield from batches


def test_a_chain_comes_back_by_the_lines_of_the_runbook_also_where_a_unique_key_moved_meanwhile(
    lab: Lab, tmp_path: Path
) -> None:
    keys = [pyrage.x25519.Identity.generate() for _ in range(2)]
    (tmp_path / "identity").write_text(str(keys[0]))
    (tmp_path / "disk").mkdir()
    store, source = DirectoryStore("disk", tmp_path / "disk"), Moving(MONGODB)
    log = MongoOplog(source, SystemClock())
    plan = replace(PLAN, database=SOURCE, recipients=tuple(str(one.to_public()) for one in keys))
    with MongoClient[dict[str, Any]](MONGODB) as client:
        try:
            fill(database := client[SOURCE])
            database.keys.create_index("key", unique=True)
            database.keys.insert_many([{"_id": n, "key": n, "text": "x" * 1000} for n in range(50_000)])
            taken = take(base(source, [store], plan, Run(1, SystemClock(), os.urandom), oplog=log)).manifest
            with client.start_session() as session, session.start_transaction():
                database.many.insert_one({"_id": "in a transaction"}, session=session)
                database.keys.delete_one({"_id": 7}, session=session)
            database.later.insert_one({"_id": 1})
            known = Known([taken], [])
            sliced = take(
                slice_session(log, known, [store], replace(plan, kind="oplog"), Run(2, SystemClock(), os.urandom))
            )
            expected = state(database)
            client.drop_database(SOURCE)
            done = restore_by_hand(
                lab, tmp_path / "disk", taken, [sliced.manifest], str(tmp_path / "identity"), MONGODB, tmp_path / "work"
            )
            assert done.returncode == 0, done.stderr[-3000:]
            assert state(client[SOURCE]) == expected
        finally:
            client.drop_database(SOURCE)


test_a_chain_comes_back_by_the_lines_of_the_runbook_also_where_a_unique_key_moved_meanwhile.__test__ = bool(MONGODB)  # type: ignore[attr-defined]


def restore(lab: Lab, encrypted: Path, identity: Path, uri: str) -> None:
    script = (
        f"set -o pipefail; '{lab.bin / 'age'}' -d -i '{identity}' '{encrypted}' | '{lab.bin / 'zstd'}' -dc"
        f" | '{lab.bin / 'mongorestore'}' --uri='{uri}' --archive --nsFrom='{SOURCE}.*' --nsTo='{TARGET}.*'"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
