"""A TargetDatabase in memory; its process may end before any write."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
from bson import json_util

from onlyvips.core.capped import TEMPORARY
from onlyvips.core.changes import Create, Drop, Index, Put, Remove, Rename, Write
from onlyvips.core.drills import SCRATCH
from onlyvips.core.little_bson import each
from onlyvips.core.replay import id_of
from onlyvips.errors import Misuse, NoSpace, Permanent
from tests.simulators.objects import Life


class SimulatedTarget:
    """``data``: documents by ``_id``, by namespace. ``forgets``: a namespace that loses what is inserted there.
    ``free``: what it says of its disk, nothing where None. ``full``: the collection in which no document finds a
    place any more that is put there."""

    def __init__(self, life: Life | None = None, *, identity: str = "target", version: str = "7.0.0") -> None:
        self.data: dict[str, dict[bytes, bytes]] = {}
        self.indexes: dict[str, list[bytes | str]] = {}
        self.options: dict[str, bytes | str] = {}
        self.identity, self.version = identity, version
        self.life = life or Life()
        self.forgets = ""
        self.free: int | None = None
        self.full = ""
        self.most = 0
        self._lock = threading.Lock()

    def describe(self) -> Mapping[str, str]:
        told = {"dialect": "simulated", "version": self.version, "identity": self.identity}
        return told if self.free is None else {**told, "free": str(self.free)}

    def collections(self, database: str) -> list[str]:
        return sorted(name.partition(".")[2] for name in self.data if name.startswith(f"{database}."))

    def views(self, database: str) -> Mapping[str, str]:
        found = {name: str(told) for name, told in self.options.items() if name.startswith(f"{database}.")}
        return {name.partition(".")[2]: told for name, told in found.items() if "viewOn" in told}

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        there = []
        for number, document in enumerate(each(documents)):
            with self._lock:
                self.life.write()
                found = self.data.setdefault(namespace, {})
                if id_of(document) in found:
                    there.append(number)
                elif namespace != self.forgets:
                    found[id_of(document)] = document
                    self._evict(namespace)
        return there

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[Sequence[bytes]]:
        found = self.data.get(namespace, {})
        chosen = list(found.values()) if ids is None else [found[one] for one in ids if one in found]
        for at in range(0, len(chosen), 3):
            yield chosen[at : at + 3]

    def apply(self, writes: Sequence[Write]) -> None:
        for one in writes:
            with self._lock:
                self.life.write()
                self._apply(one)

    def _evict(self, namespace: str) -> None:
        """The oldest documents of a capped collection go, when there are more than its ``max``."""
        told = self.options.get(namespace, "")
        most = json_util.loads(told)["max"] if isinstance(told, str) and '"capped"' in told else 1 << 62
        while len(self.data[namespace]) > most:
            self.data[namespace].pop(next(iter(self.data[namespace])))

    def _fits(self, namespace: str) -> None:
        if namespace == self.full:
            raise NoSpace(f"The disk is full, so it could not write {namespace}: make room there.")

    def _apply(self, one: Write) -> None:
        if isinstance(one, Put):
            self._fits(one.namespace)
            self.data.setdefault(one.namespace, {})[one.id] = one.document
            self._evict(one.namespace)
        elif isinstance(one, Remove):
            self.data.get(one.namespace, {}).pop(one.id, None)
        elif isinstance(one, Create):
            if TEMPORARY in _options(one.options):
                raise Permanent("'temp' is an invalid option.")
            self.data.setdefault(one.namespace, {})
            self.options.setdefault(one.namespace, one.options)
        elif isinstance(one, Drop):
            self.data.pop(one.namespace, None)
            self.indexes.pop(one.namespace, None)
            self.options.pop(one.namespace, None)
        elif isinstance(one, Rename):
            self._rename(one)
        elif isinstance(one, Index) and one.spec not in self.indexes.setdefault(one.namespace, []):
            self.indexes[one.namespace].append(one.spec)

    def _rename(self, one: Rename) -> None:
        if one.namespace not in self.data:
            return
        if one.to in self.data and not one.over:
            raise Permanent(f"{one.to} is there.")
        for held in (self.data, self.indexes, self.options):
            held.pop(one.to, None)
            if one.namespace in held:
                held[one.to] = held.pop(one.namespace)


def _options(told: bytes | str) -> dict[str, Any]:
    found: dict[str, Any] = bson.decode(told) if isinstance(told, bytes) else json_util.loads(told)
    return found


class SimulatedScratch:
    """The databases of a SimulatedTarget. ``stays``: what is dropped is there all the same."""

    def __init__(self, target: SimulatedTarget) -> None:
        self.target = target
        self.stays = False

    def databases(self) -> list[str]:
        return sorted({name.partition(".")[0] for name in self.target.data})

    def drop(self, database: str) -> None:
        if not database.startswith(SCRATCH):
            raise Misuse(f"{database} is no drill's.")
        for name in [one for one in self.target.data if one.startswith(f"{database}.") and not self.stays]:
            self.target.apply([Drop(name)])


def state(target: SimulatedTarget, namespace: str) -> dict[Any, dict[str, Any]]:
    """Its documents, decoded, by ``_id``."""
    found = [bson.decode(one) for one in target.data.get(namespace, {}).values()]
    return {one["_id"]: one for one in found}
