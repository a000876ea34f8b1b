"""``$v: 2`` diffs of MongoDB's oplog, applied to a document's raw BSON exactly as the server does. Pure.

Sections of a document's diff: ``d`` fields that go, ``u`` fields that change in place, ``i`` fields that come at the
end, ``sNAME`` the diff of what is inside NAME. Of an array's (``a: true``): ``l`` its new length, ``uN`` and ``sN``
(mongo, ``db/update/document_diff_applier.cpp``). What does not fit is being replayed again: null stands in for it until
a later entry settles it, as on the server.
"""

from __future__ import annotations

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
    gone, changed, come, inside = _of_document(diff)
    others = {**gone, **changed, **come, **inside}
    kept = _HEAD
    pieces: list[bytes] = []
    replaced: set[bytes] = set()
    for name, begin, value, end in bson.spans(document):
        if name not in others:
            continue
        pieces.append(document[kept:begin])  # what nothing is said of stays as it is, in one piece
        kept = end
        if name in gone or name in come:
            continue
        if name in changed:
            pieces.append(changed[name])
            replaced.add(name)
        else:
            kind, raw = _inside((document[begin], document[value:end]), inside[name])
            pieces.append(bytes([kind]) + name + b"\0" + raw)
    pieces.append(document[kept:-1])
    if len(replaced) < len(changed):
        pieces += [changed[name] for name in changed if name not in replaced and name not in come]
    return bson.document(*pieces, *come.values())


Pieces = dict[bytes, bytes]
"""Elements of the document, or diffs of what is inside of them, by name."""


def _of_document(diff: bytes) -> tuple[Pieces, Pieces, Pieces, Pieces]:
    """What goes, whole elements that change, and that come, and diffs of what is inside."""
    gone: Pieces = {}  # to call dict[…]() takes five times as long
    changed: Pieces = {}
    come: Pieces = {}
    inside: Pieces = {}
    told = {b"d": gone, b"u": changed, b"i": come}
    for name, begin, value, end in bson.spans(diff):
        if diff[begin] != DOCUMENT:
            raise ValueError(f"a diff has no section {name.decode()} of kind {diff[begin]:#04x}")
        if (section := told.get(name)) is not None:
            for one, at, _, to in bson.spans(diff, value):
                section[one] = diff[at:to]
        elif name.startswith(b"s"):
            inside[name[1:]] = diff[value:end]
        else:
            raise ValueError(f"a diff has no section {name.decode()}")
    return gone, changed, come, inside


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
