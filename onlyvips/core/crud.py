"""Inserts, updates and deletes of the oplog, read at a fraction of what any entry costs. Pure.

What stands before ``o`` (op, ns, ui) is the same for many entries, byte by byte: once it was read in full, it is only
compared. What is not exactly of this form is read in full. Fields and their order as MongoDB's ``oplog_entry.idl`` has
them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from onlyvips.core.little_bson import DOCUMENT, Element
from onlyvips.core.oplog_entry import Entry, Position, forbidden

CRUD = ("i", "u", "d")
_LSID, _NUMBER, _WHAT, _WHICH = b"\x03lsid\0", b"\x12txnNumber\0", b"\x03o\0", b"\x03o2\0"
_STATEMENT, _PREVIOUS = b"\x10stmtId\0", b"\x03prevOpTime\0"
_AFTER_NUMBER, _AFTER_STATEMENT = len(_NUMBER) + 8, len(_STATEMENT) + 4
_TAIL = struct.Struct("<4sII3sq3sq6sq")
_TAIL_NAMES = (b"\x11ts\0", b"\x12t\0", b"\x12v\0", b"\x09wall\0")
_LENGTH = struct.Struct("<i")
_SMALLEST = 5
_MOST = 10_000
"""Heads that are known at a time: one an operation and collection."""
_make = tuple.__new__


class Crud(NamedTuple):
    """One of them: where it is, the raw documents ``o`` and ``o2`` (empty where there is none), and why no base may
    have it in its window."""

    position: Position
    term: int
    op: str
    namespace: str
    what: bytes
    which: bytes
    why_not: str

    @property
    def entry(self) -> Entry:
        """What a backup must know of it."""
        return Entry(self.position, self.term, self.op, self.namespace)


@dataclass
class Heads:
    """Beginnings of entries that were read in full: their op, namespace, and why no base may have such."""

    _known: dict[bytes, tuple[str, str, str]] = field(default_factory=dict)

    def read(self, data: bytes) -> Crud | None:
        """The entry in ``data``, one whole document; None where it must be read in full."""
        try:
            begin = _begin(data)
            at = data.find(_WHAT, begin)
            if (known := self._known.get(data[begin:at])) is None:
                return None
            what, at = _document(data, at + len(_WHAT))
            which = b""
            if data.startswith(_WHICH, at):
                which, at = _document(data, at + len(_WHICH))
            if data.startswith(_STATEMENT, at):
                at += _AFTER_STATEMENT
            ts, ordinal, seconds, t, term, v, _, wall, _ = _TAIL.unpack_from(data, at)
            if (ts, t, v, wall) != _TAIL_NAMES or not _ends(data, at + _TAIL.size):
                return None
        except (struct.error, IndexError, ValueError):
            return None
        op, namespace, why_not = known
        position = _make(Position, (seconds, ordinal))
        return _make(Crud, (position, term, op, namespace, what, which, why_not))

    def learn(self, data: bytes, entry: Entry, fields: Mapping[str, Element]) -> None:
        """An entry that was read in full: others that begin so need not be."""
        if entry.op not in CRUD or "o" not in fields or fields["o"].kind != DOCUMENT:
            return
        begin = _begin(data)
        end = fields["o"].start - len(_WHAT)
        inside = all(begin < fields[name].start < end for name in ("op", "ns"))
        others = all(fields[name].start > end for name in ("o2", "ts", "t") if name in fields)
        if inside and others and data.find(_WHAT, begin) == end:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[data[begin:end]] = entry.op, entry.namespace, forbidden(entry)


def _begin(data: bytes) -> int:
    """Where what is the same for many begins: after the session and number of a write that may be tried again."""
    at = 4
    if data.startswith(_LSID, at):
        at += len(_LSID)
        at += int(_LENGTH.unpack_from(data, at)[0])
        if data.startswith(_NUMBER, at):
            at += _AFTER_NUMBER
    return at


def _document(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + _LENGTH.unpack_from(data, at)[0]
    if end < at + _SMALLEST or data[end - 1]:
        raise ValueError("a document does not end where it says")
    return data[at:end], end


def _ends(data: bytes, at: int) -> bool:
    """Whether the entry ends there, but for where its transaction's entry before it is."""
    if data.startswith(_PREVIOUS, at):
        _, at = _document(data, at + len(_PREVIOUS))
    return at + 1 == len(data) and not data[at]
