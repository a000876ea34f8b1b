"""What must be in the target after a restore, out of the objects alone: nothing that the restore did or saw is used.

Of each collection the documents that no entry of the oplog touches are a count and a sum of hashes; those that some
entry touches are held, and the entries done to them in memory, one by one.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from onlyvips.core.archive import Documents
from onlyvips.core.changes import Change, Create, Drop, Operation, Put, Remove, Rename
from onlyvips.core.diff import apply_diff
from onlyvips.core.little_bson import each
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, id_of
from onlyvips.core.restore import NOWHERE, VIEW, RestorePlan, Source
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import ObjectStore, TargetDatabase
from onlyvips.steps.load import Sum
from onlyvips.steps.opened import Sink
from onlyvips.steps.sound import Reader, read_object

_SIZE = 16
"""Bytes of a document's hash, and of that which stands for an ``_id`` in memory."""
Sums = Mapping[str, tuple[int, str]]
"""Collection of the target → documents, and the sum of their hashes in hex."""


@dataclass
class Collection:
    """One collection: the sum of what no entry touches, and what some entry does, by the hash of its ``_id``."""

    untouched: Sum = field(default_factory=lambda: Sum(_number))
    touched: dict[bytes, bytes] = field(default_factory=dict)

    def join(self, part: Collection) -> None:
        """All of a part; of a document that was read twice the first one stays, an entry settles it."""
        for id, document in part.touched.items():
            self.touched.setdefault(id, document)
        self.untouched.merge(part.untouched)


@dataclass(frozen=True)
class Attempt:
    """One reading of one copy: ``take`` is given what is inside, ``keep`` called once it is known to be good."""

    take: Sink
    keep: Callable[[], None]


@dataclass
class Expectation:
    """Computes it for one plan."""

    plan: RestorePlan
    reader: Reader
    collections: dict[str, Collection] = field(default_factory=dict)
    _touched: set[bytes] = field(default_factory=set)
    _good: dict[str, ObjectStore] = field(default_factory=dict)
    _noting: Translator | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def compute(self) -> Sums:
        """Read every object, and do what the entries say. Raises Permanent where that cannot be, Transient where no
        copy of an object is good now."""
        self.collections = {one.target: Collection() for one in self.plan.coming if one.record.type != VIEW}
        self._noting, self._good, self._touched = None, {}, set()
        for source in self.plan.logs:
            self._good[source.key] = self._first_good(source, self._note)
        with ThreadPoolExecutor(self.reader.workers) as pool:
            running = {one.key: pool.submit(self._first_good, one, self._sort) for one in self.plan.archives}
            self._good |= {key: done.result() for key, done in running.items()}
        self._replay()
        for one in self.collections.values():
            one.untouched.add(one.touched.values())
        return {name: _told(one.untouched) for name, one in self.collections.items()}

    @property
    def used(self) -> Counter[str]:
        """At how many objects each destination was read."""
        return Counter(store.name for store in self._good.values())

    def _translator(self) -> Translator:
        return Translator(self.plan.names, self.plan.start, self.plan.until or NOWHERE)

    # --- reading: what a copy that turns out to be bad said is forgotten

    def _first_good(self, source: Source, begin: Callable[[], Attempt]) -> ObjectStore:
        wrong = list[str]()
        for store in (self.reader.stores[name] for name in source.destinations if name in self.reader.stores):
            attempt = begin()
            try:
                why = read_object(source, store, self.reader, "verifying", attempt.take)
            except (Permanent, Transient) as error:
                why = str(error)
            if not why:
                attempt.keep()
                return store
            wrong.append(f"{store.name}: {source.key} {why}")
        raise Transient(f"What must be there cannot be known: {'; '.join(wrong) or f'nobody has {source.key}'}.")

    def _note(self) -> Attempt:
        """Which documents are touched, of whatever collection: too many are held rather than too few."""
        translator, touched = copy.deepcopy(self._noting or self._translator()), set[bytes]()

        def take(found: Documents) -> None:
            for operation in (one for entry in found.entries for one in translator.translate(entry)):
                if isinstance(operation, Put | Remove | Change):
                    touched.add(_hash(operation.id))

        def keep() -> None:
            self._noting = translator
            self._touched.update(touched)

        return Attempt(take, keep)

    def _sort(self) -> Attempt:
        names = {one.source: one.target for one in self.plan.coming if one.record.type != VIEW}
        found = dict[str, Collection]()

        def take(documents: Documents) -> None:
            if target := names.get(f"{documents.database}.{documents.collection}"):
                self._divide(found.setdefault(target, Collection()), documents.data)

        def keep() -> None:
            with self._lock:
                for target, part in found.items():
                    self.collections[target].join(part)

        return Attempt(take, keep)

    def _divide(self, into: Collection, data: bytes) -> None:
        rest = list[bytes]()
        for document in each(data):
            if (id := _hash(id_of(document))) in self._touched:
                into.touched.setdefault(id, document)
            else:
                rest.append(document)
        into.untouched.add(rest)

    # --- the entries

    def _replay(self) -> None:
        translator = self._translator()

        def take(found: Documents) -> None:
            for entry in found.entries:
                for operation in translator.translate(entry):
                    self._do(operation, translator.seen or NOWHERE)

        for source in self.plan.logs:
            if wrong := read_object(source, self._good[source.key], self.reader, "verifying", take):
                raise Transient(f"{source.key} was good a moment ago, and is not now ({wrong}).")

    def _do(self, operation: Operation, at: Position) -> None:
        if isinstance(operation, Put | Remove | Change):
            held = self.collections.setdefault(operation.namespace, Collection()).touched
            _write(held, operation, fuzzy=at <= self.plan.fuzzy_until)
        elif isinstance(operation, Create):
            self.collections.setdefault(operation.namespace, Collection())
        elif isinstance(operation, Drop):
            self.collections.pop(operation.namespace, None)
        elif isinstance(operation, Rename) and operation.namespace in self.collections:
            self.collections[operation.to] = self.collections.pop(operation.namespace)


def read_back(plan: RestorePlan, target: TargetDatabase) -> Sums:
    """What is in the target's database now, all of it but views."""
    views = {one.target for one in plan.coming if one.record.type == VIEW}
    found = dict[str, tuple[int, str]]()
    for name in (f"{database}.{one}" for database in plan.databases for one in target.collections(database)):
        if name in views:
            continue
        sum = Sum(_number)
        for batch in target.documents(name):
            sum.add(batch)
        found[name] = _told(sum)
    return found


def _write(held: dict[bytes, bytes], operation: Put | Remove | Change, *, fuzzy: bool) -> None:
    id = _hash(operation.id)
    if isinstance(operation, Put):
        held[id] = operation.document
    elif isinstance(operation, Remove):
        held.pop(id, None)
    elif id in held:
        held[id] = apply_diff(held[id], operation.diff)
    elif not fuzzy:
        raise Permanent(
            f"The oplog changes a document of {operation.namespace} that is not there after the base's window, so base "
            "and slices do not fit each other: keep them, and take a new base."
        )


def _hash(id: bytes) -> bytes:
    return hashlib.blake2b(id, digest_size=_SIZE).digest()


def _number(document: bytes) -> int:
    """Its hash, as the record of a drill has it (docs/formats/drill.md)."""
    return int.from_bytes(hashlib.blake2b(document, digest_size=_SIZE).digest(), "little")


def _told(sum: Sum) -> tuple[int, str]:
    return sum.documents, f"{sum.hash:032x}"
