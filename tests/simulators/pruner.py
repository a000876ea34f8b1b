"""A Pruner of a simulated store, with the locks that a real bucket has."""

from __future__ import annotations

from onlyvips.errors import Permanent
from onlyvips.ports import Version
from tests.simulators.objects import SimulatedStore


class SimulatedPruner:
    """Takes away from ``store``; each removal is a write of its process, so that it can die there."""

    def __init__(self, store: SimulatedStore) -> None:
        self.name = store.name
        self.store = store
        self.removed: list[str] = []
        self._refused = ""

    def refuses(self, part: str) -> None:
        """As a bucket does whose credential may not remove what contains ``part``."""
        self._refused = part

    def versions(self, prefix: str) -> list[Version]:
        store = self.store
        older = [self._version(key, version, latest=False) for key, version in store.older]
        found = [*older, *(self._version(key, store.version(key), latest=True) for key in store.objects)]
        return sorted(
            (one for one in found if one.key.startswith(prefix)), key=lambda one: (one.key, one.latest, one.version)
        )

    def _version(self, key: str, version: str, *, latest: bool) -> Version:
        return Version(key, version, self.store.written.get((key, version), 0.0), latest)

    def unfinished(self, prefix: str) -> list[Version]:
        found = sorted(key for key in self.store.uploads if key.startswith(prefix))
        return [Version(key, "", self.store.begun[key], True, "upload") for key in found]

    def locked_until(self, one: Version) -> float:
        return self.store.locks.get((one.key, one.version), 0.0)

    def remove(self, one: Version) -> None:
        self.store._life.write()
        if self._refused and self._refused in one.key:
            raise Permanent(f"{self.name}: cannot remove {one.key} (403 AccessDenied).")
        if self.locked_until(one) > self.store.now:
            raise Permanent(f"{self.name}: cannot remove {one.key}: it is locked.")
        if one.what == "upload":
            self.store.uploads.discard(one.key)
        elif (one.key, one.version) in self.store.older:
            del self.store.older[one.key, one.version]
        elif one.key in self.store.objects and one.version == self.store.version(one.key):
            del self.store.objects[one.key]
            before = sorted(version for key, version in self.store.older if key == one.key)
            if before:  # as in a real bucket: what was behind it is seen again
                self.store.objects[one.key] = self.store.older.pop((one.key, before[-1]))
                self.store._versions[one.key] = int(before[-1][1:])
        else:
            return
        self.removed.append(one.key)

    def extend(self, one: Version, until: float) -> None:
        self.store._life.write()
        if self.store.lock is None:
            raise Permanent(f"{self.name}: nothing can be locked here.")
        self.store.locks[one.key, one.version] = max(until, self.locked_until(one))
