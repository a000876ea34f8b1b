"""SourceOplog on MongoDB (majority read concern) and on FerretDB, over the connection of a ``MongoDatabase``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bson import Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.oplog_entry import Position, parse
from onlyvips.errors import Permanent
from onlyvips.ports import Clock

_BATCH = 2_000
_OVERRUN = 136
"""CappedPositionLost: what a cursor stood on was removed."""
_LATELY = 60
"""Seconds in which one looks first for the newest entry of FerretDB."""
_EMPTY = "The oplog is empty, so there is no moment to begin at: write something, then try again."
_RAW: Any = CodecOptions(document_class=RawBSONDocument)


class MongoOplog:
    """``local.oplog.rs`` of one server.

    FerretDB writes an entry after the data, and not in the order of timestamps: there, ``newest`` waits ``settle``
    seconds before and after it looks, which is longer than a write takes.
    """

    def __init__(self, database: MongoDatabase, clock: Clock, *, settle: float = 1.0) -> None:
        self._database, self._clock, self._settle = database, clock, settle

    def describe(self) -> Mapping[str, str]:
        server = self._database.server()
        if server["oplog"] == "none":
            raise Permanent(
                "The database keeps no oplog (it is no replica set): make it one, or leave the kind oplog out of "
                "recovery.protected."
            )
        with self._database.explained("ask for its time"):
            aware: Any = CodecOptions(tz_aware=True)
            hello = self._database.client.admin.command("hello", codec_options=aware)
        now, last = str(hello["localTime"].timestamp()), "newest" if self._holes else last_written(hello)
        return {"dialect": server["dialect"], "version": server["version"], "now": now, "last": last}

    def oldest(self) -> bytes:
        return self._first() if self._holes else self._first(sort=[("$natural", 1)])

    def newest(self) -> bytes:
        if self._holes:
            self._clock.sleep(self._settle)
        found = self._last()
        if self._holes:
            self._clock.sleep(self._settle)
        return found

    def open_since(self) -> Position | None:
        asked = {"state": {"$in": ["prepared", "inProgress"]}}
        source = self._database.client.config.transactions
        if not self._holes:
            source = source.with_options(read_concern=ReadConcern("local"))
        with self._database.explained("look for open transactions"):
            moments = [one["startOpTime"]["ts"] for one in source.find(asked, {"startOpTime": 1})]
        return min((Position(one.time, one.inc) for one in moments), default=None)

    def entries(self, start: Position, end: Position) -> Iterator[bytes]:
        asked = {"ts": {"$gte": Timestamp(*start), "$lte": Timestamp(*end)}}
        with self._database.explained(f"read the oplog from {start.seconds}:{start.ordinal}"):
            try:
                yield from self._by_scan(asked) if self._holes else self._by_range(asked)
            except OperationFailure as error:
                if error.code != _OVERRUN:
                    raise
                raise Permanent(
                    f"The oplog was overrun while it was read from {start.seconds}:{start.ordinal}: make it bigger "
                    "(replSetResizeOplog)."
                ) from error

    @property
    def _holes(self) -> bool:
        return self._database.server()["dialect"] == "ferretdb"

    @property
    def _log(self) -> Any:
        log = self._database.client.local["oplog.rs"].with_options(_RAW)
        return log if self._holes else log.with_options(read_concern=ReadConcern("majority"))

    def _by_range(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """The server finds the first one by its place and goes on in order."""
        with self._log.find_raw_batches(asked, batch_size=_BATCH) as cursor:
            yield from cursor

    def _by_scan(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """FerretDB reads all of the log, whatever is asked, and gives it in the order in which it was written."""
        with self._log.find(asked, batch_size=_BATCH) as cursor:
            found = sorted((parse(one.raw).position, one.raw) for one in cursor)
        for at in range(0, len(found), _BATCH):
            yield b"".join(raw for _, raw in found[at : at + _BATCH])

    def _last(self) -> bytes:
        """The newest one. FerretDB would put all of the log in order for it, so it is asked for the last ones alone."""
        if not self._holes:
            return self._first(sort=[("$natural", -1)])
        lately = Timestamp(int(float(self.describe()["now"])) - _LATELY, 0)
        for since in (lately, Timestamp(0, 0)):
            with self._database.explained("read the oplog"):
                last = max(self._log.find({"ts": {"$gte": since}}, batch_size=_BATCH), key=_position, default=None)
            if last is not None:
                return bytes(last.raw)
        raise Permanent(_EMPTY)

    def _first(self, **options: Any) -> bytes:
        with self._database.explained("read the oplog"):
            found = self._log.find_one({}, **options)
        if found is None:
            raise Permanent(_EMPTY)
        return bytes(found.raw)


def last_written(hello: Mapping[str, Any]) -> str:
    """What a majority may lack still. A secondary knows nothing of what it has not got."""
    moment = hello.get("lastWrite", {}).get("opTime", {}).get("ts") if hello.get("isWritablePrimary") else None
    return f"{moment.time}:{moment.inc}" if moment else ""


def _position(found: Any) -> Position:
    return parse(found.raw).position
