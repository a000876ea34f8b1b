"""TargetDatabase on MongoDB and on FerretDB: raw BSON in and out, acknowledged by a majority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo import DeleteOne, ReplaceOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.write_concern import WriteConcern

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.changes import Create, Drop, Index, Put, Remove, Rename, Write
from onlyvips.errors import Permanent

_RAW: Any = CodecOptions(document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS)
_JSON = json_util.CANONICAL_JSON_OPTIONS.with_options(document_class=SON)
_DUPLICATE, _NO_SUCH, _THERE = 11000, 26, 48
_DONE_ALREADY = {(_THERE, Create), (_NO_SUCH, Drop), (_NO_SUCH, Rename)}
_NOT_UNIQUE = "UNIQUE constraint failed"
"""What FerretDB's SQLite says."""
_BATCH = 1000


class _Whole(RawBSONDocument):
    """pymongo asks of what replaces a document whether it is empty. To answer, its own class decodes all of it, which
    takes its time, and fails for dates that Python has not."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class MongoTarget:
    """One server, over the connection of a ``MongoDatabase``.

    FerretDB finds a document by its ``_id`` only by reading all of a collection, so there documents of a batch are
    removed together and inserted anew.
    """

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database

    def describe(self) -> Mapping[str, str]:
        server = self._database.server()
        with self._database.explained("ask for its identity"):
            admin = self._database.client.admin
            if self._ferretdb:
                status = admin.command("serverStatus")
                identity = f"{status['host']} {status['pid']}"
            else:
                identity = str(admin.command("hello")["topologyVersion"]["processId"])
            sizes = admin.command("dbStats")
        told = {"dialect": server["dialect"], "version": server["version"], "identity": identity}
        if "fsTotalSize" in sizes and "fsUsedSize" in sizes:
            told["free"] = str(int(sizes["fsTotalSize"]) - int(sizes["fsUsedSize"]))
        return told

    def collections(self, database: str) -> list[str]:
        with self._database.explained(f"list the collections of {database}"):
            found = self._database.client[database].list_collection_names()
        return sorted(name for name in found if name == "system.js" or not name.startswith("system."))

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        options = {} if self._ferretdb else {"bypass_document_validation": True}
        try:
            with self._database.explained(f"insert into {namespace}"):
                self._of(namespace).insert_many(list(_each(documents)), ordered=False, **options)
        except Permanent as error:
            failed = error.__cause__
            errors = failed.details["writeErrors"] if isinstance(failed, BulkWriteError) else []
            if not errors or any(one["code"] != _DUPLICATE for one in errors):
                raise
            return sorted(int(one["index"]) for one in errors)
        return []

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[bytes]:
        asked = {} if ids is None else {"_id": {"$in": _values(ids)}}
        with (
            self._database.explained(f"read {namespace}"),
            self._of(namespace).find_raw_batches(asked, batch_size=_BATCH) as cursor,
        ):
            yield from cursor

    def apply(self, writes: Sequence[Write]) -> None:
        for namespace, group in groupby(writes, lambda one: one.namespace if isinstance(one, Put | Remove) else ""):
            if namespace:
                with self._database.explained(f"write to {namespace}"):
                    self._documents(namespace, list(group))
                continue
            for one in group:
                with self._database.explained(f"{type(one).__name__.lower()} {one.namespace}"):
                    self._one(one)

    # --- how

    @property
    def _ferretdb(self) -> bool:
        return self._database.server()["dialect"] == "ferretdb"

    def _of(self, namespace: str) -> Any:
        database, _, collection = namespace.partition(".")
        concern: Any = WriteConcern("majority")
        return self._database.client[database].get_collection(collection, _RAW, write_concern=concern)

    def _documents(self, namespace: str, writes: Sequence[Any]) -> None:
        collection = self._of(namespace)
        if self._ferretdb:
            collection.delete_many({"_id": {"$in": _values([one.id for one in writes])}})
            if puts := [RawBSONDocument(one.document) for one in writes if isinstance(one, Put)]:
                collection.insert_many(puts)
            return
        asked: list[Any] = [
            ReplaceOne(RawBSONDocument(one.id), _Whole(one.document), upsert=True)
            if isinstance(one, Put)
            else DeleteOne(RawBSONDocument(one.id))
            for one in writes
        ]
        collection.bulk_write(asked, ordered=False, bypass_document_validation=True)

    def _rename(self, write: Rename) -> None:
        told: SON[str, Any] = SON([("renameCollection", write.namespace), ("to", write.to)])
        client = self._database.client
        if write.over and self._ferretdb:  # it knows no dropTarget: two steps, and whoever dies between does the second
            database, _, collection = write.namespace.partition(".")
            if collection not in client[database].list_collection_names():
                return
            to, _, over = write.to.partition(".")
            client[to].drop_collection(over)
        elif write.over:
            told["dropTarget"] = True
        client.admin.command(told)

    def _one(self, write: Write) -> None:
        database, _, collection = write.namespace.partition(".")
        client = self._database.client
        try:
            if isinstance(write, Create):
                client[database].command(SON([("create", collection), *_document(write.options).items()]))
            elif isinstance(write, Drop):
                client[database].command("drop", collection)
            elif isinstance(write, Rename):
                self._rename(write)
            elif isinstance(write, Index):
                left_out = ("ns", "v") if self._ferretdb else ("ns",)
                spec = SON((name, value) for name, value in _document(write.spec).items() if name not in left_out)
                client[database].command(SON([("createIndexes", collection), ("indexes", [spec])]))
        except OperationFailure as error:
            if isinstance(write, Index) and (error.code == _DUPLICATE or _NOT_UNIQUE in str(error)):
                raise Permanent(
                    f"A unique index of {write.namespace} cannot be built, for documents there break it "
                    f"({_document(write.spec).get('name')}): everything else is restored; look at them, then run the "
                    "restore again."
                ) from error
            if (error.code, type(write)) not in _DONE_ALREADY:
                raise


def _each(documents: bytes) -> Iterator[RawBSONDocument]:
    at = 0
    while at < len(documents):
        end = at + int.from_bytes(documents[at : at + 4], "little")
        yield RawBSONDocument(documents[at:end])
        at = end


def _values(ids: Sequence[bytes]) -> list[Any]:
    return [RawBSONDocument(one, _RAW)["_id"] for one in ids]


def _document(told: bytes | str) -> Any:
    if isinstance(told, bytes):
        return bson.decode(told, CodecOptions(document_class=SON))
    return json_util.loads(told, json_options=_JSON)
