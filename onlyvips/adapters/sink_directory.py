"""MediaSink in a directory: written under a hidden name, synced, read again from the disk, then renamed.

A file that is replaced gives its mode and owner to what replaces it; a new one has those of its folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from onlyvips.adapters.media_directory import item_of
from onlyvips.adapters.objects_directory import from_disk, sync_directory
from onlyvips.core.media import Item
from onlyvips.core.media_paths import PART, is_upload
from onlyvips.core.media_restore import no_file
from onlyvips.errors import Conflict, Permanent, Refused
from onlyvips.ports import Stored, Upload
from onlyvips.ports.media import Putting

_AT_ONCE = 8


class DirectorySink:
    """Files below ``root``, which must be there: making it would hide that a disk is not mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def cannot_have(self, keys: Collection[str], there: Collection[str]) -> Mapping[str, str]:
        return dict(no_file(keys, there))

    def room(self) -> int | None:
        with _explained("look into", self._root):
            return shutil.disk_usage(self._root).free

    @contextmanager
    def writing(self) -> Iterator[None]:
        with _explained("open", self._root):
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(folder)
            self._tidy()
            yield
        finally:
            os.close(folder)

    def put(self, objects: Sequence[Putting]) -> list[str]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda one: self._put(*one), objects))

    def upload(self, key: str, over: Item | None) -> Upload:
        return _Upload(self._root, key, over)

    def _put(self, key: str, data: bytes, over: Item | None) -> str:
        try:
            upload = _Upload(self._root, key, over)
            try:
                upload.write(data)
                upload.finish()
            except BaseException:
                upload.abort()
                raise
        except Conflict as error:
            return str(error)
        return ""

    def _lock(self, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"Another restore of media writes to {self._root}: nothing was changed; wait for its end, or stop it."
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # a file system without locks
                raise Permanent(f"{self._root} cannot be locked: {error.strerror}.") from error

    def _tidy(self) -> None:
        """Remove what a restore that died had not finished."""
        with _explained("look into", self._root):
            for folder, _, files in os.walk(self._root):
                for name in filter(is_upload, files):
                    (Path(folder) / name).unlink(missing_ok=True)


class _Upload:
    """One file on its way to its name."""

    def __init__(self, root: Path, key: str, over: Item | None) -> None:
        self._root, self._key, self._over = root, key, over
        self._path = root / key
        self._hash, self._size, self._open = hashlib.sha256(), 0, False
        with _explained("write", self._path):
            folder = self._folder()
            self._hidden = folder / f"{PART}{secrets.token_hex(8)}.part"
            self._file = os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._open = True

    def write(self, chunk: bytes) -> None:
        with _explained("write", self._path):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        self._hash.update(chunk)
        self._size += len(chunk)

    def finish(self) -> Stored:
        with _explained("write", self._path):
            os.fsync(self._file)
            self._check()
            self._adopt()
            self._close()
            self._appear()
            sync_directory(self._path.parent)
        return Stored(self._key, self._size, self._hash.hexdigest())

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._hidden.unlink()

    def _folder(self) -> Path:
        """Its folder, which is made where it is not there."""
        place = self._root
        for part in self._key.split("/")[:-1]:
            above, place = place, place / part
            if not _is_folder(place):
                self._make(place, above)
        return place

    def _make(self, place: Path, above: Path) -> None:
        found = above.stat()
        try:
            place.mkdir(mode=stat.S_IMODE(found.st_mode))
        except FileExistsError as error:
            if _is_folder(place):
                return
            raise Conflict(f"{place} is no folder, so {self._key} was not written") from error
        _give(place, found)
        sync_directory(above)

    def _check(self) -> None:
        found = hashlib.sha256()
        for chunk in from_disk(self._file):
            found.update(chunk)
        if found.digest() != self._hash.digest():
            raise Permanent(f"{self._path} reads back different: do not trust this disk any more.")

    def _adopt(self) -> None:
        """Mode and owner, so that who reads the media can read it."""
        if self._over is not None:
            with contextlib.suppress(FileNotFoundError):
                found = self._path.lstat()
                os.fchmod(self._file, stat.S_IMODE(found.st_mode))
                _give(self._hidden, found)
                return
        found = self._path.parent.stat()
        os.fchmod(self._file, stat.S_IMODE(found.st_mode) & 0o666)
        _give(self._hidden, found)

    def _appear(self) -> None:
        try:
            if self._over is None:
                os.link(self._hidden, self._path)
                self._hidden.unlink()
                return
            if item_of(self._key, self._path.lstat()) == self._over:
                self._hidden.replace(self._path)
                return
        except (FileExistsError, FileNotFoundError) as error:
            raise Conflict(f"{self._path} came or went meanwhile, so it was not written") from error
        raise Conflict(f"{self._path} changed meanwhile, so it was not written")

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._file)


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def _give(path: Path, like: os.stat_result) -> None:
    """As root, the owner of what it is like; else it is ours, and nothing can be done."""
    if os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)


@contextmanager
def _explained(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "make room, then run it again",
            errno.EDQUOT: "raise the quota, then run it again",
            errno.ENOENT: "mount it, or correct the environment",
            errno.EACCES: "let this user write there",
            errno.EPERM: "let this user write there",
            errno.EROFS: "mount it for writing",
        }.get(error.errno or 0, "check the disk and its mount")
        raise Permanent(f"Cannot {verb} {path}: {error.strerror}; {advice}.") from error
