"""The archives of a base into an empty database, several at a time, raw; each collection read back and compared."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

import xxhash

from onlyvips.core.archive import Documents
from onlyvips.core.capped import options_of
from onlyvips.core.changes import Create, Drop, Write
from onlyvips.core.little_bson import each
from onlyvips.core.restore import VIEW, Coming, RestorePlan, Source
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import TargetDatabase
from onlyvips.steps.marker import Marker
from onlyvips.steps.sound import Reader, Sound, read_object

_TOGETHER = 1 << 21
"""Bytes that a server is sent at a time, at least, but for the last ones."""
_MODULUS = 1 << 128


@dataclass
class Sum:
    """How many documents, and the sum of their hashes (``of``, below 2^128), the same in any order. ``doubled`` were
    in the archive once more, as a scan meets a document twice that moves; the replay settles which one stays."""

    of: Callable[[bytes], int] = xxhash.xxh3_128_intdigest
    documents: int = 0
    hash: int = 0
    doubled: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, documents: Iterable[bytes], doubled: int = 0) -> None:
        """So many more."""
        hashes = [*map(self.of, documents)]
        with self._lock:
            self.documents += len(hashes)
            self.hash = (self.hash + sum(hashes)) % _MODULUS
            self.doubled += doubled

    def merge(self, other: Sum) -> None:
        """All of another one more."""
        with self._lock:
            self.documents += other.documents
            self.hash = (self.hash + other.hash) % _MODULUS
            self.doubled += other.doubled


@dataclass
class _Waiting:
    """Documents of one collection that are sent together."""

    target: TargetDatabase
    name: str
    sum: Sum
    _runs: list[bytes] = field(default_factory=list)
    _size: int = 0

    def add(self, run: bytes) -> None:
        self._runs.append(run)
        self._size += len(run)
        if self._size >= _TOGETHER:
            self.insert()

    def insert(self) -> None:
        run, self._runs, self._size = b"".join(self._runs), [], 0
        if not run:
            return
        there, documents = set(self.target.insert(self.name, run)), each(run)
        came = (one for number, one in enumerate(documents) if number not in there) if there else documents
        self.sum.add(came, len(there))


@dataclass
class Load:
    """One base on its way into a target."""

    plan: RestorePlan
    target: TargetDatabase
    marker: Marker
    sound: Sound
    reader: Reader
    sums: dict[str, Sum] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """All that is not there yet. What an earlier run left unfinished is loaded anew from its beginning.

        Raises Permanent when a collection reads back otherwise than its archive says.
        """
        todo = {one.source: one for one in self.plan.coming if self._lacks(one)}
        for one in todo.values():
            self.target.apply([Drop(one.target), Create(one.target, options(one))])
            self.sums[one.source] = Sum()
        objects = [one for one in self.plan.archives if todo.keys() & set(_sources(one))]
        for name in (name for one in objects for name in _sources(one)):
            self._left[name] = self._left.get(name, 0) + 1
        with ThreadPoolExecutor(self.reader.workers) as pool:
            running = [pool.submit(self._object, one, todo) for one in objects]
            try:
                for done in as_completed(running):
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _lacks(self, one: Coming) -> bool:
        return one.record.type != VIEW and one.target not in self.marker.done

    def _object(self, source: Source, todo: dict[str, Coming]) -> None:
        names = [name for name in _sources(source) if name in todo]
        waiting = {name: _Waiting(self.target, todo[name].target, self.sums[name]) for name in names}

        def sink(found: Documents) -> None:
            if (one := waiting.get(f"{found.database}.{found.collection}")) is not None:
                one.add(found.data)

        store = self.sound.stores[source.key]
        if wrong := read_object(source, store, self.reader, "restoring", sink):
            raise Transient(
                f"{store.name}: {source.key} was good when it was checked, and is not now ({wrong}): what came of it "
                "is loaded anew when this restore is run again."
            )
        for one in waiting.values():
            one.insert()
        with self._lock:
            for name in names:
                self._left[name] -= 1
            ready = [todo[name] for name in names if not self._left[name]]
        for whole in ready:
            sum = self._compare(whole)
            self.marker.note_done(whole.target, sum.documents, sum.hash)

    def _compare(self, one: Coming) -> Sum:
        sum, found = self.sums[one.source], read_sum(self.target, one.target)
        if (found.documents, found.hash) != (sum.documents, sum.hash):
            raise Permanent(
                f"{one.target} reads back as {found.documents} documents with hash {found.hash:032x}; the archive of "
                f"{one.source} has {sum.documents} with {sum.hash:032x}: the target does not keep what it is given. "
                "See that nobody else writes there; run the restore again to load it anew."
            )
        return found


def read_sum(target: TargetDatabase, namespace: str) -> Sum:
    """Of every document that is there now."""
    found = Sum()
    for batch in target.documents(namespace):
        found.add(batch)
    return found


def distrust(marker: Marker, target: TargetDatabase) -> list[str]:
    """Collections that an earlier run loaded and compared, and that are otherwise now: they are loaded anew. Once the
    oplog is replayed on them nobody can tell."""
    if marker.replaying or marker.position:
        return []
    read = ((name, read_sum(target, name)) for name in marker.done)
    wrong = [name for name, found in read if (found.documents, found.hash) != marker.done[name]]
    for name in wrong:
        del marker.done[name]
    return wrong


def options(one: Coming) -> str:
    """The options of a collection or view as its metadata tells them, Extended JSON."""
    return json.dumps(options_of(one.record))


def views(plan: RestorePlan) -> list[Write]:
    """What makes the views, once the collections are there."""
    return [Create(one.target, options(one)) for one in plan.coming if one.record.type == VIEW]


def _sources(source: Source) -> list[str]:
    return [f"{one.database}.{one.collection}" for one in source.record.namespaces]
