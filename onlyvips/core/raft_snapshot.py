"""A raft snapshot as Vault writes it, checked for being whole while it streams by.

A gzip'd tar of ``meta.json`` (raft's own), ``state.bin`` (all of the storage, encrypted by Vault's barrier),
``SHA256SUMS`` over the two, and ``SHA256SUMS.sealed``, the same encrypted by the seal, so that only Vault can check it.
The server writes the last two at the end: a snapshot that broke off in the middle lacks them, though HTTP may say that
all went well.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Container, Iterator, Mapping
from typing import IO

from onlyvips.errors import Permanent

_BLOCK = 64 * 1024
_SUMMED = ("meta.json", "state.bin")
_SUMS = "SHA256SUMS"
_FILES = {*_SUMMED, _SUMS, "SHA256SUMS.sealed"}
_MOST_SUMS = 8192


class BrokenSnapshot(Permanent):
    """This is not a whole raft snapshot: the message says what is wrong with it."""


def checked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes; raises BrokenSnapshot, at the latest after the last of them, when they are not a whole snapshot.

    Memory is bounded by a few blocks, whatever the size.
    """
    source = _Passing(chunks)
    hashes: dict[str, str] = {}
    sums = b""
    try:
        with (
            gzip.GzipFile(fileobj=io.BufferedReader(source)) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            for member in archive:
                file = _file(archive, member, hashes)
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
                    sums += block if member.name == _SUMS else b""
                    yield from source.passed()
                hashes[member.name] = digest.hexdigest()
            while plain.read(_BLOCK):  # to the end, where gzip's own length and checksum are
                yield from source.passed()
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise BrokenSnapshot(f"it is no whole gzip'd tar ({error})") from error
    yield from source.passed()
    _check(hashes, sums)


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, seen: Container[str]) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None or member.name not in _FILES or member.name in seen:
        raise BrokenSnapshot(f"{member.name[:80]!r} does not belong into it, or comes twice")
    if not member.size or (member.name == _SUMS and member.size > _MOST_SUMS):
        raise BrokenSnapshot(f"its {member.name} has {member.size} bytes")
    return file


def _check(hashes: Mapping[str, str], sums: bytes) -> None:
    if missing := sorted(_FILES - set(hashes)):
        raise BrokenSnapshot(f"it lacks {', '.join(missing)}")
    lines = re.findall(r"^([0-9a-f]{64})  (\S+)$", sums.decode("ascii", "replace"), re.MULTILINE)
    said = {name: digest for digest, name in lines}
    for name in _SUMMED:
        if said.get(name) != hashes[name]:
            raise BrokenSnapshot(f"its {name} is not what its {_SUMS} says")


class _Passing(io.RawIOBase):
    """A file made of chunks, which remembers those that were taken from it until they are passed on."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._taken: list[bytes] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._taken.append(chunk)
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def passed(self) -> list[bytes]:
        """What was taken since it was asked last."""
        taken, self._taken = self._taken, []
        return taken
