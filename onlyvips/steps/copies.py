"""One stream to several destinations at once: memory is bounded, and who fails or stalls is left behind.

A destination that was dropped once gets nothing more of this backup. A thread that hangs in a store cannot be stopped;
it is a daemon, and gives its upload up as soon as it comes back.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from onlyvips.core.manifest import CopiedObject
from onlyvips.errors import Conflict, Misuse, OnlyVipsError, Permanent, Refused, UnknownOutcome
from onlyvips.ports import ObjectStore, Stored, Upload

T = TypeVar("T")
_DEPTH = 8
"""Blocks that may wait for one destination; the blocks themselves are shared by all."""
_GLANCE = 0.5
"""Seconds between looks at whether a destination moves."""


@dataclass(frozen=True)
class Outcome:
    """How a destination fared; ``why`` is empty when its copy is complete."""

    name: str
    complete: bool
    why: str = ""


class NoDestination(Permanent):
    """Every destination was dropped."""


class Destinations:
    """The stores of one backup. ``stall`` is how many seconds a store may confirm nothing before it is dropped."""

    def __init__(self, stores: Sequence[ObjectStore], stall: float) -> None:
        names = [store.name for store in stores]
        if not names or len(set(names)) != len(names):
            raise Refused(f"Destinations must be there and have different names, not {names}: correct the environment.")
        self.stall = stall
        self._stores = {store.name: store for store in stores}
        self._why: dict[str, str] = {}
        self._lock = threading.Lock()

    def alive(self) -> list[ObjectStore]:
        """Those that lack nothing yet."""
        return [store for name, store in self._stores.items() if name not in self._why]

    def is_alive(self, name: str) -> bool:
        return name not in self._why

    def drop(self, name: str, why: str) -> None:
        """Leave a destination behind; the first reason stays."""
        with self._lock:
            self._why.setdefault(name, why)

    def outcomes(self) -> tuple[Outcome, ...]:
        return tuple(Outcome(name, name not in self._why, self._why.get(name, "")) for name in self._stores)

    def require_one(self) -> None:
        """Raise when nobody is left."""
        if not self.alive():
            raise NoDestination("; ".join(f"{name}: {why}" for name, why in self._why.items()))

    def each(self, action: Callable[[ObjectStore], T]) -> dict[str, T]:
        """Do it at all that are alive, at once; who fails or stalls is dropped, who succeeds is in the answer."""
        running = {store.name: _in_thread(partial(action, store)) for store in self.alive()}
        settled = {name: self.settle(name, future, self.stall) for name, future in running.items()}
        return {name: result[0] for name, result in settled.items() if result}

    def each_moving(
        self, action: Callable[[ObjectStore, Callable[[], None]], T], check: Callable[[], None]
    ) -> dict[str, T]:
        """As ``each``, for what takes long: ``action`` calls the second argument as a sign of life, which raises once
        its store was dropped. ``check`` is called twice a second; what it raises ends the waiting."""
        moved = {store.name: time.monotonic() for store in self.alive()}

        def sign(name: str) -> None:
            if not self.is_alive(name):
                raise _GivenUp(f"{name}: it was given up.")
            moved[name] = time.monotonic()

        running = {one.name: _in_thread(partial(action, one, partial(sign, one.name))) for one in self.alive()}
        settled = dict[str, tuple[T, ...]]()
        for name, future in running.items():
            while not future.done() and time.monotonic() - moved[name] <= self.stall:
                wait([future], _GLANCE)
                check()
            settled[name] = self.settle(name, future, 0)
        return {name: result[0] for name, result in settled.items() if result}

    def settle(self, name: str, future: Future[T], patience: float) -> tuple[T, ...]:
        """The future's result, or nothing and the destination is dropped. What is no error of a store is raised."""
        try:
            return (future.result(timeout=patience),)
        except Misuse:
            raise
        except OnlyVipsError as error:
            self.drop(name, str(error))
        except TimeoutError:
            self.drop(name, f"it stalled: no answer for {patience or self.stall:.0f} s.")
        return ()


