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
from onlyvips.core.changes import Change, Create, Drop, Index, Operation, Put, Remove, Rename
from onlyvips.core.little_bson import ARRAY, Element
from onlyvips.core.manifest import moment
from onlyvips.core.oplog_entry import Entry, Logged, Position, Transactions
from onlyvips.errors import Refused

_NO_WRITES = ("n", "km", "ci", "cd", "cu")
_NO_COMMANDS = ("startIndexBuild", "abortIndexBuild", "setMultikeyMetadata", "dropIdent", "dbCheck")
_DROPS_INDEXES = ("dropIndexes", "dropIndex", "deleteIndexes", "deleteIndex")
_NO_OPTIONS = ("create", "idIndex", "uuid", "recordIdsReplicated")
_BEFORE_ID = 5
"""Bytes from the beginning of an element ``_id`` to its value."""
Fields = Mapping[str, Element]


class Untranslatable(Refused):
    """An entry that no write does again exactly."""


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

    ``indexes`` are those that each collection (of the target) must have at the end, by name.
    """

    names: Names
    start: Position
    until: Position
    indexes: dict[str, dict[str, bytes | str]] = field(default_factory=dict)
    seen: Position | None = None
    entries: int = 0
    _transactions: Transactions = field(default_factory=Transactions)
    _open: dict[bytes, list[Fields]] = field(default_factory=dict)

    def translate(self, logged: Logged) -> list[Operation]:
        """What an entry does. Raises Untranslatable."""
        entry, fields = logged
        if not self.start <= entry.position <= self.until or (self.seen and entry.position <= self.seen):
            return []
        self.seen = entry.position
        self.entries += 1
        try:
            return [done for one in self._committed(entry, fields) for done in self._operation(one)]
        except (ValueError, KeyError, IndexError) as error:
            raise Untranslatable(
                f"The entry {entry.edge.ts} of the oplog cannot be replayed: {error}. Nothing of it was written. What "
                f"was before it can be had: --at {moment(entry.position.seconds - 1)}."
            ) from error

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
        target = self.names.target(namespace)
        if target is None:
            return
        if namespace.partition(".")[2].startswith(("system.views", "system.buckets.")):
            raise ValueError(f"it changes a view or a time series ({namespace})")
        yield _write(op, target, fields)

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


def _write(op: str, target: str, fields: Fields) -> Put | Remove | Change:
    what = fields["o"].raw
    if op == "i":
        return Put(target, id_of(what), what)
    if op == "d":
        return Remove(target, id_of(what))
    if op != "u":
        raise ValueError(f"there is no operation {op}")
    told, id = bson.fields(what), id_of(fields["o2"].raw)
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
    for one in bson.elements(document):
        if one.name == "_id":
            return bson.document(document[one.start - _BEFORE_ID : one.end])
    raise ValueError("a document has no _id")


def _with_id(id: bytes, document: bytes) -> bytes:
    return bson.document(id[4:-1], document[4:-1])


def _document(elements: Iterator[Element]) -> bytes:
    return bson.document(*(bson.element(one.kind, one.name, one.raw) for one in elements))


def _array(one: Element) -> list[Element]:
    return list(bson.elements(one.raw)) if one.kind == ARRAY else []
