"""A SourceOplog in memory, and entries as MongoDB writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import bson

from onlyvips.core.oplog_entry import Position, parse
from onlyvips.errors import Permanent

START = 1785585600  # 2026-08-01T12:00:00Z


def entry(seconds: int, ordinal: int = 1, term: int = 1, op: str = "i", ns: str = "app.orders", **more: Any) -> bytes:
    """Raw BSON with the fields, and in the order, of MongoDB 7."""
    head = {key: more.pop(key) for key in ("lsid", "txnNumber") if key in more}
    what = more.pop("o", {"_id": ordinal} if op != "n" else {"msg": "periodic noop"})
    stamp = {"ts": bson.Timestamp(seconds, ordinal), "t": bson.Int64(term), "v": bson.Int64(2)}
    wall = {"wall": datetime.fromtimestamp(seconds, UTC)}
    return bson.encode({**head, "op": op, "ns": ns, "o": what, **more, **stamp, **wall})


def session(number: int = 1) -> dict[str, Any]:
    """Who a transaction is of."""
    return {"lsid": {"id": bson.Binary(bytes([number] * 16), 4)}, "txnNumber": bson.Int64(number)}


def after(seconds: int, ordinal: int = 1, term: int = 1) -> dict[str, Any]:
    """The entry of the same transaction before this one; 0, 0 for none."""
    return {"prevOpTime": {"ts": bson.Timestamp(seconds, ordinal), "t": bson.Int64(term)}}


NOTHING_BEFORE = after(0, 0, -1)


def command(seconds: int, ordinal: int = 1, ns: str = "admin.$cmd", **what: Any) -> bytes:
    """A command entry; keys with a leading underscore are fields beside ``o``."""
    beside = {key[1:]: what.pop(key) for key in list(what) if key.startswith("_")}
    return entry(seconds, ordinal, op="c", ns=ns, o=what, **beside)


class SimulatedOplog:
    """Entries in a list, oldest first; gives them in batches of ``batch``."""

    def __init__(self, *entries: bytes, now: float = 1e12, batch: int = 3) -> None:
        self.log = list(entries)
        self.now, self.batch = now, batch
        self.transactions: list[Position] = []
        self.before_newest: Callable[[], None] = lambda: None
        self.asked_newest = 0
        self.unfinal = 0
        """So many entries at the end a majority has not got yet."""
        self.secondary = False

    def write(self, *entries: bytes) -> None:
        self.log += entries

    def drop_first(self, count: int) -> None:
        """As a capped collection does that is full."""
        del self.log[:count]

    def describe(self) -> Mapping[str, str]:
        last = parse(self.log[-1]).edge.ts if self.log and not self.secondary else ""
        return {"dialect": "simulated", "version": "7.0.0", "now": str(self.now), "last": last}

    def oldest(self) -> bytes:
        return self._one(0)

    def newest(self) -> bytes:
        self.before_newest()
        self.asked_newest += 1
        return self._one(-1 - self.unfinal)

    def open_since(self) -> Position | None:
        return min(self.transactions, default=None)

    def entries(self, start: Position, end: Position) -> Iterator[bytes]:
        final = self.log[: len(self.log) - self.unfinal]
        found = [one for one in final if start <= parse(one).position <= end]
        for at in range(0, len(found), self.batch):
            yield b"".join(found[at : at + self.batch])

    def _one(self, at: int) -> bytes:
        if not self.log:
            raise Permanent("The oplog is empty, so there is no moment to begin at.")
        return self.log[at]


def run_of(count: int, start: int = START, term: int = 1) -> list[bytes]:
    """So many inserts, one a second."""
    return [entry(start + number, term=term, o={"_id": number, "x": os.urandom(4)}) for number in range(count)]
