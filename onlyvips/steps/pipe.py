"""One object of a backup: plain bytes → zstd → age → SHA-256 → every destination at once, read back from each.

No local disk; memory is bounded by blocks in flight.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyrage

from onlyvips.core.manifest import CopiedObject, NamespaceRecord, ObjectRecord
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Permanent, Refused
from onlyvips.steps.copies import Destinations, FanOut
from onlyvips.steps.frames import compress

_BLOCK = 1024 * 1024

Progress = Callable[[int, int], None]
"""Bytes and documents read so far, of all objects together; called for every batch, from several threads."""


class Stopped(Permanent):
    """Another object of the same backup failed."""


class Meter:
    """Counts what is read, and stops everybody when one failed or when ``on_progress`` raises."""

    def __init__(self, on_progress: Progress = lambda size, documents: None) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._size = self._documents = 0
        self._stopped = threading.Event()

    def add(self, size: int, documents: int) -> None:
        """So much more was read. Raises Stopped, or what the progress raises: an abort, a lost lease."""
        if self._stopped.is_set():
            raise Stopped("Given up, for another object of this backup could not be written.")
        with self._lock:
            self._size += size
            self._documents += documents
            self._on_progress(self._size, self._documents)

    def check(self) -> None:
        """Raise when the backup is to stop."""
        self.add(0, 0)

    def stop(self) -> None:
        """Make every later ``add`` raise Stopped."""
        self._stopped.set()


@dataclass(frozen=True)
class Piece:
    """One object of a backup before it is compressed and encrypted. ``key`` is under the backup's prefix.

    ``read`` gives its plain bytes in order and tells the meter of each chunk; ``contents`` is asked after the last
    byte. After a failure it may be read once more, from its beginning. ``expected`` are its plain bytes, about; 0 where
    nobody knows. What is not ``encrypted`` tells nothing that the destination does not tell anyway.
    """

    key: str
    read: Callable[[Meter], Iterator[bytes]]
    contents: Callable[[], tuple[NamespaceRecord, ...]] = tuple
    expected: int = 0
    encrypted: bool = True


Written = tuple[ObjectRecord, dict[str, CopiedObject]]
"""An object, and what each destination that has it holds."""


@dataclass(frozen=True)
class Pipe:
    """Where the pieces of one backup go: under ``place``, for ``recipients``."""

    destinations: Destinations
    place: str
    recipients: Sequence[Any]
    plan: BackupPlan
    meter: Meter

    def write(self, piece: Piece, *, over: bool = False) -> Written:
        """The piece in every destination that still lacks nothing; ``over`` what a dead attempt may have left there.

        Raises NoDestination, or what the source raises.
        """
        fan = FanOut(self.destinations, self.place, piece.key, self.meter.check, over=over)
        try:
            blocks = _Blocks(fan.write)
            packed = compress(piece.read(self.meter), self.plan.zstd_level, self.plan.zstd_threads)
            if piece.encrypted:
                _encrypt(packed, self.recipients, blocks)
            else:
                for chunk in packed:
                    blocks.write(chunk)
            size, sha256 = blocks.end()
            held = fan.finish(size, sha256)
            self.destinations.require_one()
        except BaseException:
            fan.abort()
            raise
        return ObjectRecord(piece.key, size, sha256, piece.contents()), held


def _encrypt(chunks: Iterator[bytes], recipients: Sequence[Any], blocks: _Blocks) -> None:
    hose = Hose(chunks, blocks.write)
    try:
        pyrage.encrypt_io(hose, hose, recipients)
    except pyrage.EncryptError as error:
        if hose.broken:
            raise hose.broken  # noqa: B904 - with its own cause
        raise Permanent(f"age could not encrypt: {error}; check the recipients.") from error


class Hose:
    """What age reads from and writes to; it keeps what broke first on either side (``sunk``: in the sink), for age
    would only say that it did, and write what it still holds once more."""

    def __init__(self, chunks: Iterator[bytes], sink: Callable[[bytes], None]) -> None:
        self._chunks, self._sink = chunks, sink
        self._rest = memoryview(b"")
        self.broken: BaseException | None = None
        self.sunk = False

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; none at the end."""
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.broken = self.broken or error
            raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def drain(self) -> None:
        """Read to the end."""
        self._rest = memoryview(b"")
        for _ in self._chunks:
            pass

    def write(self, data: bytes) -> int:
        """Pass on what age made."""
        try:
            self._sink(data)
        except BaseException as error:
            self.sunk = self.sunk or self.broken is None
            self.broken = self.broken or error
            raise
        return len(data)

    def flush(self) -> None:
        """age asks for it; the last block goes with ``end``."""


class _Blocks:
    """Gathers what age writes into larger blocks, and knows size and SHA-256 of all of it."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._block = bytearray()
        self._size = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._block += data
        if len(self._block) >= _BLOCK:
            self._pass_on()

    def end(self) -> tuple[int, str]:
        self._pass_on()
        return self._size, self._hash.hexdigest()

    def _pass_on(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._hash.update(block)
        self._size += len(block)
        self._sink(block)


def check_recipients(keys: Sequence[str]) -> None:
    """Refused, without showing a key, when these are not two different age recipients at least."""
    recipients(keys)


def recipients(keys: Sequence[str]) -> list[Any]:
    """age's own recipients of these public keys. Raises Refused."""
    if len(set(keys)) < 2:
        raise Refused(
            "A backup needs two different age recipients, one identity kept outside: correct the environment."
        )
    return [_recipient(number, key) for number, key in enumerate(keys, start=1)]


def _recipient(number: int, key: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        secret = key.upper().startswith("AGE-SECRET-KEY-")
        what = "an age identity, a secret: replace that key now, and give" if secret else "no age recipient: give"
        # Without the key and without the cause, which may quote it.
        raise Refused(
            f"Recipient {number} of the backups is {what} its public key (age1…) instead: correct the environment."
        ) from None