class FanOut:
    """One object on its way to every destination that is alive.

    ``check`` is called twice a second while something is waited for; what it raises ends the object.
    """

    def __init__(
        self, destinations: Destinations, prefix: str, key: str, check: Callable[[], None], *, over: bool = False
    ) -> None:
        self._destinations, self._check = destinations, check
        self._begun = [_Branch(store, prefix, key, over) for store in destinations.alive()]
        self._branches = list(self._begun)

    def write(self, block: bytes) -> None:
        """Hand ``block`` to all; blocks while one of them is slower, up to the stall. Raises NoDestination."""
        for branch in list(self._branches):
            if not self._hand(branch, block):
                self._leave(branch)
        self._destinations.require_one()

    def finish(self, size: int, sha256: str) -> dict[str, CopiedObject]:
        """What each destination holds now, confirmed, looked up and read back; who does not is dropped."""
        for branch in self._branches:
            branch.end(size, sha256)
        settled = {branch.name: self._settle(branch) for branch in self._branches}
        return {name: copies[0] for name, copies in settled.items() if copies}

    def abort(self) -> None:
        """Give up everywhere; waits, but no longer than the stall, until the uploads are gone."""
        for branch in self._begun:
            branch.close()
        until = time.monotonic() + self._destinations.stall
        for branch in self._begun:
            branch.wait(until - time.monotonic())

    def _hand(self, branch: _Branch, block: bytes) -> bool:
        while self._destinations.is_alive(branch.name):
            if (taken := branch.offer(block, _GLANCE)) is not None:
                return taken
            self._check()
            if branch.still() > self._destinations.stall:
                self._stalled(branch)
        return False

    def _settle(self, branch: _Branch) -> tuple[CopiedObject, ...]:
        """However long it takes, as long as something moves."""
        while not branch.wait(_GLANCE):
            self._check()
            if branch.still() > self._destinations.stall:
                self._stalled(branch)
                branch.close()
                return ()
        return self._destinations.settle(branch.name, branch.future, 0)

    def _stalled(self, branch: _Branch) -> None:
        told = f"it stalled: it confirmed nothing of {branch.key} for {self._destinations.stall:.0f} s."
        self._destinations.drop(branch.name, told)

    def _leave(self, branch: _Branch) -> None:
        self._branches.remove(branch)
        branch.close()
        if branch.future.done():
            self._destinations.settle(branch.name, branch.future, 0)


class _GivenUp(OnlyVipsError):
    """The upload was given up by its sender."""


