"""What a restore writes into a database: any run of these may be done twice, in its order, with the same end. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from onlyvips.core.diff import apply_diff


class Put(NamedTuple):
    """This document, whole, in the place of any with its ``_id``. ``id`` is the document ``{_id: …}`` in raw BSON."""

    namespace: str
    id: bytes
    document: bytes


class Remove(NamedTuple):
    """No document with this ``_id``."""

    namespace: str
    id: bytes


@dataclass(frozen=True)
class Create:
    """A collection or view with these ``options``: raw BSON, or Extended JSON; nothing where it is already there."""

    namespace: str
    options: bytes | str = "{}"


@dataclass(frozen=True)
class Drop:
    """No such collection."""

    namespace: str


@dataclass(frozen=True)
class Rename:
    """``namespace`` is called ``to`` from now on; nothing where it is not there (any more)."""

    namespace: str
    to: str
    over: bool = False


@dataclass(frozen=True)
class Index:
    """An index, by its specification as ``listIndexes`` gives it: raw BSON, or Extended JSON."""

    namespace: str
    spec: bytes | str


Write = Put | Remove | Create | Drop | Rename | Index
"""What a target takes."""


class Change(NamedTuple):
    """A ``$v: 2`` diff of one document: it can only be written once that document is known."""

    namespace: str
    id: bytes
    diff: bytes


Operation = Write | Change
Key = tuple[str, bytes]
"""Namespace and ``{_id: …}``."""


@dataclass
class Batch:
    """What some operations in a row make of each document: of ``known`` (None: removed) the outcome, of ``changed``
    the diffs to be applied to what is there."""

    known: dict[Key, bytes | None] = field(default_factory=dict)
    changed: dict[Key, list[bytes]] = field(default_factory=dict)
    size: int = 0

    def add(self, operation: Put | Remove | Change) -> None:
        """The next one."""
        key = operation.namespace, operation.id
        if isinstance(operation, Change):
            self.size += len(operation.diff)
            if key not in self.known:
                self.changed.setdefault(key, []).append(operation.diff)
            elif (before := self.known[key]) is not None:
                self.known[key] = apply_diff(before, operation.diff)
            return
        self.changed.pop(key, None)
        self.known[key] = operation.document if isinstance(operation, Put) else None
        self.size += len(self.known[key] or b"") + len(operation.id)

    def __len__(self) -> int:
        return len(self.known) + len(self.changed)

    def wanted(self) -> dict[str, list[bytes]]:
        """Which documents must be known, by namespace."""
        found: dict[str, list[bytes]] = {}
        for namespace, id in self.changed:
            found.setdefault(namespace, []).append(id)
        return found

    def settle(self, key: Key, document: bytes) -> None:
        """What one of the wanted is."""
        for diff in self.changed.pop(key):
            document = apply_diff(document, diff)
        self.known[key] = document

    def writes(self) -> list[Put | Remove]:
        """One write a document; what was wanted and is not there is none."""
        return [
            Remove(namespace, id) if document is None else Put(namespace, id, document)
            for (namespace, id), document in self.known.items()
        ]
