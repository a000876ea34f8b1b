"""One entry of MongoDB's transaction log: what a backup must know of it, read from its raw BSON. Pure.

Fields and transactions as mongodump and mongorestore read them (mongo-tools, ``mongodump/oplog_dump.go``,
``common/txn``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from onlyvips.core import little_bson as bson
from onlyvips.core.manifest import Edge

_RESHARDING = ("reshardingOperations", "localReshardingOperations.donor", "localReshardingOperations.recipient")
_FORBIDDEN = {
    "renameCollection": "a collection was renamed",
    "importCollection": "a collection was imported",
    "upgradeDowngradeViewlessTimeseries": "time series were changed from one form to the other",
}
_NOWHERE = (0, 0)
_TOLD = ("c", "n")
"""Kinds of entries that say what they are with the first key of what they are about."""
Role = Literal["", "part", "end", "abort"]
"""What an entry is to a transaction of several entries: nothing, one of its parts, its commit, its abort."""


class Position(NamedTuple):
    """Where an entry is in the log: seconds since the epoch, and its number within that second."""

    seconds: int
    ordinal: int

    @property
    def name(self) -> str:
        """As keys of objects have it: ``20260801T120000Z-1``."""
        return f"{datetime.fromtimestamp(self.seconds, UTC):%Y%m%dT%H%M%SZ}-{self.ordinal}"


class Entry(NamedTuple):
    """An entry. ``command`` is the first key of a command (``op`` c), ``subject`` its value where that is a string;
    ``transaction`` tells a transaction from others, ``previous`` is where its entry before this one is."""

    position: Position
    term: int
    op: str
    namespace: str
    command: str = ""
    subject: str = ""
    transaction: bytes = b""
    role: Role = ""
    previous: Position | None = None

    @property
    def edge(self) -> Edge:
        """As a manifest has it."""
        return Edge(f"{self.position.seconds}:{self.position.ordinal}", self.term)

    @property
    def begins_the_log(self) -> bool:
        """Whether the log was made with this entry, so that nothing ever was before it."""
        return self.op == "n" and self.command == "msg" and self.subject == "initiating set"


def position(edge: Edge) -> Position:
    """Where an entry of a manifest is."""
    seconds, _, ordinal = edge.ts.partition(":")
    return Position(int(seconds), int(ordinal))


class Logged(NamedTuple):
    """An entry, and all of its fields by name."""

    entry: Entry
    fields: Mapping[str, bson.Element]

    @property
    def position(self) -> Position:
        """Where it is."""
        return self.entry.position


def parse(data: bytes) -> Entry:
    """The entry in ``data``, one whole document. Raises ValueError for what is no entry of an oplog."""
    return logged(data).entry


def logged(data: bytes) -> Logged:
    """The same, with its fields: who needs them too reads them once."""
    found = bson.fields(data)
    entry = _entry(found)
    if entry.op not in _TOLD and "o" in found:
        deque(found["o"].elements(), 0)  # it must be BSON, whatever it says
    return Logged(entry, found)


def _entry(found: Mapping[str, bson.Element]) -> Entry:
    moment, term = found["ts"].moment() if "ts" in found else None, _number(found, "t")
    if moment is None or "op" not in found:
        raise ValueError("it has no ts or no op: it is no entry of an oplog")
    op, namespace = found["op"].text(), found["ns"].text() if "ns" in found else ""
    if op not in _TOLD:
        return Entry(Position(*moment), -1 if term is None else term, op, namespace)
    what = list(found["o"].elements()) if "o" in found else []
    head = what[0] if what else None
    role, transaction = _role(found, what) if op == "c" else ("", b"")
    return Entry(
        position=Position(*moment),
        term=-1 if term is None else term,
        op=op,
        namespace=namespace,
        command=head.name if head else "",
        subject=head.text() if head else "",
        transaction=transaction,
        role=role,
        previous=_previous(found) if transaction else None,
    )


def _role(found: Mapping[str, bson.Element], what: list[bson.Element]) -> tuple[Role, bytes]:
    """Part of a transaction are commands with a session and a number, but no retried insert of many documents."""
    if not what or "lsid" not in found or "txnNumber" not in found or _number(found, "multiOpType") == 1:
        return "", b""
    who = found["lsid"].raw + found["txnNumber"].raw
    if what[0].name == "abortTransaction":
        return "abort", who
    if what[0].name == "commitTransaction":
        return "end", who
    if what[0].name != "applyOps":
        return "", b""
    open_still = any(one.name in ("partialTxn", "prepare") and one.truth() for one in what[1:])
    return ("part" if open_still else "end"), who


def _previous(found: Mapping[str, bson.Element]) -> Position | None:
    inside = found["prevOpTime"].elements() if "prevOpTime" in found else iter(())
    moment = next((one.moment() for one in inside if one.name == "ts"), None)
    return Position(*moment) if moment and moment != _NOWHERE else None


def _number(found: Mapping[str, bson.Element], name: str) -> int | None:
    return found[name].number() if name in found else None


def forbidden(entry: Entry) -> str:
    """Why a base whose window has this entry is none, in words; "" where it may have it."""
    if entry.namespace == "admin.system.version":
        return "the server's feature compatibility version or its authorization was changed"
    if entry.op == "c" and entry.command in _FORBIDDEN:
        return f"{_FORBIDDEN[entry.command]} ({entry.namespace.partition('.')[0]})"
    made = entry.subject if entry.command == "create" and entry.namespace.startswith("config.") else ""
    if made in _RESHARDING or entry.namespace.removeprefix("config.") in _RESHARDING:
        return "a collection was resharded"
    return ""


@dataclass
class Transactions:
    """Which transactions are open after the entries that were seen; ``torn`` is where the first one goes on whose
    beginning was not seen. One that ends with the very first entry is none: all of it was there before."""

    torn: Position | None = None
    _begun: bool = False
    _open: dict[bytes, Position] = field(default_factory=dict)

    def see(self, entry: Entry) -> None:
        """The next entry."""
        first, self._begun = not self._begun, True
        if not entry.role:
            return
        known = entry.transaction in self._open
        ended = entry.role == "abort" or (first and entry.role == "end")
        if entry.previous is not None and not known and not ended:
            self.torn = self.torn or entry.position
        if entry.role != "part":
            self._open.pop(entry.transaction, None)
        elif not known:
            self._open[entry.transaction] = entry.position

    @property
    def oldest(self) -> Position | None:
        """Where the oldest open one begins, as far as it was seen."""
        return min(self._open.values(), default=None)