class _Branch:
    """One object on its way to one store, in a thread of its own."""

    def __init__(self, store: ObjectStore, prefix: str, key: str, over: bool) -> None:
        self.name, self.key = store.name, key
        self._store, self._prefix, self._over = store, prefix, over
        self._blocks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._moved = time.monotonic()
        self._expected: tuple[int, str] | None = None
        self._done = threading.Event()
        self.future = _in_thread(self._run)
        self.future.add_done_callback(self._ended)

    def offer(self, block: bytes, patience: float) -> bool | None:
        """True: the store will get it; False: it failed; None: there was no room for so long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._blocks) < _DEPTH, patience):
                return None
            if not self._closed:
                self._blocks.append(block)
                self._changed.notify_all()
            return not self._closed

    def end(self, size: int, sha256: str) -> None:
        """There are no more blocks, and all of them should be this."""
        with self._changed:
            self._expected = (size, sha256)
            self._moved = time.monotonic()
            self._changed.notify_all()

    def close(self) -> None:
        """Give up, wherever it is; nothing when it is done."""
        with self._changed:
            self._closed = True
            self._blocks.clear()
            self._changed.notify_all()

    def wait(self, patience: float) -> bool:
        """Until the thread is done, or not that long; whether it is."""
        return self._done.wait(max(0.0, patience))

    def still(self) -> float:
        """Seconds since the store last took, confirmed or gave back something."""
        return time.monotonic() - self._moved

    def _ended(self, _: object) -> None:
        self.close()
        self._done.set()

    def _run(self) -> CopiedObject:
        upload = self._store.upload(self._prefix + self.key, over=self._over)
        try:
            while (block := self._next()) is not None:
                upload.write(block)
                self._moved = time.monotonic()
            stored = upload.finish()
        except BaseException as error:
            self._clear(upload, error)
            raise
        self._moved = time.monotonic()
        assert self._expected is not None
        return self._confirm(stored, *self._expected)

    def _clear(self, upload: Upload, error: BaseException) -> None:
        """Take back what was uploaded; when that fails too, the first reason stays and the second is added."""
        try:
            upload.abort()
        except OnlyVipsError as also:
            if isinstance(error, OnlyVipsError):
                raise Permanent(f"{error} What was uploaded of it could not be removed: {also}") from error

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._blocks or self._expected)
            if self._closed:
                raise _GivenUp(f"{self.name}: the upload of {self.key} was given up.")
            block = self._blocks.popleft() if self._blocks else None
            self._moved = time.monotonic()
            self._changed.notify_all()
            return block

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, each a sign of life; no more of them once this copy is not wanted."""
        for chunk in chunks:
            if self._closed:
                raise _GivenUp(f"{self.name}: the read-back of {self.key} was given up.")
            self._moved = time.monotonic()
            yield chunk

    def _confirm(self, stored: Stored, size: int, sha256: str) -> CopiedObject:
        if (stored.size, stored.sha256) != (size, sha256):
            raise Permanent(f"{self.name} confirmed {stored.size} bytes, {stored.sha256}, sent were {size}, {sha256}.")
        head = self._store.head(stored.key)
        if head is None or head.size != size:
            found = "nothing" if head is None else f"{head.size} bytes"
            raise Permanent(f"{self.name} says it has {found} under {stored.key}, sent were {size} bytes.")
        back = hash_of(self._watched(self._store.read(stored.key)))
        if back != (size, sha256):
            raise Permanent(
                f"{self.name}: {stored.key} reads back as {back[0]} bytes with SHA-256 {back[1]}, written were {size}"
                f" with {sha256}: do not trust this store until you know why."
            )
        return CopiedObject(self.key, size, sha256, head.version or stored.version)


def put_once(store: ObjectStore, key: str, data: bytes) -> None:
    """Write a small object that must not change, and read it back. The same bytes already there are fine."""
    doubt: OnlyVipsError | None = None
    try:
        store.put_new(key, data)
    except (Conflict, UnknownOutcome) as error:
        doubt = error
    if b"".join(store.read(key)) != data:
        raise Permanent(f"{store.name}: {key} does not read back as it was written: look at what is there.") from doubt


def probe_stores(stores: Sequence[ObjectStore], *, nonce: str, stall: float = 60.0, all_needed: bool = True) -> None:
    """Write a little to every store and read it back, and see that no two are the same place.

    Raises Refused with everything that is wrong; where not ``all_needed``, a store that fails is wrong only when no
    other is left. What it writes is ``probes/NONCE/NAME``, a few bytes, left there.
    """
    destinations = Destinations(stores, stall)
    names = [store.name for store in stores]
    keys = {name: f"probes/{nonce}/{name}" for name in names}
    destinations.each(lambda store: put_once(store, keys[store.name], f"{nonce} {store.name}\n".encode()))
    seen = destinations.each(lambda store: [name for name in names if store.head(keys[name]) is not None])
    wrong = [outcome.why for outcome in destinations.outcomes() if not outcome.complete]
    if not all_needed and destinations.alive():
        wrong = []
    wrong += [
        f"{name} and {other} are the same place, so they are one copy: correct the environment."
        for name, others in seen.items()
        for other in others
        if name < other
    ]
    if wrong:
        raise Refused(f"Backups cannot be written as the environment asks, and nothing was changed: {' '.join(wrong)}")


def hash_of(chunks: Iterator[bytes]) -> tuple[int, str]:
    """Size and SHA-256."""
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


def _in_thread(action: Callable[[], T]) -> Future[T]:
    """Start it in a daemon thread (an executor's would keep a hung process from ending)."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = action()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future
