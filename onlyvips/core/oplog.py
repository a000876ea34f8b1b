"""A stretch of the transaction log: read strictly, continued only from its very last entry, or broken by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from onlyvips.core.archive import LARGEST_DOCUMENT, Corrupt, Crc, Documents, Tally, cut, scan
from onlyvips.core.crud import Crud, Heads
from onlyvips.core.manifest import OPLOG, Edge, NamespaceRecord, Window, moment
from onlyvips.core.oplog_entry import Entry, Logged, Position, Transactions, forbidden, logged, position

LARGEST_ENTRY = LARGEST_DOCUMENT + 16 * 1024
"""An entry has a little more than the largest document (mongorestore allows the same)."""
OBJECT = "objects/oplog.bson.zst.age"
"""Entries one after the other, each raw BSON, whether of a slice or of a base's window."""
QUIET_UNTIL, OPEN_SINCE, FOLLOWS = "quiet_until", "open_since", "follows"
"""Facts of a slice: nothing was written until then (UTC); where the oldest transaction begins that was open at its end;
which timeline was broken before this one."""
Name = Literal["gap", "overflow", "rollback"]
_IN_A_BREAK = re.compile(
    r"[^/]+/evidence/oplog/(?P<timeline>[^/]+)/(?P<at>[^/]+Z)-(?P<name>[a-z]+)-(?P<seconds>\d+)-(?P<ordinal>\d+)-[^/]+"
)


@dataclass
class Reader:
    """Takes raw entries in portions of any size; raises Corrupt where they are no log in order.

    ``why_not`` says why no base may have it in its window ("" if it may).
    Only after ``finish`` is it known to be whole.
    """

    crc: Crc
    why_not: str = ""
    tally: Tally = field(default_factory=Tally)
    transactions: Transactions = field(default_factory=Transactions)
    _rest: bytearray = field(default_factory=bytearray)
    _heads: Heads = field(default_factory=Heads)
    _first: Entry | None = None
    _last: Entry | Crud | None = None

    def feed(self, data: bytes) -> Documents:
        """The next bytes; returns the whole entries that they completed."""
        self._rest += data
        entries = list[Logged | Crud]()
        try:
            run = scan(self._rest, largest=LARGEST_ENTRY)
            if run.terminated:
                raise ValueError("a document cannot be -1 bytes long")
            whole, at = cut(self._rest, 0, run.end), 0
            while at < run.end:
                end = at + int.from_bytes(whole[at : at + 4], "little")
                entries.append(self._read(whole[at:end]))
                at = end
        except ValueError as error:
            after = f" after {self.last.edge.ts}" if self.last else ""
            raise Corrupt(f"the oplog has no entry in order{after}: {error}") from error
        self.tally.add(whole, run.count, self.crc)
        del self._rest[: run.end]
        return Documents("local", "oplog.rs", whole, run.count, entries)

    def finish(self) -> None:
        """Say that there are no more bytes."""
        if self._rest or self.last is None:
            raise Corrupt("the oplog ends inside an entry" if self._rest else "the oplog has no entry at all")

    def _read(self, data: bytes) -> Logged | Crud:
        if (one := self._heads.read(data)) is not None and self._first is not None:
            self._follows(one)
            self.why_not = self.why_not or one.why_not
            return one
        found = logged(data)
        self._heads.learn(data, *found)
        self._follows(found.entry)
        self._first = self._first or found.entry
        self.why_not = self.why_not or forbidden(found.entry)
        self.transactions.see(found.entry)
        return found

    def _follows(self, entry: Entry | Crud) -> None:
        if (last := self._last) is not None and (entry.position <= last.position or entry.term < last.term):
            seconds, ordinal = entry.position
            raise ValueError(f"{seconds}:{ordinal} of term {entry.term} follows one of term {last.term}")
        self._last = entry

    @property
    def first(self) -> Entry | None:
        """The first entry so far."""
        return self._first

    @property
    def last(self) -> Entry | None:
        """The last one."""
        return self._last.entry if isinstance(self._last, Crud) else self._last

    @property
    def window(self) -> Window:
        """What was read. Call it after ``finish``."""
        assert self.first and self.last
        return Window(self.first.edge, self.last.edge, self.tally.count)

    @property
    def record(self) -> NamespaceRecord:
        """What was read, as a manifest has it."""
        tally = self.tally
        return NamespaceRecord("local", "oplog.rs", OPLOG, "", tally.count, tally.size, f"{tally.crc64:016x}")


def read(batches: Iterable[bytes], crc: Crc) -> Reader:
    """All of a log at once."""
    reader = Reader(crc)
    for batch in batches:
        reader.feed(batch)
    reader.finish()
    return reader


# --- boundaries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Break:
    """The log does not go on from ``wanted``: it rolled over (overflow), is another history (rollback), or begins
    anew after it (gap). ``told`` says it to people."""

    name: Name
    wanted: Edge
    told: str


def boundary(wanted: Edge, found: Entry | None, oldest: Entry) -> Break | None:
    """Whether the log goes on from the very entry ``wanted``: ``found`` is the first entry there or later, ``oldest``
    the log's first. None: it does."""
    if found is not None and found.edge == wanted:
        return None
    there = f"the entry {wanted.ts} of term {wanted.term}"
    if found is not None and found.position == position(wanted):
        return Break("rollback", wanted, f"{there} is one of term {found.term} now: the server rolled it back")
    if oldest.position <= position(wanted):
        told = f"{there} is gone, though the oplog reaches back to {oldest.edge.ts}: the server rolled it back"
        return Break("rollback", wanted, told)
    if oldest.begins_the_log or oldest.term < wanted.term:
        told = f"the oplog was made anew: it begins with {oldest.edge.ts} of term {oldest.term}, after {there}"
        return Break("gap", wanted, told)
    told = f"the oplog rolled over: its oldest entry is {oldest.edge.ts}, {there} is gone; it is too small"
    return Break("overflow", wanted, told)


@dataclass(frozen=True)
class Broken:
    """Evidence that a timeline broke: after ``wanted``, found out ``at`` (UTC)."""

    timeline: str
    at: str
    name: str
    wanted: Edge
    told: str = ""

    @property
    def position(self) -> Position:
        """Up to here it is whole."""
        return position(self.wanted)


def break_key(environment: str, broken: Broken, nonce: str) -> str:
    """Where it is kept; the name says all that an audit must know, so that a listing tells it."""
    where = f"{broken.position.seconds}-{broken.position.ordinal}"
    return f"{environment}/evidence/oplog/{broken.timeline}/{broken.at}-{broken.name}-{where}-{nonce}.json"


def breaks(keys: Iterable[str]) -> list[Broken]:
    """The breaks that a listing tells, each once, oldest first."""
    found: dict[tuple[str, Position], Broken] = {}
    for key in sorted(keys):
        if (said := _IN_A_BREAK.fullmatch(key)) and said["name"] in get_args(Name):
            wanted = Edge(f"{said['seconds']}:{said['ordinal']}", -1)
            broken = Broken(said["timeline"], said["at"], said["name"], wanted)
            found.setdefault((broken.timeline, broken.position), broken)
    return sorted(found.values(), key=lambda one: one.at)


def reach(edge: Edge) -> str:
    """The moment of an entry, UTC."""
    return moment(float(position(edge).seconds))
