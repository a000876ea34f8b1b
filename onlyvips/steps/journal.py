"""What a run has done of a backup so far, kept beside its objects: so that a retry of the run goes on with it.

``journal/begun.json`` is written before the first object, ``journal/OBJECT.json`` once an object was read back. They
make no backup: only the manifest does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from onlyvips.core.manifest import MANIFEST_KEY, CopiedObject, ObjectRecord, prefix
from onlyvips.core.strict_json import from_json, to_json
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import ObjectStore
from onlyvips.steps.copies import Destinations, put_once

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

    @property
    def place(self) -> str:
        """Where it is in every destination."""
        return prefix(self.environment, self.kind, self.id, self.epoch)


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

    def look_up(self, key: str) -> tuple[ObjectRecord, dict[str, CopiedObject]] | None:
        """The object as an earlier attempt wrote it, where that is still there; None when it has to be written.

        A destination that lacks it is dropped: it missed it then, and a repair finishes it.
        """
        found = next(filter(None, map(partial(self._entry, key=key), self._destinations.alive())), None)
        if found is None:
            return None
        held = {one.destination: one.copy for one in found.held}
        there = self._destinations.each(lambda store: store.head(self._place + key))
        for name, stored in there.items():
            if name not in held or stored is None or stored.size != found.record.size:
                self._destinations.drop(name, f"it lacks {key}, which an earlier attempt of this run wrote.")
        return found.record, held

    def _entry(self, store: ObjectStore, key: str) -> Entry | None:
        return _read(store, self._place + _entry_key(key), Entry)

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


def _read(store: ObjectStore, key: str, kind: type[T]) -> T | None:
    try:
        return from_json(b"".join(store.read(key)), kind)
    except OnlyVipsError:
        return None


def _entry_key(key: str) -> str:
    return f"journal/{key.rpartition('/')[2]}.json"
