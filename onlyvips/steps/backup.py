"""One base of a database: read once, written to every destination at once, read back, then published.

server's raw batches → archive framing → zstd → age → SHA-256 → destinations. No local disk; memory is bounded by blocks
in flight. The manifest is the last thing written, so that a death at any line leaves no backup, only orphans.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import fastcrc
import pyrage

from onlyvips.core import manifest as records
from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.manifest import CopiedObject, CopyRecord, Dropped, Manifest, NamespaceRecord, ObjectRecord, Server
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Clock, Namespace, ObjectStore, SourceDatabase
from onlyvips.steps import copies
from onlyvips.steps.copies import Destinations, FanOut, NoDestination, Outcome, put_once

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BLOCK = 1024 * 1024
_TOOL = "onlyvips"

Progress = Callable[[int, int], None]
"""Bytes and documents read so far, of all collections together; called for every batch, from several threads."""


@dataclass(frozen=True)
class Base:
    """A backup that exists. It is degraded when a destination was dropped."""

    manifest: Manifest
    destinations: tuple[Outcome, ...]

    @property
    def key(self) -> str:
        """Where its manifest is, in every complete copy."""
        return self.manifest.prefix + records.MANIFEST_KEY

    @property
    def degraded(self) -> bool:
        return not all(outcome.complete for outcome in self.destinations)


def probe_stores(stores: Sequence[ObjectStore]) -> None:
    """Refused when a destination does not take or give back, or when two are the same place; see ``copies``."""
    copies.probe_stores(stores, nonce=secrets.token_hex(8))


def take_base(
    source: SourceDatabase,
    stores: Sequence[ObjectStore],
    plan: BackupPlan,
    *,
    epoch: int,
    clock: Clock,
    entropy: Callable[[int], bytes],
    on_progress: Progress = lambda size, documents: None,
) -> Base:
    """Back up ``plan.database``; ``plan.recipients`` must be age's public keys themselves, no references.

    Raises Permanent, and publishes nothing, when no destination has a complete copy; passes on what the source raises.
    """
    recipients = _recipients(plan.recipients)
    destinations = Destinations(stores, plan.stall_timeout)
    started = clock.now()
    id = records.backup_id(started, entropy(4))
    place = records.prefix(plan.environment, plan.kind, id, epoch)
    dump = _Dump(source, plan, destinations, place, recipients, _Counter(on_progress), threading.Event())
    try:
        dumped = _dump_all(dump)
        finished = clock.now()
        _publish_copies(destinations, place, _copy_records(dump, id, epoch, finished, [held for _, held in dumped]))
        manifest = _manifest(dump, id, epoch, (started, finished), [record for record, _ in dumped])
    except NoDestination as error:
        raise Permanent(
            f"{plan.database} is not backed up: no destination has a complete copy ({error}); no manifest was written, "
            f"so what is left under {place} counts for nothing: correct a destination, then take the backup again."
        ) from error
    _publish(destinations, manifest)
    return Base(manifest, destinations.outcomes())


# --- reading and writing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dump:
    source: SourceDatabase
    plan: BackupPlan
    destinations: Destinations
    place: str
    recipients: list[Any]
    counter: _Counter
    stopped: threading.Event

    def check(self) -> None:
        """Raise when another collection failed, or what the progress raises: an abort, a lost lease."""
        if self.stopped.is_set():
            raise _Stopped("Given up, for another collection could not be backed up.")
        self.counter.add(0, 0)


class _Stopped(Permanent):
    """Another collection failed."""


class _Counter:
    def __init__(self, on_progress: Progress) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._size = self._documents = 0

    def add(self, size: int, documents: int) -> None:
        with self._lock:
            self._size += size
            self._documents += documents
            self._on_progress(self._size, self._documents)


Dumped = tuple[ObjectRecord, dict[str, CopiedObject]]


def _dump_all(dump: _Dump) -> list[Dumped]:
    """Every collection as an object of its own, several at a time; the first failure stops them all."""
    namespaces = dump.source.namespaces(dump.plan.database)
    with ThreadPoolExecutor(max(1, dump.plan.workers)) as pool:
        running = [pool.submit(_dump_one, dump, *numbered) for numbered in enumerate(namespaces, start=1)]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in running):
                dump.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
    failures = [error for future in running if not future.cancelled() and (error := future.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, _Stopped)):
        raise error
    if dump.source.namespaces(dump.plan.database) != namespaces:
        raise Transient(f"Collections or indexes of {dump.plan.database} changed while it was read: take it again.")
    return [future.result() for future in running]


def _dump_one(dump: _Dump, number: int, namespace: Namespace) -> Dumped:
    tally = Tally()
    key = records.object_key(number, namespace.database, namespace.collection)
    fan = FanOut(dump.destinations, dump.place, key, dump.check)
    try:
        blocks = _Blocks(fan.write)
        frames = _frames(dump, namespace, tally)
        _encrypt(_compress(frames, dump.plan.zstd_level, dump.plan.zstd_threads), dump.recipients, blocks)
        size, sha256 = blocks.end()
        held = fan.finish(size, sha256)
        dump.destinations.require_one()
    except BaseException:
        fan.abort()
        raise
    return ObjectRecord(key, size, sha256, (_namespace_record(namespace, tally),)), held


def _frames(dump: _Dump, namespace: Namespace, tally: Tally) -> Iterator[bytes]:
    entry = Entry(namespace.database, namespace.collection, namespace.metadata, namespace.type)
    yield write_prelude(Prelude(dump.source.server()["version"], _TOOL, (entry,)))
    name, batches = (namespace.database, namespace.collection), dump.source.documents(namespace)
    size = count = 0
    for frame in write_collection(name, batches, tally, fastcrc.crc64.xz):
        if dump.stopped.is_set():
            dump.check()
        dump.counter.add(tally.size - size, tally.count - count)
        size, count = tally.size, tally.count
        yield frame


def _compress(frames: Iterator[bytes], level: int, threads: int) -> Iterator[bytes]:
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(
        options={parameter.compression_level: level, parameter.nb_workers: threads, parameter.checksum_flag: 1}
    )
    for frame in frames:
        yield compressor.compress(frame)
    yield compressor.flush()


def _encrypt(chunks: Iterator[bytes], recipients: list[Any], blocks: _Blocks) -> None:
    hose = _Hose(chunks, blocks)
    try:
        pyrage.encrypt_io(hose, hose, recipients)
    except pyrage.EncryptError as error:
        if hose.broken:
            raise hose.broken  # noqa: B904 - with its own cause
        raise Permanent(f"age could not encrypt: {error}; check the recipients.") from error


class _Hose:
    """What age reads from and writes to; it keeps what broke on either side, for age would only say that it did."""

    def __init__(self, chunks: Iterator[bytes], blocks: _Blocks) -> None:
        self._chunks, self._blocks = chunks, blocks
        self._rest = memoryview(b"")
        self.broken: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.broken = error
            raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def write(self, data: bytes) -> int:
        try:
            self._blocks.write(data)
        except BaseException as error:
            self.broken = error
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
    _recipients(keys)


def _recipients(keys: Sequence[str]) -> list[Any]:
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


# --- publishing ------------------------------------------------------------------------------------------------------


def _namespace_record(namespace: Namespace, tally: Tally) -> NamespaceRecord:
    return NamespaceRecord(
        database=namespace.database,
        collection=namespace.collection,
        type=namespace.type,
        metadata=namespace.metadata,
        documents=tally.count,
        bytes=tally.size,
        crc64=f"{tally.crc64:016x}",
    )


def _manifest(
    dump: _Dump, id: str, epoch: int, times: tuple[float, float], objects: Sequence[ObjectRecord]
) -> Manifest:
    dump.destinations.require_one()
    server, outcomes = dump.source.server(), dump.destinations.outcomes()
    return Manifest(
        id=id,
        epoch=epoch,
        environment=dump.plan.environment,
        kind=dump.plan.kind,
        started=records.moment(times[0]),
        finished=records.moment(times[1]),
        server=Server(server["dialect"], server["version"]),
        oplog="none",
        tool=_TOOL,
        recipients=dump.plan.recipients,
        objects=tuple(objects),
        copies=tuple(outcome.name for outcome in outcomes if outcome.complete),
        dropped=tuple(Dropped(outcome.name, outcome.why) for outcome in outcomes if not outcome.complete),
    )


def _copy_records(
    dump: _Dump, id: str, epoch: int, finished: float, held: Sequence[dict[str, CopiedObject]]
) -> list[CopyRecord]:
    return [
        CopyRecord(store.name, epoch, id, records.moment(finished), tuple(objects[store.name] for objects in held))
        for store in dump.destinations.alive()
    ]


def _publish_copies(destinations: Destinations, place: str, held: Sequence[CopyRecord]) -> None:
    """Where every copy is, at each destination whose objects are complete."""
    documents = [(place + records.copy_key(one.destination, one.epoch), records.to_json(one)) for one in held]
    destinations.each(partial(_put_all, documents=documents))
    destinations.require_one()


def _publish(destinations: Destinations, manifest: Manifest) -> None:
    """The last thing that is written. Who fails here has no manifest, so it has no backup."""
    key = manifest.prefix + records.MANIFEST_KEY
    destinations.each(partial(_put_all, documents=[(key, records.to_json(manifest))]))
    try:
        destinations.require_one()
    except NoDestination as error:
        raise Permanent(
            f"Every object of the backup is complete, and no destination confirmed its manifest ({error}): look "
            f"whether {key} is there before you take it again."
        ) from error


def _put_all(store: ObjectStore, documents: Sequence[tuple[str, bytes]]) -> None:
    for key, data in documents:
        put_once(store, key, data)
