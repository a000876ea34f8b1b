"""Tree in a directory: each object a file under its own name; one whose name a directory has is aside of it.

A file appears whole or not at all: written under a hidden name, synced, read again from the disk, then renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onlyvips.adapters.objects_directory import DirectoryStore, FileUpload, from_disk, sync_directory
from onlyvips.core.media_paths import PART, aside, from_aside
from onlyvips.errors import Misuse, Permanent
from onlyvips.ports import Held, ObjectStore, Upload

_PAGE = 1_000
_AT_ONCE = 8
_TRIES = 5
"""Of making a directory that somebody else removes because it is empty."""


class DirectoryTree:
    """Plain objects as files under ``root``, which must be there. A directory cannot promise that nobody deletes."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._files = _Files(name, root)
        self.objects: ObjectStore = self._files

    def listing(self, prefix: str) -> Iterator[Sequence[Held]]:
        with self._files.explained("list", prefix):
            self._files.require_root()
            page: list[Held] = []
            for key, found in self._files.walk(prefix):
                page.append(Held(key, found.st_size, _tag(found)))
                if len(page) == _PAGE:
                    yield page
                    page = []
            yield page

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        with self._files.explained("write", objects[0][0] if objects else ""), ThreadPoolExecutor(_AT_ONCE) as pool:
            self._files.require_root()
            done = list(pool.map(lambda one: self._put(*one), objects))
            for folder in {path.parent for path, _ in done}:
                with contextlib.suppress(FileNotFoundError):  # the last file in it was removed meanwhile
                    sync_directory(folder)
        return [tag for _, tag in done]

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """A second name of the same file: nothing here is ever written in place."""
        folders = set()
        for source, target in pairs:
            with self._files.explained("copy", source):
                path = self._files.way_to(target)
                hidden = path.with_name(_part())
                os.link(self._files.path(source), hidden)
                hidden.replace(path)
                hidden.unlink(missing_ok=True)  # renamed over another name of the same file, it would stay
                folders.add(path.parent)
        for folder in folders:
            sync_directory(folder)

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            with self._files.explained("remove", key):
                path = self._files.path(key)
                path.unlink(missing_ok=True)
                self._files.tidy(path.parent, key)

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._read, keys))

    def _read(self, key: str) -> bytes | None:
        with self._files.explained("read", key):
            try:
                with self._files.path(key).open("rb", buffering=0) as file:
                    return b"".join(from_disk(file.fileno()))
            except (FileNotFoundError, NotADirectoryError):
                self._files.require_root()
                return None

    def _put(self, key: str, data: bytes) -> tuple[Path, str]:
        with self._files.explained("write", key):
            path, hidden, file = self._begin(key)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
                if b"".join(from_disk(file)) != data:
                    raise Permanent(f"{self.name}: {path} reads back different: do not trust this disk any more.")
                tag = _tag(os.fstat(file))
                self._files.appear(hidden, path, key)
            except BaseException:
                hidden.unlink(missing_ok=True)
                raise
            finally:
                os.close(file)
        return path, tag

    def _begin(self, key: str) -> tuple[Path, Path, int]:
        """Where it will be, where it is until then, and that file."""
        for left in reversed(range(_TRIES)):
            path = self._files.way_to(key)
            hidden = path.with_name(_part())
            try:
                return path, hidden, os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                if not left:
                    raise
        raise AssertionError


class _Files(DirectoryStore):
    """The same as a store of objects, with keys of any kind."""

    require_root = DirectoryStore._require_root

    def upload(self, key: str, *, over: bool = False) -> Upload:
        with self.explained("begin", key):
            self.require_root()
            path = self.way_to(key)
            return FileUpload(self, key, path, over, path.with_name(_part()))

    def path(self, key: str) -> Path:
        """Where an object is, or would be."""
        plain, other = self._own(key), self._root / aside(key)
        return other if not plain.is_file() and other.is_file() else plain

    def way_to(self, key: str) -> Path:
        """Where an object may be put: its directories are made, and a file that has the name of one moves aside."""
        plain, other = self._own(key), self._root / aside(key)
        for path in (plain, other) if plain.is_dir() else (plain,):
            for folder in reversed(path.relative_to(self._root).parents[:-1]):
                self._make(self._root / folder)
        return other if plain.is_dir() else plain

    def _own(self, key: str) -> Path:
        """The path that is the key."""
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise Misuse(f"{key!r} is no key of a tree: no part is empty, `.` or `..`")
        return self._root / key

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder.is_file():
            other = self._root / aside(folder.relative_to(self._root).as_posix())
            for above in reversed(other.relative_to(folder.parent).parents[:-1]):
                self._make(folder.parent / above)
            folder.replace(other)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_directory(folder.parent)

    def appear(self, hidden: Path, path: Path, key: str) -> None:
        """The file under its name; the other one that it may have had is not needed any more."""
        try:
            hidden.replace(path)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise
            hidden.replace(self.way_to(key))  # a directory was made there meanwhile
            return
        other = self._root / aside(key)
        if other != path:
            other.unlink(missing_ok=True)

    def tidy(self, folder: Path, key: str) -> None:
        """Remove directories that are empty now, up to the one of all such objects (``ENV/media-tree``)."""
        keep = self._root.joinpath(*key.split("/")[:2])
        while folder != keep and keep in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def walk(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Every object whose key begins with ``prefix``."""
        head = prefix.rpartition("/")[0]
        folder = self._own(head) if head else self._root
        if folder.is_dir():
            for key, found in self._below(folder, f"{head}/" if head else ""):
                if key.startswith(prefix):
                    yield key, found

    def _below(self, folder: Path, here: str) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            path = here + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(Path(entry.path), f"{path}/")
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(PART):
                key = from_aside(path)
                if key == path or not self._own(key).is_file():  # else what is aside was replaced
                    yield key, entry.stat(follow_symlinks=False)


def _part() -> str:
    """The name of a file that is being written: a prune knows it by its beginning and its end."""
    return f"{PART}{secrets.token_hex(8)}.part"


def _tag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}"
