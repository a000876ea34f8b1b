"""``$v: 2`` diffs of MongoDB's oplog, applied to a document's raw BSON exactly as the server does. Pure.

Sections of a document's diff: ``d`` fields that go, ``u`` fields that change in place, ``i`` fields that come at the
end, ``sNAME`` the diff of what is inside NAME. Of an array's (``a: true``): ``l`` its new length, ``uN`` and ``sN``
(mongo, ``db/update/document_diff_applier.cpp``). What does not fit is being replayed again: null stands in for it until
a later entry settles it, as on the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onlyvips.core import little_bson as bson
from onlyvips.core.little_bson import ARRAY, DOCUMENT, Element

_NULL = 0x0A
_HEAD = 4
"""Bytes before a document's first element."""
Value = tuple[int, bytes]
"""An element's kind and the bytes of its value."""
_NOTHING: Value = (_NULL, b"")


def apply_diff(document: bytes, diff: bytes) -> bytes:
    """The document after ``diff``. Raises ValueError for a diff of a kind that is not known."""
    told = _of_document(diff)
    elements, replaced, at = list[bytes](), set[str](), _HEAD
    for one in bson.elements(document):
        begin, at, name = at, one.end, one.name
        if name in told.gone or name in told.come:
            continue
        if name in told.changed:
            elements.append(bson.element(told.changed[name][0], name, told.changed[name][1]))
            replaced.add(name)
        elif name in told.inside:
            kind, raw = _inside((one.kind, one.raw), told.inside[name])
            elements.append(bson.element(kind, name, raw))
        else:
            elements.append(document[begin:at])
    last = {**told.changed, **told.come}
    elements += [bson.element(kind, name, raw) for name, (kind, raw) in last.items() if name not in replaced]
    return bson.document(*elements)


@dataclass
class _Told:
    gone: set[str] = field(default_factory=set)
    changed: dict[str, Value] = field(default_factory=dict)
    come: dict[str, Value] = field(default_factory=dict)
    inside: dict[str, bytes] = field(default_factory=dict)


def _of_document(diff: bytes) -> _Told:
    told = _Told()
    for section in bson.elements(diff):
        if section.kind != DOCUMENT:
            raise ValueError(f"a diff has no section {section.name} of kind {section.kind:#04x}")
        if section.name == "d":
            told.gone |= {one.name for one in section.elements()}
        elif section.name == "u":
            told.changed |= {one.name: (one.kind, one.raw) for one in section.elements()}
        elif section.name == "i":
            told.come |= {one.name: (one.kind, one.raw) for one in section.elements()}
        elif section.name.startswith("s"):
            told.inside[section.name[1:]] = section.raw
        else:
            raise ValueError(f"a diff has no section {section.name}")
    return told


def _inside(value: Value, diff: bytes) -> Value:
    kind, raw = value
    first = next(bson.elements(diff), None)
    array = first is not None and first.name == "a" and first.truth()
    if kind == ARRAY and array:
        return ARRAY, _apply_to_array(raw, diff)
    if kind == DOCUMENT and not array:
        return DOCUMENT, apply_diff(raw, diff)
    return _NOTHING


def _apply_to_array(array: bytes, diff: bytes) -> bytes:
    length, changes = _of_array(diff)
    values: list[Value] = [(one.kind, one.raw) for one in bson.elements(array)][:length]
    size = max([len(values), *(at + 1 for at in changes)]) if length is None else length
    values += [_NOTHING] * (size - len(values))
    for at, change in changes.items():
        if at < size:
            values[at] = (change.kind, change.raw) if change.name[0] == "u" else _inside(values[at], change.raw)
    return bson.document(*(bson.element(kind, str(at), raw) for at, (kind, raw) in enumerate(values)))


def _of_array(diff: bytes) -> tuple[int | None, dict[int, Element]]:
    length, changes = None, dict[int, Element]()
    for one in bson.elements(diff):
        if one.name == "l" and one.number() is not None:
            length = one.number()
        elif one.name[:1] in ("u", "s") and one.name[1:].isdecimal():
            changes[int(one.name[1:])] = one
        elif one.name != "a":
            raise ValueError(f"the diff of an array has no section {one.name}")
    return length, changes
