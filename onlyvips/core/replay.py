"""Entries of the oplog as writes into another database, exactly, in order; what cannot be exact is refused. Pure.

Dialects: MongoDB 5 and later (``$v: 2``, replacements, transactions, applyOps, commands), and FerretDB (whole
documents under ``$v: 1`` ``$set``). As mongorestore does it (mongo-tools, ``mongorestore/oplog.go``), indexes are only
remembered: they are built after the replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from onlyvips.core import little_bson as bson
from onlyvips.core.capped import TEMPORARY
from onlyvips.core.changes import Change, Create, Drop, Index, Operation, Put, Remove, Rename
from onlyvips.core.crud import Crud
from onlyvips.core.little_bson import ARRAY, Element
from onlyvips.core.manifest import moment
from onlyvips.core.oplog_entry import Entry, Logged, Position, Transactions
from onlyvips.errors import Refused

_NO_WRITES = ("n", "km", "ci", "cd", "cu")
_NO_COMMANDS = ("startIndexBuild", "abortIndexBuild", "setMultikeyMetadata", "dropIdent", "dbCheck")
_DROPS_INDEXES = ("dropIndexes", "dropIndex", "deleteIndexes", "deleteIndex")
_NO_OPTIONS = ("create", "idIndex", "uuid", "recordIdsReplicated", TEMPORARY)
"""Of a ``create`` in the oplog: what an ordinary ``create`` is not told."""
_ID, _EMPTY = b"_id", 5
_FIRST, _AFTER_FIRST = _ID + b"\0", 9
_HEADS = {size: (size + _AFTER_FIRST + 1).to_bytes(4, "little") for size in bson.FIXED.values()}
"""How ``{_id: …}`` begins, by the size of a value of fixed length."""
DIFF = b"\x10$v\0\x02\0\0\0\x03diff\0"
"""How an update by a diff begins, after its length."""
_DIFF_AT = 4 + len(DIFF)
Fields = Mapping[str, Element]
_make = tuple.__new__


class Untranslatable(Refused):
    """An entry that no write does again exactly."""


def untranslatable(position: Position, error: Exception) -> Untranslatable:
    """What to say of the entry there."""
    return Untranslatable(
        f"The entry {position.seconds}:{position.ordinal} of the oplog cannot be replayed: {error}. Nothing of "
        f"it was written. What was before it can be had: --at {moment(position.seconds - 1)}."
    )


OURS = "onlyvips_restore"
"""How collections begin that a restore has beside the data while it goes on: no backup has them."""


@dataclass(frozen=True)
class Names:
    """Which namespaces come back, and as what: pairs of ``DB.COLLECTION``, or ``DB.*`` for all of one database."""

    pairs: tuple[tuple[str, str], ...]

    def target(self, namespace: str) -> str | None:
        """What it is called in the target; None for what does not come back, as what a restore itself wrote."""
        database, _, collection = namespace.partition(".")
        if collection.startswith(OURS):
            return None
        for source, target in self.pairs:
            if source == namespace:
                return target
            if source == f"{database}.*" and collection:
                return f"{target.removesuffix('*')}{collection}"
        return None

    def touches(self, database: str) -> bool:
        """Whether anything of it comes back."""
        return any(source.partition(".")[0] == database for source, _ in self.pairs)


def indexes_of(metadata: str) -> dict[str, bytes | str]:
    """The indexes that a manifest tells of a collection, by name, but for that of ``_id``."""
    found = json.loads(metadata).get("indexes", [])
    return {one["name"]: json.dumps(one) for one in found if one["name"] != "_id_"}


@dataclass
class Translator:
    """Takes entries in order; those up to ``until`` from ``start`` on become operations. An entry that comes again (a
    slice begins with the last one of the slice before) is passed by.

    ``indexes`` are those that each collection (of the target) must have at the end, by name; ``capped`` are collections
    that lose their oldest documents by themselves, or that did.
    """

    names: Names
    start: Position
    until: Position
    indexes: dict[str, dict[str, bytes | str]] = field(default_factory=dict)
    capped: set[str] = field(default_factory=set)
    seen: Position | None = None
    entries: int = 0
    _transactions: Transactions = field(default_factory=Transactions)
    _open: dict[bytes, list[Fields]] = field(default_factory=dict)
    _targets: dict[str, str] = field(default_factory=dict)

    def translate(self, logged: Logged | Crud) -> list[Operation]:
        """What an entry does. Raises Untranslatable."""
        position = logged.position
        if not self.start <= position <= self.until or (self.seen and position <= self.seen):
            return []
        self.seen = position
        self.entries += 1
        try:
            if isinstance(logged, Crud):
                return self._written(logged.op, logged.namespace, logged.what, logged.which)
            return [done for one in self._committed(*logged) for done in self._operation(one)]
        except (ValueError, KeyError, IndexError) as error:
            raise untranslatable(position, error) from error

    def _written(self, op: str, namespace: str, what: bytes, which: bytes) -> list[Operation]:
        """What an insert, update or delete does."""
        if (target := self._targets.get(namespace)) is None:
            if (target := self.names.target(namespace)) is None:
                return []
            if namespace.partition(".")[2].startswith(("system.views", "system.buckets.")):
                raise ValueError(f"it changes a view or a time series ({namespace})")
            self._targets[namespace] = target
        return [_write(op, target, what, which)]

    def _committed(self, entry: Entry, fields: Fields) -> list[Fields]:
        """What takes effect with this entry: of a transaction, all of it with its end."""
        self._transactions.see(entry)
        if entry.op != "c" or not entry.role:
            return [fields]
        if self._transactions.torn:
            raise ValueError("a transaction goes on whose beginning is not there")
        inside: list[Fields] = [fields] if entry.command == "applyOps" else []
        before = self._open.pop(entry.transaction, [])
        if entry.role == "part":
            self._open[entry.transaction] = before + inside
        return before + inside if entry.role == "end" else []

    def _operation(self, fields: Fields) -> Iterator[Operation]:
        op, namespace = fields["op"].text(), fields["ns"].text()
        if op in _NO_WRITES:
            return
        if op == "c":
            yield from self._command(namespace.partition(".")[0], fields["o"])
            return
        which = fields["o2"].raw if "o2" in fields else b""
        yield from self._written(op, namespace, fields["o"].raw, which)

    def _command(self, database: str, what: Element) -> Iterator[Operation]:
        inside = list(what.elements())
        name = inside[0].name
        if name == "applyOps":
            for one in _array(inside[0]):
                yield from self._operation(bson.fields(one.raw))
        elif name == "renameCollection":
            yield from self._rename(bson.fields(what.raw))
        elif name not in _NO_COMMANDS and self.names.touches(database):
            yield from self._of_collection(database, name, inside)

    def _rename(self, told: Fields) -> Iterator[Operation]:
        old, new = told["renameCollection"].text(), told["to"].text()
        source, target = self.names.target(old), self.names.target(new)
        if (source is None) != (target is None):
            raise ValueError(f"{old} was renamed to {new}, and only one of them comes back")
        if source is None or target is None:
            return
        self.indexes[target] = self.indexes.pop(source, {})
        if source in self.capped:
            self.capped.add(target)
        yield Rename(source, target, "dropTarget" in told and told["dropTarget"].raw != b"\0")

    def _of_collection(self, database: str, name: str, inside: list[Element]) -> Iterator[Operation]:
        told = {one.name: one for one in inside}
        namespace = f"{database}.{inside[0].text()}"
        target = self.names.target(namespace)
        if target is None and inside[0].text():
            return
        if target is None or name not in ("create", "drop", "createIndexes", "commitIndexBuild", *_DROPS_INDEXES):
            raise ValueError(f"no replay can do {name} ({namespace.removesuffix('.')})")
        indexes = self.indexes.setdefault(target, {})
        if name == "create":
            if "capped" in told and told["capped"].truth():
                self.capped.add(target)
            yield _create(target, told)
        elif name == "drop":
            self.indexes.pop(target)
            yield Drop(target)
        elif name == "createIndexes":
            indexes[told["name"].text()] = _document(one for one in inside if one.name != "createIndexes")
        elif name == "commitIndexBuild":
            indexes |= {bson.fields(one.raw)["name"].text(): one.raw for one in _array(told["indexes"])}
        elif told["index"].text() == "*":
            indexes.clear()
        else:
            indexes.pop(told["index"].text(), None)

    def indexing(self) -> list[Index]:
        """What is to be built at the end."""
        return [Index(namespace, spec) for namespace, specs in self.indexes.items() for spec in specs.values()]


def _write(op: str, target: str, what: bytes, which: bytes) -> Put | Remove | Change:
    if op == "i":
        return _make(Put, (target, id_of(what), what))
    if op == "d":
        return _make(Remove, (target, id_of(what)))
    if op != "u":
        raise ValueError(f"there is no operation {op}")
    if not which:
        raise ValueError("an update has no o2, which says of what document it is")
    id = id_of(which)
    size = int.from_bytes(what[_DIFF_AT : _DIFF_AT + 4], "little")
    if what.startswith(DIFF, 4) and size == len(what) - _DIFF_AT - 1:
        return _make(Change, (target, id, what[_DIFF_AT:-1]))
    told = bson.fields(what)
    if not any(name.startswith("$") for name in told):
        return Put(target, id, what if "_id" in told else _with_id(id, what))
    version = told["$v"].number() if "$v" in told else None
    if version == 2 and set(told) == {"$v", "diff"}:
        return Change(target, id, told["diff"].raw)
    if version == 1 and set(told) == {"$v", "$set"} and "_id" in bson.fields(told["$set"].raw):
        return Put(target, id, told["$set"].raw)  # FerretDB: the whole new document
    raise ValueError(f"an update by {', '.join(told)} is that of a server before MongoDB 5.0")


def _create(target: str, told: Fields) -> Create:
    if "viewOn" in told or "timeseries" in told:
        raise ValueError(f"it makes a view or a time series ({target})")
    return Create(target, _document(one for name, one in told.items() if name not in _NO_OPTIONS))


def id_of(document: bytes) -> bytes:
    """``{_id: …}`` of a document. Raises ValueError for one without."""
    if len(document) <= _EMPTY:
        raise ValueError("a document has no _id")
    if document.startswith(_FIRST, 5) and (size := bson.FIXED.get(document[4])) is not None:
        end = _AFTER_FIRST + size  # as nearly all are
        if end < len(document):
            return document if end + 1 == len(document) else _HEADS[size] + document[4:end] + b"\0"
    name, begin, _, end = bson.first_element(document)
    if name != _ID:  # the server keeps it first; others may not
        found = (one for one in bson.spans(document) if one[0] == _ID)
        if (place := next(found, None)) is None:
            raise ValueError("a document has no _id")
        _, begin, _, end = place
    if end - begin == len(document) - _EMPTY:
        return document  # it has nothing else
    return bson.document(document[begin:end])


def _with_id(id: bytes, document: bytes) -> bytes:
    return bson.document(id[4:-1], document[4:-1])


def _document(elements: Iterator[Element]) -> bytes:
    return bson.document(*(bson.element(one.kind, one.name, one.raw) for one in elements))


def _array(one: Element) -> list[Element]:
    return list(bson.elements(one.raw)) if one.kind == ARRAY else []
