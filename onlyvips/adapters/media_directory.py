"""MediaSource in a directory: every regular file below it. Symbolic links are not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onlyvips.core.media import Item, Left
from onlyvips.core.media_paths import is_upload
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Permanent

_PAGE = 1_000
_CHUNK = 1024 * 1024
_AT_ONCE = 8
_TRIES = 3
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DirectoryMedia:
    """The files below ``root``, which must be there: an empty place would look as if everything were gone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def describe(self) -> Mapping[str, str]:
        if not self._root.is_dir():
            raise Permanent(f"The media at {self._root} are no directory: mount it, or correct the environment.")
        return {"dialect": "directory", "version": "1", "path": str(self._root)}

    def pages(self) -> Iterator[Sequence[Item | Left]]:
        self.describe()
        page: list[Item | Left] = []
        for entry, path in self._walk("", self._root):
            page.append(self._listed(entry, path))
            if len(page) == _PAGE:
                yield page
                page = []
        yield page

    def look(self, key: str) -> Item | None:
        try:
            return item_of(key, (self._root / key).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._explained(error, key) from error

    def read(self, items: Sequence[Item]) -> list[tuple[Item, bytes] | Left]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._read, items))

    def stream(self, item: Item) -> Iterator[bytes]:
        try:
            file = os.open(self._root / item.key, _OPEN)
        except OSError as error:
            raise self._explained(error, item.key) from error
        try:
            self._must_be(file, item)
            while chunk := os.read(file, _CHUNK):
                yield chunk
            self._must_be(file, item)
        except OSError as error:
            raise self._explained(error, item.key) from error
        finally:
            os.close(file)

    def _must_be(self, file: int, item: Item) -> None:
        if item_of(item.key, os.fstat(file)) != item or self.look(item.key) != item:
            raise Conflict(f"{self._root / item.key} changed while it was read.")

    def _read(self, item: Item) -> tuple[Item, bytes] | Left:
        for _ in range(_TRIES):
            try:
                return item, b"".join(self.stream(item))
            except NotFound:
                return Left(item.key, "it was gone when it was read")
            except Conflict:
                if (now := self.look(item.key)) is None:
                    return Left(item.key, "it was gone when it was read")
                item = now
        return Left(item.key, f"it changed each of the {_TRIES} times that it was read")

    def _walk(self, prefix: str, folder: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Everything that is no directory, with its path below the root. What cannot be listed is an error: its files
        would be taken for gone."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise self._explained(error, prefix) from error
        for entry in entries:
            path = prefix + entry.name
            if is_upload(entry.name):
                continue  # of a restore that goes on, or died
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(f"{path}/", Path(entry.path))
            else:
                yield entry, path

    def _listed(self, entry: os.DirEntry[str], path: str) -> Item | Left:
        if entry.is_symlink():
            return Left(_text(path), "it is a symbolic link")
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return Left(_text(path), "it was gone when it was listed")
        except OSError as error:
            raise self._explained(error, path) from error
        if not stat.S_ISREG(found.st_mode):
            return Left(_text(path), "it is no regular file")
        if _text(path) != path:
            return Left(_text(path), "its name is not UTF-8 text")
        return item_of(path, found)

    def _explained(self, error: OSError, key: str) -> OnlyVipsError:
        what = f"{self._root / _text(key)} cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return NotFound(f"{what}.")
        if isinstance(error, PermissionError):
            return Permanent(f"{what}; let this user read it.")
        return Permanent(f"{what}; check the disk and its mount.")


def _text(path: str) -> str:
    """A path as text, where its bytes are none."""
    return os.fsencode(path).decode(errors="backslashreplace")


def item_of(key: str, found: os.stat_result) -> Item:
    """A file's ``etag`` are the moments at which its bytes and its inode were changed last."""
    return Item(key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_ctime_ns:x}", "", round(found.st_mtime, 3))
