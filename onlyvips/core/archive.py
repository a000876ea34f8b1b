"""The mongodump archive format, written and strictly read, without any IO.

::

    magic · BSON header · BSON entry* · terminator                  the prelude names every collection
    (BSON block header · BSON document* · terminator)*              blocks of different collections may alternate
    (BSON block header with EOF and CRC · terminator)               once per collection; then the stream just ends

A reader that follows these rules notices every truncation: at the end each collection of the prelude must have been
closed. CRC-64/XZ of a collection's documents is passed in as a function, so that this module stays standard library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from onlyvips.core import little_bson as bson
from onlyvips.core.crud import Crud
from onlyvips.core.little_bson import Value
from onlyvips.core.oplog_entry import Logged
from onlyvips.errors import Permanent

Crc = Callable[[bytes, int], int]
"""``crc(data, before)`` is the CRC-64/XZ of what came before followed by ``data``; ``crc(b"", 0)`` is 0."""

MAGIC = b"\x6d\xe2\x99\x81"
TERMINATOR = b"\xff\xff\xff\xff"
VERSION = "0.1"
_LENGTH = struct.Struct("<i")
LARGEST_DOCUMENT = 16 * 1024 * 1024
SMALLEST_DOCUMENT = 5

Name = tuple[str, str]
"""Database and collection."""


class Corrupt(Permanent):
    """These bytes are no intact archive: the message says where and why."""


@dataclass(frozen=True)
class Entry:
    """What the prelude says of one collection; ``metadata`` is canonical Extended JSON of options and indexes."""

    database: str
    collection: str
    metadata: str
    type: str = "collection"
    size: int = 0

    @property
    def streams(self) -> tuple[Name, ...]:
        """Under which names its documents may come: a time series' come from its buckets on servers before 8.3."""
        own = (self.database, self.collection)
        return (own, (self.database, f"system.buckets.{self.collection}")) if self.type == "timeseries" else (own,)


@dataclass(frozen=True)
class Prelude:
    """The head of an archive."""

    server_version: str
    tool_version: str
    entries: tuple[Entry, ...]
    concurrent_collections: int = 1


@dataclass(frozen=True)
class Documents:
    """Event: ``count`` whole documents of a collection, one after another in ``data``; of the oplog they are read
    already: ``entries``."""

    database: str
    collection: str
    data: bytes
    count: int
    entries: Sequence[Logged | Crud] = ()


@dataclass(frozen=True)
class Closed:
    """Event: a collection is complete and its CRC is right."""

    database: str
    collection: str
    crc64: int
    count: int
    size: int


Event = Prelude | Documents | Closed


# --- writing ---------------------------------------------------------------------------------------------------------


def write_prelude(prelude: Prelude) -> bytes:
    """The first bytes of an archive."""
    header = bson.document(
        bson.int32("concurrent_collections", prelude.concurrent_collections),
        bson.string("version", VERSION),
        bson.string("server_version", prelude.server_version),
        bson.string("tool_version", prelude.tool_version),
    )
    return MAGIC + header + b"".join(_entry(entry) for entry in prelude.entries) + TERMINATOR


def _entry(entry: Entry) -> bytes:
    return bson.document(
        bson.string("db", entry.database),
        bson.string("collection", entry.collection),
        bson.string("metadata", entry.metadata),
        bson.int32("size", entry.size),
        bson.string("type", entry.type),
    )


def write_block_header(database: str, collection: str, closing_crc: int | None = None) -> bytes:
    """What opens a block of documents or, with ``closing_crc``, closes a collection (a terminator must follow)."""
    crc = closing_crc or 0
    return bson.document(
        bson.string("db", database),
        bson.string("collection", collection),
        bson.boolean("EOF", closing_crc is not None),
        bson.int64("CRC", crc - (1 << 64) if crc >= 1 << 63 else crc),
    )


