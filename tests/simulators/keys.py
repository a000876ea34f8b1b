"""NotedKeys in memory, whose process may end before any write; and a Loader that has what an RDB of strings holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from onlyvips.adapters.keys_redis import MARKER
from onlyvips.core.keys import Entry, KeyServer
from onlyvips.errors import Conflict, Permanent, Refused
from tests.simulators.clock import SimClock
from tests.simulators.objects import Life
from tests.simulators.redis import rdb

_FOOT = b"\x0a\x00" + b"\xcc" * 8
"""In place of a version and a CRC-64."""


def payload(value: bytes) -> bytes:
    """What DUMP says of a string."""
    return b"\0" + value + _FOOT


class SimulatedKeys:
    """``data``: keys by database. ``alters``: a key that is kept otherwise than it is written, ``delays``: one whose
    time comes two minutes later (from now, where it had none). ``facts``: what it says of itself; ``busy``: who
    calls may write, before each write of ours."""

    def __init__(self, clock: SimClock, life: Life | None = None, facts: KeyServer | None = None) -> None:
        self.data: dict[int, dict[bytes, Entry]] = {}
        self.clock = clock
        self.life = life or Life()
        self.facts = facts or KeyServer("redis", "7.0.15", "target")
        self.alters = self.delays = b""
        self.takes = _FOOT
        self.most_databases = 16
        self.busy: Callable[[], None] = lambda: None
        self.asked: list[bytes] = []

    def keep(self, database: int, key: bytes, value: bytes, expires: int = 0) -> None:
        self.data.setdefault(database, {})[key] = Entry(key, payload(value), expires)

    @property
    def noted_as(self) -> dict[int, str]:
        """What is noted: a key like any other, as it is on a server."""
        return {n: self.noted(n) for n in self.data if self.noted(n)}

    def describe(self) -> KeyServer:
        there = {n: len(self._living(n)) for n in self.data}
        return replace(self.facts, databases={n: count for n, count in there.items() if count})

    def keys(self, database: int) -> Iterator[list[bytes]]:
        found = [key for key in self._living(database) if key != MARKER]
        for at in range(0, len(found), 3):
            yield found[at : at + 3]

    def read(self, database: int, keys: Sequence[bytes]) -> list[Entry | None]:
        return [self._living(database).get(key) for key in keys]

    def write(self, database: int, entries: Sequence[Entry], *, over: bool) -> None:
        if database >= self.most_databases:
            raise Permanent("It has fewer databases than the backup.")
        for one in entries:
            self.busy()
            if one.payload[-10:] != self.takes:
                raise Permanent("It does not take these values, for they are of a newer version than it is.")
            if one.key in self._living(database) and not over:
                raise Conflict("It has a key already that was to come back.")
            if one.expires and one.expires <= self._now():
                continue
            self.life.write()
            value = payload(b"else") if one.key == self.alters else one.payload
            expires = int(one.expires or self._now()) + 120_000 if one.key == self.delays else one.expires
            self.data.setdefault(database, {})[one.key] = replace(one, payload=value, expires=expires)

    def remove(self, database: int, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.life.write()
            self.data.get(database, {}).pop(key, None)

    def note(self, database: int, text: str) -> None:
        self.life.write()
        self.keep(database, MARKER, text.encode())

    def noted(self, database: int) -> str:
        found = self._living(database).get(MARKER)
        return found.payload[1 : -len(_FOOT)].decode() if found else ""

    def forget(self, database: int) -> None:
        self.life.write()
        self.data.get(database, {}).pop(MARKER, None)

    def there(self, database: int, keys: Sequence[bytes]) -> list[bool]:
        return [key in self._living(database) for key in keys]

    def same(self, mine: Entry, theirs: Entry) -> bool:
        return mine.payload == theirs.payload

    def _now(self) -> float:
        return self.clock.now() * 1000

    def _living(self, database: int) -> dict[bytes, Entry]:
        found = self.data.get(database, {})
        return {key: one for key, one in found.items() if not one.expires or one.expires > self._now()}


class SimulatedLoader:
    """Knows what the RDB of ``databases`` holds; ``expires``: when a key does, by database and key."""

    def __init__(self, clock: SimClock, databases: Mapping[int, Mapping[bytes, bytes]], folder: Path) -> None:
        self.databases, self.clock, self.folder = databases, clock, folder
        self.expires: dict[tuple[int, bytes], int] = {}
        self.version = "7.0.15"
        self.used = 0
        self.loses = 0
        self.loaded: SimulatedKeys | None = None

    def describe(self) -> tuple[str, str]:
        return "redis", self.version

    @contextmanager
    def room(self, size: int) -> Iterator[Path]:
        file = self.folder / "dump.rdb"
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    @contextmanager
    def load(self, file: Path, databases: int) -> Iterator[SimulatedKeys]:
        if file.read_bytes() != rdb(self.databases):
            raise Refused("It does not load the backup.")
        facts = KeyServer("redis", self.version, "ours", used=self.used, libraries=("mylib",))
        self.loaded = SimulatedKeys(self.clock, facts=facts)
        self.loaded.most_databases = databases
        for number, keys in self.databases.items():
            for key, value in list(keys.items())[self.loses :]:
                self.loaded.keep(number, key, value, self.expires.get((number, key), 0))
        yield self.loaded
