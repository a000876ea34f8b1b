"""As much BSON as we need: documents of known fields in a fixed order, and the elements of any other, undecoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_KINDS = {0x02: "str", 0x08: "bool", 0x10: "int32", 0x12: "int64"}


def string(name: str, value: str) -> bytes:
    data = value.encode() + b"\0"
    return b"\x02" + name.encode() + b"\0" + _INT32.pack(len(data)) + data


def boolean(name: str, value: bool) -> bytes:
    return b"\x08" + name.encode() + b"\0" + bytes([value])


def int32(name: str, value: int) -> bytes:
    return b"\x10" + name.encode() + b"\0" + _INT32.pack(value)


def int64(name: str, value: int) -> bytes:
    return b"\x12" + name.encode() + b"\0" + _INT64.pack(value)


def element(kind: int, name: str, value: bytes) -> bytes:
    """Any element: ``kind`` is BSON's number of the type, ``value`` its bytes."""
    return bytes([kind]) + name.encode() + b"\0" + value


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return _INT32.pack(len(body) + 5) + body + b"\0"


Value = str | bool | int


def decode(data: bytes, fields: dict[str, str]) -> dict[str, Value]:
    """The elements of ``data``, which must be exactly ``fields`` (name: kind) in that order. Raises ValueError."""
    found: dict[str, Value] = {}
    at = 4
    for name, kind in fields.items():
        end = data.index(0, at + 1)
        if (data[at + 1 : end].decode(), _KINDS.get(data[at])) != (name, kind):
            raise ValueError(f"field {name} ({kind}) is missing")
        found[name], at = _value(data, end + 1, kind)
    if at != len(data) - 1:
        raise ValueError("there are more fields than the format knows")
    return found


def _value(data: bytes, at: int, kind: str) -> tuple[Value, int]:
    if kind == "int32":
        return _INT32.unpack_from(data, at)[0], at + 4
    if kind == "int64":
        return _INT64.unpack_from(data, at)[0], at + 8
    if kind == "bool":
        if data[at] > 1:
            raise ValueError(f"a boolean is {data[at]}")
        return bool(data[at]), at + 1
    end = at + 4 + _INT32.unpack_from(data, at)[0]
    if not at + 4 < end < len(data) or data[end - 1] != 0:
        raise ValueError("a string does not end where it says")
    return data[at + 4 : end - 1].decode(), end


# --- documents of any kind -------------------------------------------------------------------------------------------

DOCUMENT, ARRAY, INT32, TIMESTAMP, INT64 = 0x03, 0x04, 0x10, 0x11, 0x12
_STRING, _BOOLEAN = 0x02, 0x08
_SMALLEST = 10
"""Bytes of a document that has but an ``_id``, of a kind without a value."""
FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_AFTER_NAME = bytes(FIXED.get(kind, -1) + 1 for kind in range(256))
"""By kind: from the end of the name to that of the element; 0 where it is of no fixed length."""
_MEASURED = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
"""Kinds that begin with their length, and what comes on top of it."""
_TIMESTAMP = struct.Struct("<II")


def timestamp(name: str, seconds: int, ordinal: int) -> bytes:
    return b"\x11" + name.encode() + b"\0" + _TIMESTAMP.pack(ordinal, seconds)


def embedded(name: str, value: bytes) -> bytes:
    return b"\x03" + name.encode() + b"\0" + value


class Element(NamedTuple):
    """One element of a document: its kind (BSON's own number), name, and where its value is in ``data``."""

    kind: int
    name: str
    data: bytes
    start: int
    end: int

    @property
    def raw(self) -> bytes:
        """The value's bytes."""
        return self.data[self.start : self.end]

    def text(self) -> str:
        """A string; "" for what is none."""
        return self.data[self.start + 4 : self.end - 1].decode() if self.kind == _STRING else ""

    def truth(self) -> bool:
        """Whether it is the boolean true."""
        return self.kind == _BOOLEAN and self.data[self.start] == 1

    def number(self) -> int | None:
        """A whole number of 32 or 64 bits; None for what is none."""
        if self.kind not in (INT32, INT64):
            return None
        found: int = (_INT32 if self.kind == INT32 else _INT64).unpack_from(self.data, self.start)[0]
        return found

    def moment(self) -> tuple[int, int] | None:
        """Seconds and ordinal of a timestamp; None for what is none."""
        if self.kind != TIMESTAMP:
            return None
        ordinal, seconds = _TIMESTAMP.unpack_from(self.data, self.start)
        return seconds, ordinal

    def elements(self) -> Iterator[Element]:
        """Those of a document inside; nothing for what is none."""
        return elements(self.data, self.start) if self.kind == DOCUMENT else iter(())


