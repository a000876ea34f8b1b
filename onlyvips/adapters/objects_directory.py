"""ObjectStore in a directory: a mounted disk that is one of the copies.

An object appears whole or not at all: written under a hidden name, synced, read again from the disk, then linked under
its own name, which fails when that name is taken. A directory cannot promise that nobody deletes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onlyvips.errors import Conflict, Misuse, NotFound, Permanent
from onlyvips.ports import Stored, Upload

_CHUNK = 1024 * 1024
_MEBIBYTE = 1024 * 1024


class DirectoryStore:
    """Objects as files under ``root``, which must be there: creating it would hide that a disk is not mounted."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._root = root

    def upload(self, key: str, *, over: bool = False) -> Upload:
        with self.explained("begin", key):
            path = self.path(key)
            self._make_directories(path.parent)
            return FileUpload(self, key, path, over)

    def put_new(self, key: str, data: bytes) -> Stored:
        upload = self.upload(key)
        try:
            upload.write(data)
            return upload.finish()
        except BaseException:
            upload.abort()
            raise

    def read(self, key: str) -> Iterator[bytes]:
        with self.explained("read", key), self.path(key).open("rb", buffering=0) as file:
            yield from from_disk(file.fileno())

    def head(self, key: str) -> Stored | None:
        with self.explained("look for", key):
            self._require_root()
            try:
                return Stored(key, self.path(key).stat().st_size, "", "")
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, prefix: str) -> list[Stored]:
        with self.explained("list", prefix):
            self._require_root()
            below = self._root / prefix.rpartition("/")[0]
            files = (path for path in below.rglob("*") if not path.name.startswith(".") and path.is_file())
            found = [Stored(path.relative_to(self._root).as_posix(), path.stat().st_size) for path in files]
            return sorted((one for one in found if one.key.startswith(prefix)), key=lambda one: one.key)

    def cannot_lock(self) -> str:
        """See ``ports.Lockable``."""
        return "a directory cannot promise that nobody deletes from it"

    def path(self, key: str) -> Path:
        """The file of a key. Raises Misuse for one that could lead out of the root."""
        if not key or any(part.startswith(".") or not part for part in key.split("/")):
            raise Misuse(f"{key!r} is no key: a/b/c with no part empty or beginning with a dot")
        return self._root / key

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise Permanent(f"{self.name}: {self._root} is no directory: mount the disk, or correct the environment.")

    def _make_directories(self, directory: Path) -> None:
        """Like mkdir -p below the root, each new entry synced to disk."""
        self._require_root()
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
            sync_directory(place.parent)

    @contextmanager
    def explained(self, verb: str, key: str) -> Iterator[None]:
        """Turn OSError into the vocabulary, in a sentence that says what to do."""
        try:
            yield
        except FileExistsError as error:
            raise Conflict(f"{self.name}: {self._root / key} exists; an object is written once.") from error
        except OSError as error:
            what = f"{self.name}: cannot {verb} {self._root / key}: {error.strerror}"
            kind = NotFound if error.errno == errno.ENOENT else Permanent
            raise kind(f"{what}; {self._advice(error)}") from error

    def _advice(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(self._root).free / _MEBIBYTE
            return f"{free:.1f} MiB are free: make room or raise the quota, then take the backup again."
        if error.errno == errno.ENOENT:
            return "there is no such object: look it up in another copy."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return "let this user write there, on a file system that knows hard links."
        return "check the disk and its mount."


class FileUpload:
    """One file on its way to ``path``; until then it is ``hidden``, where that is given."""

    def __init__(self, store: DirectoryStore, key: str, path: Path, over: bool, hidden: Path | None = None) -> None:
        self._store, self._key, self._path, self._over = store, key, path, over
        self._hidden = hidden or path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.part")
        self._file = os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._open = True
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        with self._store.explained("write", self._key):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._hash.update(chunk)
        self._size += len(chunk)

    def finish(self) -> Stored:
        with self._store.explained("finish", self._key):
            os.fsync(self._file)
            self._check()
            self._close()
            self._appear()
            sync_directory(self._path.parent)
        return Stored(self._key, self._size, self._hash.hexdigest(), "")

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._hidden.unlink()

    def _appear(self) -> None:
        if self._over:
            self._hidden.replace(self._path)
        else:
            os.link(self._hidden, self._path)
            self._hidden.unlink()

    def _check(self) -> None:
        found = hashlib.sha256()
        for chunk in from_disk(self._file):
            found.update(chunk)
        if found.digest() != self._hash.digest():
            raise Permanent(f"{self._store.name}: {self._path} reads back different: do not trust this disk any more.")

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._file)


def from_disk(file: int) -> Iterator[bytes]:
    """All of a file, from the medium as far as the kernel lets us: clean pages are dropped from its cache first."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    at = 0
    while chunk := os.pread(file, _CHUNK, at):
        at += len(chunk)
        yield chunk


def sync_directory(directory: Path) -> None:
    """Make sure that what was made or removed in it is so after a loss of power, too."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
