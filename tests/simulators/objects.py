"""An ObjectStore in memory that can fail the ways stores fail, each by its name."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

from onlyvips.core.locking import LockPlan
from onlyvips.errors import Conflict, NotFound, Permanent, Transient
from onlyvips.ports import Stored


class Killed(BaseException):
    """The process died: nothing that it would still do happens."""


class Life:
    """Counts the writes of a whole process and ends it before number ``ends_at`` (0: it lives)."""

    def __init__(self, ends_at: int = 0) -> None:
        self.writes = 0
        self._ends_at = ends_at
        self._lock = threading.Lock()

    def write(self) -> None:
        """Call this before anything changes outside the process."""
        with self._lock:
            self.writes += 1
            if self._ends_at and self.writes >= self._ends_at:
                raise Killed

    @property
    def is_over(self) -> bool:
        """Whether the process died."""
        return bool(self._ends_at) and self.writes >= self._ends_at


class SimulatedStore:
    """Objects in a dictionary. ``uploads`` are those begun and neither finished nor aborted."""

    def __init__(
        self, name: str, life: Life | None = None, *, versioned: bool = False, lock: LockPlan | None = None
    ) -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.older: dict[tuple[str, str], bytes] = {}
        """What a versioned bucket keeps behind ``objects``, by key and VersionId."""
        self.locks: dict[tuple[str, str], float] = {}
        self.written: dict[tuple[str, str], float] = {}
        self.now = 0.0
        self.uploads: set[str] = set()
        self.begun: dict[str, float] = {}
        self.lock = lock
        self._versioned, self._versions = versioned, dict[str, int]()
        self._life = life or Life()
        self._refused = ""
        self._free = 1 << 62
        self._flipped = ""
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()

    # --- faults

    def refuses_writes(self) -> None:
        """As a bucket does whose credential lost its right."""
        self._refused = f"{self.name}: cannot write (403 AccessDenied): give this credential the right to do it."

    def runs_full(self, after_bytes: int) -> None:
        """No more than so many bytes fit from now on."""
        self._free = after_bytes

    def stalls(self) -> None:
        """Every write hangs until ``flows``."""
        self._flows.clear()

    def flows(self) -> None:
        """The end of ``stalls``."""
        self._flows.set()

    def flips_a_bit(self, key: str) -> None:
        """Of whatever is stored under a key that contains ``key``, from the next write on."""
        self._flipped = key

    def refuses_key(self, part: str) -> None:
        """Nothing is written under a key that contains ``part``."""
        self._refused_key = part

    def cannot_abort(self) -> None:
        """As a credential that may write and not take back."""
        self._may_abort = False

    def reads_slowly(self, seconds: float) -> None:
        """Every kilobyte that is read takes so long."""
        self._slowness = seconds

    def goes_away_while_reading(self) -> None:
        """Every read breaks off in the middle."""
        self._free_to_read = False

    # --- ObjectStore

    def upload(self, key: str, *, over: bool = False) -> SimulatedUpload:
        self._may_write(0)
        self.uploads.add(key)
        self.begun[key] = self.now
        return SimulatedUpload(self, key, over)

    def put_new(self, key: str, data: bytes) -> Stored:
        self._may_write(len(data))
        return self._store(key, data)

    def read(self, key: str) -> Iterator[bytes]:
        if key not in self.objects:
            raise NotFound(f"{self.name}: cannot read {key} (404 NoSuchKey): look it up in another copy.")
        data = self.objects[key]
        for at in range(0, len(data), 1024):
            if not self._free_to_read:
                raise Transient(f"{self.name}: the connection broke while reading {key}.")
            time.sleep(self._slowness)
            self.chunks_read += 1
            yield data[at : at + 1024]

    _free_to_read = True
    _may_abort = True
    _refused_key = "no such key"
    _slowness = 0.0
    chunks_read = 0

    def head(self, key: str) -> Stored | None:
        data = self.objects.get(key)
        if data is None:
            return None
        return Stored(key, len(data), "", self.version(key), self.locks.get((key, self.version(key)), 0.0))

    def list(self, prefix: str) -> list[Stored]:
        return [Stored(key, len(self.objects[key])) for key in sorted(self.objects) if key.startswith(prefix)]

    # --- Lockable

    def cannot_lock(self) -> str:
        return "" if self.lock else f"{self.name} has no object lock"

    # --- how

    def _may_write(self, size: int) -> None:
        self._flows.wait()
        self._life.write()
        if self._refused:
            raise Permanent(self._refused)
        with self._lock:
            if size > self._free:
                raise Permanent(f"{self.name}: no space is left, {self._free} bytes are free: make room.")
            self._free -= size

    def _store(self, key: str, data: bytes, over: bool = False) -> Stored:
        if self._refused_key in key:
            raise Permanent(f"{self.name}: cannot write {key} (507 InsufficientStorage): make room.")
        with self._lock:
            if key in self.objects and not over:
                raise Conflict(f"{self.name}: {key} exists; an object is written once.")
            flips = data and self._flipped and self._flipped in key
            if self._versioned and key in self.objects:
                self.older[key, self.version(key)] = self.objects[key]
            self._versions[key] = self._versions.get(key, 0) + 1
            self.objects[key] = bytes([data[0] ^ 1]) + data[1:] if flips else data
            self.written[key, self.version(key)] = self.now
            if self.lock and (span := self.lock.span(key)):
                self.locks[key, self.version(key)] = self.now + span
        return Stored(key, len(data), hashlib.sha256(data).hexdigest(), self.version(key))

    def version(self, key: str) -> str:
        """The VersionId of what is under ``key`` now."""
        return f"v{self._versions.get(key, 0):04}" if self._versioned else "null"


class SimulatedUpload:
    """One object, invisible until ``finish``."""

    def __init__(self, store: SimulatedStore, key: str, over: bool) -> None:
        self._store, self._key, self._over = store, key, over
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self._store._may_write(len(chunk))
        self._chunks.append(chunk)

    def finish(self) -> Stored:
        self._store._may_write(0)
        stored = self._store._store(self._key, b"".join(self._chunks), self._over)
        self._store.uploads.discard(self._key)
        return stored

    def abort(self) -> None:
        self._chunks.clear()
        if not self._store._may_abort:
            raise Permanent(f"{self._store.name}: cannot abort {self._key} (403 AccessDenied).")
        if self._key in self._store.uploads:
            self._store._life.write()
            self._store.uploads.discard(self._key)