def elements(data: bytes, start: int = 0) -> Iterator[Element]:
    """The elements of the document at ``start``, in order. Raises ValueError for what is no BSON (bsonspec.org)."""
    if len(data) < start + 5:
        raise ValueError("a document is cut short")
    end = start + _INT32.unpack_from(data, start)[0]
    if not start + 5 <= end <= len(data) or data[end - 1] != 0:
        raise ValueError("a document does not end where it says")
    at, last, index, fixed_of = start + 4, end - 1, data.index, FIXED.get
    while at < last:  # every entry of a replay passes here several times
        kind, stop = data[at], index(0, at + 1, end)
        fixed = fixed_of(kind)
        after = _after(data, kind, stop + 1) if fixed is None else stop + 1 + fixed
        if after > last:
            raise ValueError("an element does not fit into its document")
        yield _make(Element, (kind, data[at + 1 : stop].decode(), data, stop + 1, after))
        at = after


_make = tuple.__new__


def _after(data: bytes, kind: int, at: int) -> int:
    """Where a value ends that is of no fixed length."""
    if (measured := _MEASURED.get(kind)) is not None:
        if at + 4 > len(data) or (length := _INT32.unpack_from(data, at)[0]) < 0:
            raise ValueError("an element is cut short")
        return int(at + length + measured)
    if kind == 0x0B:  # a regular expression: two strings that end with a zero
        return data.index(0, data.index(0, at) + 1) + 1
    raise ValueError(f"there is no kind {kind:#04x} in BSON")


def fields(document: bytes) -> dict[str, Element]:
    """The elements by name. Raises ValueError."""
    return {one.name: one for one in elements(document)}


Span = tuple[bytes, int, int, int]
"""An element in its document: its name, and where it begins (with its kind), its value begins, and it ends."""


def spans(data: bytes, start: int = 0) -> Iterator[Span]:
    """The same as ``elements``, for a third of the time."""
    if len(data) < start + 5:
        raise ValueError("a document is cut short")
    size_of = _INT32.unpack_from
    end = start + size_of(data, start)[0]
    if not start + 5 <= end <= len(data) or data[end - 1] != 0:
        raise ValueError("a document does not end where it says")
    at, last, index = start + 4, end - 1, data.index
    while at < last:
        kind, stop = data[at], index(0, at + 1, end)
        if fixed := _AFTER_NAME[kind]:
            after = stop + fixed
        elif kind == _STRING and stop + 5 <= last:
            after = stop + 5 + size_of(data, stop + 1)[0]
        else:
            after = _after(data, kind, stop + 1)
        if not stop < after <= last:
            raise ValueError("an element does not fit into its document")
        yield data[at + 1 : stop], at, stop + 1, after
        at = after


def first_element(data: bytes) -> Span:
    """The first of ``spans``; the rest is not looked at. Raises ValueError where there is none."""
    stop = data.index(0, 5)
    fixed = FIXED.get(data[4])
    after = _after(data, data[4], stop + 1) if fixed is None else stop + 1 + fixed
    if after >= len(data):
        raise ValueError("an element does not fit into its document")
    return data[5:stop], 4, stop + 1, after


def each(data: bytes) -> Iterator[bytes]:
    """The documents that stand one after the other in ``data``."""
    at, size_of = 0, _INT32.unpack_from
    while at < len(data):
        end = at + size_of(data, at)[0]
        yield data[at:end]
        at = end


def are_at_most(most: int, data: bytes) -> bool:
    """Whether no more documents stand one after the other in ``data``; few are looked at, where they are large."""
    at, count, size_of = 0, 0, _INT32.unpack_from
    while count + (len(data) - at) // _SMALLEST > most:
        if count > most:
            return False
        at += size_of(data, at)[0]
        count += 1
    return True


def inside(array: Element) -> list[bytes]:
    """The documents of an array of nothing else. Raises ValueError where there is another, or it is cut."""
    data, at, last = array.data, array.start + 4, array.end - 1
    found, index, size_of = list[bytes](), data.index, _INT32.unpack_from
    while at < last and data[at] == DOCUMENT:
        start = index(0, at + 1) + 1
        at = start + size_of(data, start)[0]
        found.append(data[start:at])
    if at != last or array.kind != ARRAY:
        raise ValueError("an array of documents has something else, or is cut short")
    return found
