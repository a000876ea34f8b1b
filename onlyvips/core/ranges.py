"""How a big collection is cut by ``_id``: ranges, and the rest that no range matches. Pure: raw BSON in and out.

A server compares ``_id`` with a bound only within the bound's own kind of BSON type (numbers with numbers, texts with
texts). So each kind gets ranges of its own, from below its lowest to above its highest value, and whatever else there
is (NaN, which no comparison matches; kinds that are rare or that we do not order) is in none of them: the rest is
``$nor`` of all ranges, asked of the same server in the same words, so together they are everything and nothing twice.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from onlyvips.core import little_bson as bson

_LENGTH = struct.Struct("<i")
_DOUBLE = struct.Struct("<d")
_INT64 = struct.Struct("<q")
_FIXED = {0x01: 8, 0x07: 12, 0x09: 8, 0x10: 4, 0x12: 8}
"""Bytes of a value, by BSON type: double, ObjectId, date, int32, int64."""
_TEXT, _BINARY = 0x02, 0x05
_HEADROOM = 0.8
"""Of an object's size: what a range is aimed at, for bounds come from samples."""

Kind = Literal["number", "text", "binary", "objectid", "date"]


@dataclass(frozen=True)
class Id:
    """An ``_id`` as BSON has it: its type and the bytes of its value."""

    type: int
    value: bytes


@dataclass(frozen=True)
class Sampled:
    """An ``_id`` of the collection, and how many bytes of documents it stands for."""

    id: Id
    weight: int


@dataclass(frozen=True)
class Range:
    """``_id`` from ``low`` to below ``high``, both of one kind; None: from the lowest, to the highest of its kind."""

    low: Id | None
    high: Id | None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("a range needs a bound")


UNKNOWN = Id(0, b"")
"""An ``_id`` that is no bound."""


# --- bounds ----------------------------------------------------------------------------------------------------------


def pieces_for(size: int, object_size: int) -> int:
    """Into how many ranges ``size`` bytes are cut, so that each is well below ``object_size``; two at least."""
    return max(2, math.ceil(size / (object_size * _HEADROOM)))


def cut(samples: Iterable[Sampled], pieces: int, *, texts: bool = True) -> tuple[Range, ...]:
    """About ``pieces`` ranges of about equal weight; none where no kind that can be ordered has a share worth one.

    Without ``texts`` no text is a bound: a collation orders them in a way of its own, and bounds in another order than
    the server's would overlap.
    """
    kinds: dict[Kind, list[tuple[Any, Sampled]]] = {}
    total = 0
    for sample in samples:
        total += sample.weight
        ordered = _order(sample.id)
        if ordered is not None and (texts or ordered[0] != "text"):
            kinds.setdefault(ordered[0], []).append((ordered[1], sample))
    found: list[Range] = []
    for _, members in sorted(kinds.items()):
        share = pieces * sum(sample.weight for _, sample in members) / total
        if share >= 0.5:
            found += _ranges(_bounds(sorted(members, key=lambda one: one[0]), max(1, round(share) - 1)))
    return tuple(found)


def _bounds(members: Sequence[tuple[Any, Sampled]], count: int) -> list[Id]:
    """At most ``count`` bounds, each above the one before, that cut sorted ``members`` into parts of equal weight."""
    step = sum(sample.weight for _, sample in members) / (count + 1)
    found: list[tuple[Any, Id]] = []
    passed = 0
    for key, sample in members:
        if passed >= step * (len(found) + 1) and (not found or key > found[-1][0]):
            found.append((key, sample.id))
        passed += sample.weight
    return [id for _, id in found[:count]] or [members[-1][1].id]


def _ranges(bounds: Sequence[Id]) -> list[Range]:
    return [Range(low, high) for low, high in pairwise([None, *bounds, None])]


def _order(id: Id) -> tuple[Kind, Any] | None:
    """The kind of an ``_id``, and what it is ordered by there, as the server does; None for what is no bound.

    Order of kinds: MongoDB's manual, "BSON comparison order". Binary: by length, subtype, bytes.
    """
    match id.type:
        case 0x01:
            number = _DOUBLE.unpack(id.value)[0]
            return ("number", number) if math.isfinite(number) else None
        case 0x10:
            return "number", _LENGTH.unpack(id.value)[0]
        case 0x12:
            return "number", _INT64.unpack(id.value)[0]
        case 0x09:
            return "date", _INT64.unpack(id.value)[0]
        case 0x07:
            return "objectid", id.value
        case 0x02:
            return "text", id.value[4:-1]
        case 0x05:
            return "binary", (_LENGTH.unpack_from(id.value)[0], id.value[4], id.value[5:])
    return None


# --- questions -------------------------------------------------------------------------------------------------------


def matching(one: Range) -> bytes:
    """The query of a range, as BSON."""
    return bson.document(_condition(one))


def rest(ranges: Sequence[Range]) -> bytes:
    """The query of everything that no range matches, as BSON."""
    each = b"".join(bson.element(0x03, str(number), matching(one)) for number, one in enumerate(ranges))
    return bson.document(bson.element(0x04, "$nor", bson.document(each)))


def _condition(one: Range) -> bytes:
    bounds = [(name, id) for name, id in (("$gte", one.low), ("$lt", one.high)) if id is not None]
    return bson.element(0x03, "_id", bson.document(*(bson.element(id.type, name, id.value) for name, id in bounds)))


# --- samples ---------------------------------------------------------------------------------------------------------


def id_of(data: bytes, at: int = 0) -> Id | None:
    """The ``_id`` of the document at ``at``; None when it is not its first field, or of a type that is no bound."""
    if data[at + 5 : at + 9] != b"_id\0":
        return None
    kind, start = data[at + 4], at + 9
    if kind in (_TEXT, _BINARY):
        length = _LENGTH.unpack_from(data, start)[0] + (4 if kind == _TEXT else 5)
    elif kind in _FIXED:
        length = _FIXED[kind]
    else:
        return None
    return Id(kind, bytes(data[start : start + length]))


@dataclass
class Strides:
    """Samples of a collection that is read once: an ``_id`` every so many bytes of documents.

    At most ``most`` are kept, however much is read: when there are more, every second one goes and strides double.
    """

    most: int
    _stride: int = 512
    _passed: int = 0
    _kept: list[tuple[int, Id | None]] = field(default_factory=list)

    def add(self, batch: bytes) -> None:
        """Whole documents, as a server sends them."""
        at, size = 0, len(batch)
        while at + 5 <= size:
            if not self._kept or self._passed - self._kept[-1][0] >= self._stride:
                self._keep(id_of(batch, at))
            length = _LENGTH.unpack_from(batch, at)[0]
            if length < 5:
                raise ValueError(f"{at} bytes on, a document cannot be {length} bytes long")
            self._passed += length
            at += length

    def _keep(self, id: Id | None) -> None:
        self._kept.append((self._passed, id))
        if len(self._kept) >= self.most:
            del self._kept[1::2]
            self._stride *= 2

    def samples(self) -> list[Sampled]:
        """Those that are kept, each for the bytes up to the next."""
        ends = [*(passed for passed, _ in self._kept[1:]), self._passed]
        return [Sampled(id or UNKNOWN, end - at) for (at, id), end in zip(self._kept, ends, strict=False)]