@dataclass
class Tally:
    """What has passed of one collection so far."""

    crc64: int = 0
    count: int = 0
    size: int = 0

    def add(self, data: bytes, count: int, crc: Crc) -> None:
        self.crc64 = crc(data, self.crc64)
        self.count += count
        self.size += len(data)


def write_collection(name: Name, batches: Iterable[bytes], tally: Tally, crc: Crc) -> Iterator[bytes]:
    """One collection as one block and its end; ``tally`` says afterwards (and on the way) what went through.

    Each batch must be whole documents, as a server sends them; else Corrupt, before any of it is passed on.
    """
    yield write_block_header(*name)
    for batch in batches:
        tally.add(batch, _count(name, batch), crc)
        yield batch
        del batch  # it is large, and must be gone when the next one comes
    yield TERMINATOR + write_block_header(*name, closing_crc=tally.crc64) + TERMINATOR


def _count(name: Name, batch: bytes) -> int:
    try:
        run = scan(batch)
    except ValueError as error:
        raise Corrupt(f"{_names([name])}: the server sent a batch that is no sequence of documents: {error}") from error
    if run.end != len(batch):
        raise Corrupt(f"{_names([name])}: the server sent a batch that does not end with a whole document")
    return run.count


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Whole documents from the start of a buffer: where they end, how many, and whether a terminator follows."""

    end: int
    count: int
    terminated: bool


def scan(buffer: bytes | bytearray, start: int = 0, most: int = 1 << 62, largest: int = LARGEST_DOCUMENT) -> Run:
    """Walk over at most ``most`` whole documents from ``start``. Raises ValueError for what cannot be a document."""
    at, count, size, length_of = start, 0, len(buffer), _LENGTH.unpack_from
    while at + 4 <= size and count < most:  # every document of a backup passes here
        length: int = length_of(buffer, at)[0]
        if length == -1:
            return Run(at, count, True)
        if not SMALLEST_DOCUMENT <= length <= largest:
            raise ValueError(f"{at - start} bytes on, a document cannot be {length} bytes long")
        after = at + length
        if after > size:
            break
        if buffer[after - 1]:
            raise ValueError(f"{at - start} bytes on, a document of {length} bytes does not end with a zero")
        at = after
        count += 1
    return Run(at, count, False)


def cut(buffer: bytearray, start: int, end: int) -> bytes:
    """A part of it, copied once."""
    with memoryview(buffer) as view:
        return bytes(view[start:end])


State = Literal["magic", "head", "entries", "between blocks", "documents", "closing"]

_HEAD = {"concurrent_collections": "int32", "version": "str", "server_version": "str", "tool_version": "str"}
_ENTRY = {"db": "str", "collection": "str", "metadata": "str", "size": "int32", "type": "str"}
_BLOCK = {"db": "str", "collection": "str", "EOF": "bool", "CRC": "int64"}


@dataclass
class Reader:
    """Takes the bytes of one archive in any portions and returns its events; raises Corrupt at the first broken rule.

    Only after ``finish`` is the archive known to be whole.
    """

    crc: Crc
    _state: State = "magic"
    _buffer: bytearray = field(default_factory=bytearray)
    _passed: int = 0
    _prelude: Prelude = Prelude("", "", ())
    _current: Name = ("", "")
    _open: dict[Name, Tally] = field(default_factory=dict)
    _closed: set[Name] = field(default_factory=set)

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        self._buffer += data
        events: list[Event] = []
        at, before = 0, -1
        while at != before:
            before = at
            try:
                at = self._step(at, events)
            except ValueError as error:
                raise Corrupt(f"byte {self._passed + at} ({self._state}): {error}") from error
        del self._buffer[:at]
        self._passed += at
        return events

    def finish(self) -> None:
        """Say that there are no more bytes."""
        if self._state != "between blocks" or self._buffer:
            raise Corrupt(f"the archive ends inside its {self._state} part, after {self._passed} bytes")
        if self._open:
            raise Corrupt(f"the archive ends before {_names(self._open)} did")
        missing = [entry.streams[0] for entry in self._prelude.entries if not self._closed & set(entry.streams)]
        if missing:
            raise Corrupt(f"the archive ends and never had {_names(missing)}, which its head lists")

    def _step(self, at: int, events: list[Event]) -> int:
        """Read one item, or one run of documents, at ``at``; return where it ends (``at``: more bytes are needed)."""
        if self._state == "magic":
            return self._read_magic(at)
        if self._state == "documents":
            return self._read_documents(at, events)
        run = scan(self._buffer, at, most=1)
        if run.terminated:
            self._terminate(events)
            return at + 4
        if run.count:
            self._read_item(cut(self._buffer, at, run.end))
        return run.end

    def _read_magic(self, at: int) -> int:
        if len(self._buffer) < len(MAGIC):
            return at
        if self._buffer[: len(MAGIC)] != MAGIC:
            raise ValueError("this is no mongodump archive")
        self._state = "head"
        return len(MAGIC)

    def _read_documents(self, at: int, events: list[Event]) -> int:
        run = scan(self._buffer, at)
        if run.count:
            data = cut(self._buffer, at, run.end)
            self._open[self._current].add(data, run.count, self.crc)
            events.append(Documents(*self._current, data, run.count))
        if not run.terminated:
            return run.end
        self._state = "between blocks"
        return run.end + 4

    def _terminate(self, events: list[Event]) -> None:
        if self._state == "entries":
            events.append(self._prelude)
        elif self._state == "closing":
            tally = self._open.pop(self._current)
            self._closed.add(self._current)
            events.append(Closed(*self._current, tally.crc64, tally.count, tally.size))
        else:
            raise ValueError("a terminator where a header must be")
        self._state = "between blocks"

    def _read_item(self, item: bytes) -> None:
        try:
            if self._state == "head":
                self._read_head(bson.decode(item, _HEAD))
            elif self._state == "entries":
                self._read_entry(bson.decode(item, _ENTRY))
            elif self._state == "between blocks":
                self._read_block_header(bson.decode(item, _BLOCK))
            else:
                raise ValueError("documents after the end of their collection")
        except (struct.error, IndexError) as error:
            raise ValueError("a header is cut short") from error

    def _read_head(self, head: dict[str, Value]) -> None:
        if head["version"] != VERSION:
            raise ValueError(f"archive version {head['version']} is not {VERSION}")
        self._prelude = Prelude(
            str(head["server_version"]), str(head["tool_version"]), (), int(head["concurrent_collections"])
        )
        self._state = "entries"

    def _read_entry(self, found: dict[str, Value]) -> None:
        entry = Entry(
            str(found["db"]), str(found["collection"]), str(found["metadata"]), str(found["type"]), int(found["size"])
        )
        before = self._prelude
        if not entry.collection or any(set(entry.streams) & set(other.streams) for other in before.entries):
            raise ValueError(f"the head lists {_names(entry.streams[:1])} twice, or without a name")
        self._prelude = Prelude(
            before.server_version, before.tool_version, (*before.entries, entry), before.concurrent_collections
        )

    def _read_block_header(self, header: dict[str, Value]) -> None:
        name = self._current = (str(header["db"]), str(header["collection"]))
        crc = int(header["CRC"]) % (1 << 64)
        if not any(name in entry.streams for entry in self._prelude.entries):
            raise ValueError(f"{_names([name])} is not in the list of the head")
        if name in self._closed:
            raise ValueError(f"{_names([name])} goes on after its end")
        if not header["EOF"]:
            if crc:
                raise ValueError("a checksum where only the end of a collection has one")
            self._open.setdefault(name, Tally())
            self._state = "documents"
            return
        if name not in self._open:
            raise ValueError(f"{_names([name])} ends before it began")
        if self._open[name].crc64 != crc:
            raise ValueError(f"CRC-64 of {_names([name])} is {self._open[name].crc64:016x}, its end says {crc:016x}")
        self._state = "closing"


def _names(names: Iterable[Name]) -> str:
    return ", ".join(f"{database}.{collection}" for database, collection in names)
