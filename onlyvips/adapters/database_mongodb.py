"""SourceDatabase and Sampler on MongoDB and what speaks its protocol, by pymongo.

Documents pass as the server sent them, all from one member.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import product
from typing import Any

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
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

from onlyvips.adapters import accounts_mongodb, member_mongodb, raw_mongodb
from onlyvips.core.accounts import Accounts
from onlyvips.core.ranges import UNKNOWN, Sampled, Strides, id_of
from onlyvips.errors import Abandoned, NoSpace, Permanent, Transient
from onlyvips.ports import EVERYTHING, Namespace

_PASSED_BY = frozenset({"system.profile", "system.views", "system.indexes"})
"""Kept by the server itself: mongodump leaves them out too."""
_KEPT = frozenset({"collection", "view"})
_BATCH = 1 << 20
"""Bytes asked for at a time, about: a server counts documents, and a reply is at most 16 MiB."""
_MOST_DOCUMENTS = 10_000
_MOST_INDEXES = 1_000
_PATIENT = 7 * 24 * 3600.0
"""Seconds that an index may take to be built, at most."""
_NO_NAMESPACE = 26
_DENIED = frozenset({13, 18})
_TOLD = frozenset({11600, 91, 189, 10107, 13435, 13436, 175, 43, _NO_NAMESPACE})
"""Codes of a server that shuts down, changes its primary, lost the cursor, or just dropped the collection."""
_OUT_OF_DISK_SPACE = 14031
_FULL = ("No space left on device", "database or disk is full", "space quota")
"""What is told of a full disk by WiredTiger and PostgreSQL, by SQLite, and by Atlas of its small clusters."""

Document = Mapping[str, Any]


class MongoDatabase:
    """One server, by its URI. Nothing is retried; every call has a timeout.

    Of a replica set it is one member, the same for everything that is asked: ``member`` where that one answers; with
    ``writes`` the primary, whatever the URI prefers.
    """

    def __init__(
        self, uri: str, *, member: str = "", writes: bool = False, connect_timeout: float = 5.0, timeout: float = 60.0
    ) -> None:
        self._uri, self._member, self._writes = uri, member.partition("#")[0], writes
        self._options: dict[str, Any] = {
            "document_class": SON,
            "datetime_conversion": "DATETIME_MS",  # Python's own dates end with the year 9999, BSON's do not
            "appname": "onlyvips",
            "retryReads": False,
            "retryWrites": False,
            "connectTimeoutMS": int(connect_timeout * 1000),
            "serverSelectionTimeoutMS": int(connect_timeout * 1000),
            "socketTimeoutMS": int(timeout * 1000),
        }
        try:
            self._client: Any = MongoClient(uri, **self._options)
        except (InvalidURI, ConfigurationError, ValueError) as error:
            # Without its cause: that may quote the URI, and the URI holds a password.
            if uri.startswith("mongodb+srv://") and not isinstance(error, InvalidURI):
                raise Transient(
                    "The servers of the database's mongodb+srv address could not be looked up: see that DNS answers "
                    "here, and that the name is right."
                ) from None
            raise Permanent("The database's URI cannot be understood: correct what its reference points to.") from None
        _close_after(self, self._client)
        self._server: dict[str, str] = {}

    @cached_property
    def patient(self) -> MongoDatabase:
        """The same member, for a command that answers only when it is done. What is gone meanwhile is found by TCP's
        keepalive."""
        seconds = self._options["connectTimeoutMS"] / 1000
        found = MongoDatabase(
            self._uri, member=self.server()["member"], writes=self._writes, connect_timeout=seconds, timeout=_PATIENT
        )
        found.server()
        return found

    def server(self) -> Mapping[str, str]:
        if not self._server:
            with self._explained("ask who it is"):
                one = member_mongodb.chosen(self._client, self._uri, self._options, self._member, self._writes)
                if one is not self._client:
                    self._client.close()
                    self._client = one
                    _close_after(self, one)
                build = one.admin.command("buildInfo")
                hello = one.admin.command("hello")
            if hello.get("msg") == "isdbgrid":
                raise Permanent(
                    "This is a mongos: a base through it is no single point in time; give a shard's own URI."
                )
            if self._writes and not hello.get("isWritablePrimary", True):
                told = f"{hello.get('me', 'This server')} is not the primary of its replica set, so it takes no writes"
                if "directconnection=true" in self._uri.lower():
                    raise Permanent(f"{told}: give a URI of the set, or of its primary.")
                raise Transient(f"{told}: see that the set has a primary.", delay=5.0)
            self._server = {
                "version": str(build["version"]),
                "dialect": "ferretdb" if "ferretdbVersion" in build else "mongodb",
                "oplog": "local.oplog.rs" if "setName" in hello or self._logs(build) else "none",
                "member": member_mongodb.identity(hello),
            }
        return self._server

    def namespaces(self, database: str) -> list[Namespace]:
        self.server()
        with self._explained(f"list the collections of {database}"):
            listed = sorted(self._client[database].list_collections(), key=lambda entry: str(entry["name"]))
            if not listed:
                raise Permanent(f"Database {database} has no collection: correct its name, or where the URI points.")
            return [self._namespace(database, entry) for entry in listed if entry["name"] not in _PASSED_BY]

    def accounts(self, database: str) -> Accounts:
        server = self.server()
        with self._explained(f"read the users and roles of {database}"):
            return accounts_mongodb.read(self._client, database, server["dialect"], server["version"])

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        if namespace.type == "view":
            return
        asked = SON([("find", namespace.collection), ("filter", RawBSONDocument(where))])
        if self.server()["dialect"] == "mongodb":
            asked["hint"] = SON([("$natural" if where == EVERYTHING else "_id", 1)])
            asked["readConcern"] = {"level": "majority"}
        self._same_member()
        database, first = self._client[namespace.database], self._batch_of(namespace)
        with self._explained(f"read {namespace.database}.{namespace.collection}"):
            for documents in raw_mongodb.find(database, asked, first):
                run = b"".join(documents)
                del documents
                yield run
                del run
        self._same_member()

    def size(self, namespace: Namespace) -> int:
        return 0 if namespace.type == "view" else int(self._statistics(namespace)["size"])

    def _statistics(self, namespace: Namespace) -> Document:
        source = self.client[namespace.database]
        with self._explained(f"ask for the size of {namespace.database}.{namespace.collection}"):
            if self.server()["dialect"] != "mongodb":
                found: Document = source.command("collStats", namespace.collection)
                return found
            (told,) = source[namespace.collection].aggregate([{"$collStats": {"storageStats": {}}}])
            return dict(told["storageStats"])

    def _batch_of(self, namespace: Namespace) -> int:
        """Documents to ask for at a time."""
        mean = int(self._statistics(namespace).get("avgObjSize") or 0)
        return max(1, min(_MOST_DOCUMENTS, _BATCH // max(1, mean)))

    def sample(self, namespace: Namespace, most: int) -> list[Sampled]:
        with self._explained(f"sample {namespace.database}.{namespace.collection}"):
            if self.server()["dialect"] == "mongodb":
                return self._drawn(namespace, most)
            strides = Strides(most)
            for batch in self.documents(namespace):
                strides.add(batch)
            return strides.samples()

    def _drawn(self, namespace: Namespace, most: int) -> list[Sampled]:
        """By ``$sample``, which reads only what it draws while that is below a twentieth of the collection."""
        asked = [{"$sample": {"size": most}}, {"$project": {"_id": 1, "size": {"$bsonSize": "$$ROOT"}}}]
        with self._read_of(namespace).aggregate(asked) as cursor:
            return [Sampled(id_of(one.raw) or UNKNOWN, _size_at_the_end(one.raw)) for one in cursor]

    def _read_of(self, namespace: Namespace) -> Any:
        """The collection at the level it is read at, its documents raw."""
        raw = CodecOptions(document_class=RawBSONDocument)
        level = ReadConcern("majority") if self.server()["dialect"] == "mongodb" else ReadConcern()
        collection = self._client[namespace.database][namespace.collection]
        return collection.with_options(raw, read_concern=level)

    def _same_member(self) -> None:
        """Raise Abandoned when another process answers than the one that was asked first."""
        first = self.server()["member"]
        with self._explained("ask who it is"):
            now = member_mongodb.identity(self._client.admin.command("hello"))
        if now != first:
            raise Abandoned(
                f"The database is read from {first}, and now {now} answers there: it was restarted or replaced, so "
                "what was read is not of one server; take the backup again.",
                delay=5.0,
            )

    def duplicates(self, database: str, collection: str, keys: Sequence[str], limit: int) -> list[str]:
        fields = {"_id": 0, **{key: 1 for key in keys}}
        codec = CodecOptions(document_class=SON, datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_MS)
        seen: set[bytes] = set()
        found: dict[bytes, str] = {}
        action, source = f"look for duplicates in {database}.{collection}", self._client[database][collection]
        with self._explained(action), source.find_raw_batches({}, fields, batch_size=_MOST_DOCUMENTS) as cursor:
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
        indexes = [] if kind == "view" else self._indexes(database, name)
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

    def _indexes(self, database: str, name: str) -> list[Document]:
        """As listIndexes says; none of a collection that was dropped meanwhile. pymongo's own cannot read all dates."""
        try:
            asked = SON([("listIndexes", name), ("cursor", {"batchSize": _MOST_INDEXES})])
            answer = self._client[database].command(asked, codec_options=self._client.codec_options)
        except OperationFailure as error:
            if error.code == _NO_NAMESPACE:
                return []
            raise
        if answer["cursor"]["id"]:
            raise Permanent(f"{database}.{name} has more than {_MOST_INDEXES} indexes: this cannot be right.")
        return list(answer["cursor"]["firstBatch"])

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
            if error.code == _OUT_OF_DISK_SPACE or any(one in str(error) for one in _FULL):
                raise NoSpace(
                    f"The server's disk is full, so it could not {action} (code {error.code}): make room there, then "
                    "run the same again."
                ) from error
            advice = "give this user the right to do it" if error.code in _DENIED else "look at the server's log"
            raise Permanent(f"The server refuses to {action} (code {error.code}): {advice}.") from error
        except (PyMongoError, bson.errors.BSONError) as error:
            raise Permanent(f"Cannot {action}: {type(error).__name__}; look at the server's log.") from error


def _size_at_the_end(document: bytes) -> int:
    """The int32 ``size`` of a document that ends with it. Decoding would stumble over what a driver cannot hold."""
    return int.from_bytes(document[-5:-1], "little") if document[-11:-5] == b"\x10size\0" else 1


def _close_after(owner: object, client: Any) -> None:
    """Close ``client`` once nobody has ``owner`` any more: in a thread of its own, for it waits for a server that may
    be gone, and the collector comes upon any thread, one of a client's own too."""

    def close() -> None:
        with suppress(PyMongoError):
            client.close()

    finalizer = weakref.finalize(owner, lambda: threading.Thread(target=close, daemon=True).start())
    finalizer.atexit = False


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
