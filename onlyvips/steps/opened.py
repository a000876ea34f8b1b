"""An object opened: age, zstd and, in one pass, framing, counts and CRC-64 of what is inside: archive, oplog or RDB."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import fastcrc
import pyrage

from onlyvips.core import oplog
from onlyvips.core.archive import Closed, Corrupt, Documents, Event, Reader
from onlyvips.core.bundle import BrokenBundle
from onlyvips.core.manifest import OPLOG, ObjectRecord, Window
from onlyvips.core.rdb import BrokenRdb
from onlyvips.errors import Refused
from onlyvips.steps import configuration, redis_snapshots
from onlyvips.steps.frames import Decompressor, ZstdError
from onlyvips.steps.pipe import Hose

_ENCRYPTED = ".age"
"""How the keys of encrypted objects end."""
_BROKEN = (Corrupt, BrokenRdb, BrokenBundle, ZstdError)
"""What the contents say that are not whole."""

_GATHERED = 1 << 18
"""Compressed bytes that are unpacked at once: age gives them by far less."""
_AT_ONCE = 1 << 15
"""Bytes of the oplog whose entries are read at once: of more, Python's collector would walk over all of them again and
again, for a third of the time."""

Sink = Callable[[Documents], None]
"""Takes whole documents, entries of the oplog, or any bytes of what is neither, as they are read; what it raises ends
the reading."""


def open_object(
    chunks: Iterator[bytes],
    record: ObjectRecord,
    identities: Sequence[Any],
    window: Window | None = None,
    facts: Mapping[str, str] = MappingProxyType({}),
    sink: Sink = lambda documents: None,
) -> str:
    """What is wrong with the stored bytes ``chunks`` of ``record``, in words; "" when everything is as recorded.

    ``window`` is what a stretch of the oplog must hold; ``facts`` are those of the backup, where contents are compared
    with them. ``sink`` gets what is in it before all of it is known to be right.
    """
    digest, contents = hashlib.sha256(), _Contents(record, window, facts, sink)
    hose = Hose(_hashed(chunks, digest), contents.write)
    wrong = ""
    try:
        if record.key.endswith(_ENCRYPTED):
            pyrage.decrypt_io(hose, hose, list(identities))
        else:
            while data := hose.read(1 << 20):
                hose.write(data)
        wrong = contents.wrong()
    except (pyrage.DecryptError, OSError, Refused, *_BROKEN) as error:
        broken = hose.broken or (error if isinstance(error, Refused) else None)
        if isinstance(broken, Refused) and (hose.sunk or hose.broken is None):  # by the sink: what if this copy is bad?
            hose.drain()
            if wrong := _unlike(record, digest):
                return wrong
        if broken is not None and not isinstance(broken, _BROKEN):
            if broken is error:
                raise
            raise broken from error
        wrong = f"does not open: {hose.broken or error}"
        hose.drain()
    return _unlike(record, digest) or wrong


def begin_object(chunks: Iterator[bytes], record: ObjectRecord, identities: Sequence[Any]) -> str:
    """The same of an encrypted object of which the beginning is opened, to see that the identity is the right one; all
    of it is hashed."""
    digest = hashlib.sha256()
    hose = Hose(_hashed(chunks, digest), _enough)
    wrong = ""
    try:
        pyrage.decrypt_io(hose, hose, list(identities))
    except (pyrage.DecryptError, OSError, _Enough) as error:
        if hose.broken is not None and not isinstance(hose.broken, _Enough):
            raise hose.broken from error
        wrong = "" if hose.broken else f"does not open: {error}"
    hose.drain()
    return _unlike(record, digest) or wrong


class _Enough(Exception):
    """age gave something."""


def _enough(data: bytes) -> None:
    raise _Enough


def _unlike(record: ObjectRecord, digest: Any) -> str:
    if (found := digest.hexdigest()) != record.sha256:
        return f"has SHA-256 {found}, the manifest says {record.sha256}"
    return ""


def _hashed(chunks: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


class _Contents:
    """Takes what age gives, decompresses it, and reads it as what the manifest says that it is."""

    def __init__(self, record: ObjectRecord, window: Window | None, facts: Mapping[str, str], sink: Sink) -> None:
        self._record, self._window, self._sink = record, window, sink
        self._configuration = configuration.contents_of(record.key, facts)
        self._zstd = Decompressor()
        log, rdb = any(one.type == OPLOG for one in record.namespaces), redis_snapshots.is_rdb(record)
        self._log = oplog.Reader(fastcrc.crc64.xz) if log else None
        self._rdb = redis_snapshots.new_reader() if rdb else None
        self._reader = Reader(fastcrc.crc64.xz) if record.namespaces and not (log or rdb) else None
        self._closed: list[Closed] = []
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _GATHERED:
            self._unpack()

    def _unpack(self) -> None:
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        for plain in self._zstd.feed(data):
            self._take(plain)

    def _take(self, plain: bytes) -> None:
        if self._log is not None:
            for at in range(0, len(plain), _AT_ONCE):
                self._sink(self._log.feed(plain[at : at + _AT_ONCE]))
        if self._rdb is not None:
            self._rdb.feed(plain)
            self._sink(Documents("redis", "dump.rdb", plain, 0))
        if self._configuration is not None:
            self._configuration.feed(plain)
        if self._reader is not None:
            for event in self._reader.feed(plain):
                self._see(event)
        if not self._record.namespaces:
            self._sink(Documents("", "", plain, 0))

    def _see(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._closed.append(event)
        elif isinstance(event, Documents):
            self._sink(event)

    def wrong(self) -> str:
        """After the last byte: what is not as recorded, in words."""
        self._unpack()
        if not self._zstd.whole:
            raise Corrupt("the compressed stream ends too early")
        if self._log is not None:
            return self._wrong_log(self._log)
        if self._rdb is not None:
            return redis_snapshots.difference(self._record, self._rdb.finish())
        if self._configuration is not None:
            return self._configuration.wrong()
        if self._reader is None:
            return ""
        self._reader.finish()
        found = {(one.database, one.collection): (one.count, one.size, f"{one.crc64:016x}") for one in self._closed}
        for told in self._record.namespaces:
            here = found.get((told.database, told.collection))
            if here != (expected := (told.documents, told.bytes, told.crc64)):
                name = f"{told.database}.{told.collection}"
                return f"{name} holds {here} (documents, bytes, CRC-64), the manifest says {expected}"
        return ""

    def _wrong_log(self, log: oplog.Reader) -> str:
        log.finish()
        if (log.record,) != self._record.namespaces:
            return f"holds {log.record}, the manifest says {self._record.namespaces}"
        if log.window != self._window:
            return f"is the oplog of {log.window}, the manifest says {self._window}"
        return ""
