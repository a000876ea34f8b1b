"""What a run has done of a backup so far, kept beside its objects: so that a retry of the run goes on with it.

``journal/begun.json`` is written before the first object, ``journal/OBJECT.json`` once an object was read back. They
make no backup: only the manifest does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from onlyvips.core.manifest import MANIFEST_KEY, CopiedObject, ObjectRecord, prefix
from onlyvips.core.strict_json import BadManifest, from_json, to_json
from onlyvips.errors import NotFound, OnlyVipsError, Permanent, Transient
from onlyvips.ports import ObjectStore
from onlyvips.steps.copies import Destinations, hash_of, put_once

T = TypeVar("T")
_BEGUN = "journal/begun.json"


@dataclass(frozen=True)
class Begun:
    """A backup that the run ``run`` began: ``keys`` are its objects, ``state`` what its source must remember."""

    run: str
    environment: str
    kind: str
    id: str
    epoch: int
    started: float
    keys: tuple[str, ...]
    state: str = ""
    timeline: str = ""

    @property
    def place(self) -> str:
        """Where it is in every destination."""
        return prefix(self.environment, self.kind, self.id, self.epoch, self.timeline)


@dataclass(frozen=True)
class Held:
    """One destination that had the object, read back and equal."""

    destination: str
    copy: CopiedObject


@dataclass(frozen=True)
class Entry:
    """One object that is done."""

    record: ObjectRecord
    held: tuple[Held, ...]


class Journal:
    """The journal of one backup, in all its destinations."""

    def __init__(self, destinations: Destinations, place: str) -> None:
        self._destinations, self._place = destinations, place

    def begin(self, begun: Begun) -> None:
        """Say what will be written, before it is. Who does not take it is dropped; raises NoDestination."""
        self._put(_BEGUN, to_json(begun))

    def record(self, record: ObjectRecord, held: dict[str, CopiedObject]) -> None:
        """Say that an object is done. Raises NoDestination."""
        entry = Entry(record, tuple(Held(name, copy) for name, copy in held.items()))
        self._put(_entry_key(record.key), to_json(entry))

    def look_up(self, key: str, check: Callable[[], None]) -> tuple[ObjectRecord, dict[str, CopiedObject]] | None:
        """The object as an earlier attempt wrote it, read back from every destination; None when there is no such.

        A destination whose bytes are not those, or that missed them then, is dropped: a repair finishes it. ``check``
        is called while bytes are read. Raises what a destination raises that cannot say whether it has an entry.
        """
        found = next(filter(None, (self._entry(store, key) for store in self._destinations.alive())), None)
        if found is None:
            return None
        held = {one.destination: one.copy for one in found.held}
        alive = self._destinations.alive()
        with ThreadPoolExecutor(max(1, len(alive))) as pool:
            for store, why in zip(alive, pool.map(lambda store: self._wrong(store, found, check), alive), strict=True):
                if why or store.name not in held:
                    told = why or "was not there then"
                    self._destinations.drop(store.name, f"it lacks {key} as an earlier attempt wrote it ({told}).")
        self._destinations.require_one()
        return found.record, held

    def _wrong(self, store: ObjectStore, entry: Entry, check: Callable[[], None]) -> str:
        record = entry.record
        try:
            back = hash_of(_watched(store.read(self._place + record.key), check))
        except (NotFound, Transient, Permanent) as error:
            check()  # what ends the backup is no fault of the destination
            return str(error)
        return "" if back == (record.size, record.sha256) else f"{back[0]} bytes with SHA-256 {back[1]}"

    def _entry(self, store: ObjectStore, key: str) -> Entry | None:
        try:
            return from_json(b"".join(store.read(self._place + _entry_key(key))), Entry)
        except (NotFound, BadManifest):
            return None

    def _put(self, key: str, data: bytes) -> None:
        self._destinations.each(lambda store: put_once(store, self._place + key, data))
        self._destinations.require_one()


def find_begun(stores: Iterable[ObjectStore], environment: str, kind: str, run: str) -> Begun | None:
    """What ``run`` began and nobody finished, the newest of it.

    None when a store does not answer: it may be the one that has the manifest.
    """
    try:
        listed = [(store, [found.key for found in store.list(f"{environment}/{kind}/")]) for store in stores]
    except OnlyVipsError:
        return None
    finished = {key.removesuffix(MANIFEST_KEY) for _, keys in listed for key in keys}
    open_ones = {store: [key for key in keys if key.removesuffix(_BEGUN) not in finished] for store, keys in listed}
    return next((begun for store, keys in open_ones.items() if (begun := _of_run(store, keys, run))), None)


def find_of_run(stores: Iterable[ObjectStore], environment: str, kind: str, run: str) -> Begun | None:
    """What ``run`` began, finished or not, where any store says so."""
    for store in stores:
        try:
            keys = [found.key for found in store.list(f"{environment}/{kind}/")]
        except OnlyVipsError:
            continue
        if begun := _of_run(store, keys, run):
            return begun
    return None


def _of_run(store: ObjectStore, keys: Iterable[str], run: str) -> Begun | None:
    for key in sorted((key for key in keys if key.endswith(f"/{_BEGUN}")), reverse=True):
        begun = _read(store, key, Begun)
        if begun is not None and begun.run == run:
            return begun
    return None


def _watched(chunks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        check()
        yield chunk


def _read(store: ObjectStore, key: str, kind: type[T]) -> T | None:
    try:
        return from_json(b"".join(store.read(key)), kind)
    except OnlyVipsError:
        return None


def _entry_key(key: str) -> str:
    return f"journal/{key.rpartition('/')[2]}.json"
