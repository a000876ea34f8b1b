"""Media and their destinations in memory: a source whose objects change while they are read, and trees that fail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from onlyvips.core.media import Item, Left
from onlyvips.errors import Conflict, NotFound, Permanent, Refused, Transient
from onlyvips.ports import Held, Stored
from onlyvips.ports.media import Putting
from tests.simulators.objects import Life, SimulatedStore


class SimulatedMedia:
    """Objects by key. ``reads`` are the keys whose bytes were asked for; ``before_read`` is called with each first."""

    def __init__(self, objects: Mapping[str, bytes] = {}) -> None:  # noqa: B006 - never changed
        self._written = 0
        self._objects: dict[str, tuple[Item, bytes]] = {}
        self.reads: list[str] = []
        self.before_read: Callable[[str], None] = lambda key: None
        self.replace_all(objects)

    def replace_all(self, objects: Mapping[str, bytes]) -> None:
        """The media are these now; what is the same stays as it was written."""
        for key in set(self._objects) - set(objects):
            del self._objects[key]
        for key, data in objects.items():
            if self._objects.get(key, (None, None))[1] != data:
                self.write(key, data)

    def write(self, key: str, data: bytes) -> None:
        self._written += 1
        item = Item(key, len(data), f"e{self._written}", f"v{self._written}", float(self._written))
        self._objects[key] = item, data

    def remove(self, key: str) -> None:
        del self._objects[key]

    def describe(self) -> Mapping[str, str]:
        return {"dialect": "simulated", "version": "1"}

    def pages(self) -> Iterator[Sequence[Item | Left]]:
        items = [item for item, _ in self._objects.values()]
        for at in range(0, len(items), 3):
            yield items[at : at + 3]

    def look(self, key: str) -> Item | None:
        return self._objects[key][0] if key in self._objects else None

    def read(self, items: Sequence[Item]) -> list[tuple[Item, bytes] | Left]:
        return [self._read(item.key) for item in items]

    def _read(self, key: str) -> tuple[Item, bytes] | Left:
        self.reads.append(key)
        self.before_read(key)
        return self._objects.get(key) or Left(key, "it was gone when it was read")

    def stream(self, item: Item) -> Iterator[bytes]:
        self.reads.append(item.key)
        self.before_read(item.key)
        if item.key not in self._objects:
            raise NotFound(f"{item.key} is gone.")
        found, data = self._objects[item.key]
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]
        if self._objects.get(item.key, (None,))[0] != item or found != item:
            raise Conflict(f"{item.key} changed while it was read.")


class SimulatedTree:
    """A tree over a simulated store: its faults are those of the store."""

    def __init__(self, store: SimulatedStore) -> None:
        self.name, self.store = store.name, store
        self.objects = store
        self.may_remove = True
        self.writes: list[str] = []
        self.reads: list[str] = []

    def listing(self, prefix: str) -> Iterator[Sequence[Held]]:
        found = [Held(key, len(data), _tag(data)) for key, data in sorted(self.store.objects.items())]
        yield [one for one in found if one.key.startswith(prefix)]

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        for key, data in objects:
            self.store._may_write(len(data))
            self.writes.append(key)
            self.store._store(key, data, over=True)
        return [_tag(data) for _, data in objects]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        for source, target in pairs:
            self.store._may_write(0)
            if source not in self.store.objects:
                raise NotFound(f"{self.name}: cannot copy {source} (404 NoSuchKey).")
            self.store._store(target, self.store.objects[source], over=True)

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            if not self.may_remove:
                raise Permanent(f"{self.name}: cannot remove {key} (403 AccessDenied).")
            self.store._may_write(0)
            self.store.objects.pop(key, None)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.reads += keys
        if not self.store._free_to_read:
            raise Transient(f"{self.name}: the connection broke while reading.")
        return [self.store.objects.get(key) for key in keys]


def _tag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class SimulatedSink:
    """Where a simulated source's objects come back to. ``writes`` are the keys that appeared; ``unfinished`` those of
    uploads that were begun and neither finished nor given up."""

    def __init__(self, media: SimulatedMedia, life: Life | None = None) -> None:
        self._media, self._life = media, life or Life()
        self.writes: list[str] = []
        self.unfinished: set[str] = set()
        self.free: int | None = None
        self.odd: dict[str, str] = {}
        self.before_write: Callable[[str], None] = lambda key: None
        self._held = False

    def cannot_have(self, keys: Collection[str], there: Collection[str]) -> Mapping[str, str]:
        return {key: self.odd[key] for key in sorted(keys) if key in self.odd}

    def room(self) -> int | None:
        return self.free

    @contextmanager
    def writing(self) -> Iterator[None]:
        if self._held:
            raise Refused("Another restore of media writes there: nothing was changed.")
        self._held = True
        self.unfinished.clear()
        try:
            yield
        finally:
            self._held = False

    def put(self, objects: Sequence[Putting]) -> list[str]:
        return [self._appear(key, data, over) for key, data, over in objects]

    def upload(self, key: str, over: Item | None) -> _Upload:
        self._life.write()
        self.unfinished.add(key)
        return _Upload(self, key, over)

    def _appear(self, key: str, data: bytes, over: Item | None) -> str:
        self.before_write(key)
        if self._media.look(key) != over:
            return f"{key} changed meanwhile, so it was not written"
        self._life.write()
        self._media.write(key, data)
        self.writes.append(key)
        return ""


class _Upload:
    """One large object on its way into a simulated source."""

    def __init__(self, sink: SimulatedSink, key: str, over: Item | None) -> None:
        self._sink, self._key, self._over = sink, key, over
        self._data = bytearray()

    def write(self, chunk: bytes) -> None:
        self._sink._life.write()
        self._data += chunk

    def finish(self) -> Stored:
        if why := self._sink._appear(self._key, bytes(self._data), self._over):
            raise Conflict(why)
        self._sink.unfinished.discard(self._key)
        return Stored(self._key, len(self._data))

    def abort(self) -> None:
        self._sink.unfinished.discard(self._key)
