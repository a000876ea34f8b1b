"""TargetDatabase on MongoDB and on FerretDB: raw BSON in and out, acknowledged by a majority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo.errors import OperationFailure

from onlyvips.adapters import raw_mongodb
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.changes import Create, Drop, Index, Put, Remove, Rename, Write
from onlyvips.errors import Permanent

_JSON = json_util.CANONICAL_JSON_OPTIONS.with_options(document_class=SON)
_DUPLICATE, _NO_SUCH, _THERE = 11000, 26, 48
_DONE_ALREADY = {(_THERE, Create), (_NO_SUCH, Drop), (_NO_SUCH, Rename)}
_NOT_UNIQUE = "UNIQUE constraint failed"
"""What FerretDB's SQLite says."""


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

    def views(self, database: str) -> Mapping[str, str]:
        with self._database.explained(f"list the views of {database}"):
            found = [one for one in self._database.client[database].list_collections() if one.get("type") == "view"]
        return {str(one["name"]): json_util.dumps(one["options"], json_options=_JSON) for one in found}

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        options: dict[str, Any] = {} if self._ferretdb else {"bypassDocumentValidation": True}
        with self._database.explained(f"insert into {namespace}"):
            failed = raw_mongodb.insert(*self._of(namespace), documents, **options)
            for _, code, words in failed:
                if code != _DUPLICATE:
                    raise OperationFailure(words, code)
        return [place for place, _, _ in failed]

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[Sequence[bytes]]:
        database, collection = self._of(namespace)
        with self._database.explained(f"read {namespace}"):
            if ids is None:
                yield from raw_mongodb.find(database, SON([("find", collection), ("filter", {})]))
                return
            for some in raw_mongodb.portions(ids):
                asked = SON([("find", collection), ("filter", RawBSONDocument(raw_mongodb.ids(some)))])
                yield from raw_mongodb.find(database, asked, len(some) + 1)  # one answer has all

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

    def _of(self, namespace: str) -> tuple[Any, str]:
        database, _, collection = namespace.partition(".")
        return self._database.client[database], collection

    def _documents(self, namespace: str, writes: Sequence[Any]) -> None:
        where, puts = self._of(namespace), [one for one in writes if isinstance(one, Put)]
        if self._ferretdb:
            those = raw_mongodb.portions([one.id for one in writes])
            raw_mongodb.delete(*where, map(raw_mongodb.ids, those), limit=0)
            self._inserted(namespace, b"".join(one.document for one in puts))
            return
        # What goes goes first: to the server 1 and 1.0 are one _id, and a document may have come in another's place.
        raw_mongodb.delete(*where, (one.id for one in writes if not isinstance(one, Put)))
        raw_mongodb.replace(*where, ((one.id, one.document) for one in puts), bypassDocumentValidation=True)

    def _inserted(self, namespace: str, documents: bytes) -> None:
        if documents and (there := self.insert(namespace, documents)):
            raise OperationFailure(f"{len(there)} documents are there that were removed", _DUPLICATE)

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
                patient = self._database.patient.client
                patient[database].command(SON([("createIndexes", collection), ("indexes", [spec])]))
        except OperationFailure as error:
            if isinstance(write, Index) and (error.code == _DUPLICATE or _NOT_UNIQUE in str(error)):
                raise Permanent(
                    f"A unique index of {write.namespace} cannot be built, for documents there break it "
                    f"({_document(write.spec).get('name')}): everything else is restored; look at them, then run the "
                    "restore again."
                ) from error
            if (error.code, type(write)) not in _DONE_ALREADY:
                raise


def _document(told: bytes | str) -> Any:
    if isinstance(told, bytes):
        return bson.decode(told, CodecOptions(document_class=SON))
    return json_util.loads(told, json_options=_JSON)
