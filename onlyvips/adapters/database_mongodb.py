"""SourceDatabase on MongoDB and what speaks its protocol, by pymongo; documents pass as the server sent them."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.son import SON
from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern

from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Namespace

_PASSED_BY = frozenset({"system.profile", "system.views", "system.indexes"})
"""Kept by the server itself: mongodump leaves them out too."""
_KEPT = frozenset({"collection", "view"})
_BATCH = 10_000
"""Documents asked for at a time: FerretDB sends 250 when not told; a reply stays below 16 MiB in any case."""
_DENIED = frozenset({13, 18})
_TOLD = frozenset({11600, 91, 189, 10107, 13435, 13436, 175, 43})
"""Codes of a server that shuts down, changes its primary or lost the cursor."""

Document = Mapping[str, Any]


class MongoDatabase:
    """One server, by its URI. Nothing is retried; every call has a timeout."""

    def __init__(self, uri: str, *, connect_timeout: float = 5.0, timeout: float = 60.0) -> None:
        try:
            self._client: Any = MongoClient(
                uri,
                document_class=SON,
                appname="onlyvips",
                retryReads=False,
                retryWrites=False,
                connectTimeoutMS=int(connect_timeout * 1000),
                serverSelectionTimeoutMS=int(connect_timeout * 1000),
                socketTimeoutMS=int(timeout * 1000),
            )
        except (InvalidURI, ConfigurationError, ValueError) as error:
            # Without its cause: that may quote the URI, and the URI holds a password.
            if uri.startswith("mongodb+srv://") and not isinstance(error, InvalidURI):
                raise Transient(
                    "The servers of the database's mongodb+srv address could not be looked up: see that DNS answers "
                    "here, and that the name is right."
                ) from None
            raise Permanent("The database's URI cannot be understood: correct what its reference points to.") from None
        weakref.finalize(self, _close, self._client)
        self._server: dict[str, str] = {}

    def server(self) -> Mapping[str, str]:
        if not self._server:
            with self._explained("ask who it is"):
                build = self._client.admin.command("buildInfo")
                hello = self._client.admin.command("hello")
            if hello.get("msg") == "isdbgrid":
                raise Permanent(
                    "This is a mongos: a base through it is no single point in time; give a shard's own URI."
                )
            self._server = {
                "version": str(build["version"]),
                "dialect": "ferretdb" if "ferretdbVersion" in build else "mongodb",
                "oplog": "local.oplog.rs" if "setName" in hello or self._logs(build) else "none",
            }
        return self._server

    def namespaces(self, database: str) -> list[Namespace]:
        with self._explained(f"list the collections of {database}"):
            listed = sorted(self._client[database].list_collections(), key=lambda entry: str(entry["name"]))
            if not listed:
                raise Permanent(f"Database {database} has no collection: correct its name, or where the URI points.")
            return [self._namespace(database, entry) for entry in listed if entry["name"] not in _PASSED_BY]

    def documents(self, namespace: Namespace) -> Iterator[bytes]:
        if namespace.type == "view":
            return
        collection = self._client[namespace.database][namespace.collection]
        options: dict[str, Any] = {"batch_size": _BATCH}
        if self.server()["dialect"] == "mongodb":
            collection = collection.with_options(read_concern=ReadConcern("majority"))
            options["hint"] = [("$natural", 1)]
        action = f"read {namespace.database}.{namespace.collection}"
        with self._explained(action), collection.find_raw_batches({}, **options) as cursor:
            yield from cursor

    def duplicates(self, database: str, collection: str, keys: Sequence[str], limit: int) -> list[str]:
        fields = {"_id": 0, **{key: 1 for key in keys}}
        codec = CodecOptions(document_class=SON, datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_MS)
        seen: set[bytes] = set()
        found: dict[bytes, str] = {}
        action, source = f"look for duplicates in {database}.{collection}", self._client[database][collection]
        with self._explained(action), source.find_raw_batches({}, fields, batch_size=_BATCH) as cursor:
            for batch in cursor:
                for document in bson.decode_all(batch, codec):
                    _count(_entries(document, keys), keys, seen, found)
                if len(found) >= limit:
                    break
        return list(found.values())[:limit]

    def _namespace(self, database: str, entry: Document) -> Namespace:
        name, kind = str(entry["name"]), str(entry.get("type", "collection"))
        if kind not in _KEPT or (name.startswith("system.") and name != "system.js"):
            series = name.startswith("system.buckets.")
            what = "a time series" if kind == "timeseries" or series else f"a {kind} of the server's own"
            raise Permanent(
                f"{database}.{name.removeprefix('system.buckets.')} is {what}, which this backup cannot keep yet: move "
                "it to a database of its own."
            )
        indexes = [] if kind == "view" else list(self._client[database][name].list_indexes())
        return Namespace(database, name, kind, _metadata(entry, kind, indexes))

    def _logs(self, build: Document) -> bool:
        """FerretDB is no replica set; it logs once it has a capped collection of that name."""
        if "ferretdbVersion" not in build:
            return False
        found = self._client.local.list_collections(filter={"name": "oplog.rs"})
        return any(one.get("options", {}).get("capped") for one in found)

    @property
    def client(self) -> Any:
        """The connection itself, for what else is read from the same server."""
        self.server()
        return self._client

    @contextmanager
    def explained(self, action: str) -> Iterator[None]:
        """Turn what pymongo raises into our words; ``action`` is what we wanted to do."""
        with self._explained(action):
            yield

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except (AutoReconnect, ConnectionFailure, CursorNotFound) as error:
            raise Transient(
                f"The database went away while we wanted to {action}: see that it runs.", delay=5.0
            ) from error
        except OperationFailure as error:
            if error.code in _TOLD:
                raise Transient(f"The server could not {action} just now (code {error.code}).", delay=5.0) from error
            advice = "give this user the right to do it" if error.code in _DENIED else "look at the server's log"
            raise Permanent(f"The server refuses to {action} (code {error.code}): {advice}.") from error
        except (PyMongoError, bson.errors.BSONError) as error:
            raise Permanent(f"Cannot {action}: {type(error).__name__}; look at the server's log.") from error


def _close(client: Any) -> None:
    with suppress(PyMongoError):  # it says good-bye to a server that may be gone
        client.close()


def _metadata(entry: Document, kind: str, indexes: Sequence[Document]) -> str:
    """mongodump's metadata.json: canonical Extended JSON v2, these keys in this order, empty options left out."""
    metadata: dict[str, Any] = {}
    if entry.get("options"):
        metadata["options"] = entry["options"]
    metadata["indexes"] = indexes
    if uuid := entry.get("info", {}).get("uuid"):
        metadata["uuid"] = bytes(uuid).hex()
    metadata |= {"collectionName": entry["name"], "type": kind}
    options = json_util.CANONICAL_JSON_OPTIONS
    return json_util.dumps(metadata, json_options=options, separators=(",", ":"), ensure_ascii=False)


def _count(entries: set[bytes], keys: Sequence[str], seen: set[bytes], found: dict[bytes, str]) -> None:
    for entry in entries:
        digest = hashlib.blake2b(entry, digest_size=12).digest()
        if digest in seen:
            found.setdefault(digest, json_util.dumps(dict(zip(keys, bson.decode(entry).values(), strict=True))))
        seen.add(digest)


def _entries(document: Document, keys: Sequence[str]) -> set[bytes]:
    """What an index on ``keys`` would hold of a document, once each: an array counts by its elements."""
    values = [_reach(document, key.split(".")) or [None] for key in keys]
    return {
        bson.encode(SON((str(number), _plain(value)) for number, value in enumerate(entry)))
        for entry in product(*values)
    }


def _reach(value: object, path: Sequence[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in (_reach(item, path) if path else [item])]
    if not path:
        return [value]
    if isinstance(value, Mapping) and path[0] in value:
        return _reach(value[path[0]], path[1:])
    return []


def _plain(value: object) -> object:
    """Numbers that compare equal to the server as one and the same."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return int(value) if isinstance(value, bson.Int64) else value
