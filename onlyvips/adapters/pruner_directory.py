"""``ports.Pruner`` in a directory: there is one version of everything, and nothing can be locked."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from onlyvips.adapters.objects_directory import DirectoryStore, sync_directory
from onlyvips.errors import NotFound, Permanent
from onlyvips.ports import Version


class DirectoryPruner:
    """Files below ``root``, which is also that of a ``DirectoryStore``."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._store, self._root = DirectoryStore(name, root), root

    def versions(self, prefix: str) -> list[Version]:
        """See ``ports.Pruner``."""
        found = []
        for stored in self._store.list(prefix):
            with suppress(FileNotFoundError):
                found.append(Version(stored.key, "", (self._root / stored.key).stat().st_mtime))
        return found

    def unfinished(self, prefix: str) -> list[Version]:
        """See ``ports.Pruner``: the hidden files of uploads."""
        self._store.list(prefix)  # raises where the disk is not mounted
        found = []
        for path in sorted((self._root / prefix.rpartition("/")[0]).rglob(".*.part")):
            key = path.relative_to(self._root).as_posix()
            with suppress(FileNotFoundError):
                found.append(Version(key, "", path.stat().st_mtime, True, "upload"))
        return [one for one in found if one.key.startswith(prefix)]

    def locked_until(self, one: Version) -> float:
        """Never locked."""
        return 0.0

    def remove(self, one: Version) -> None:
        """See ``ports.Pruner``. Folders that are empty then go too, but for the two above everything."""
        path = self._root / one.key if one.what == "upload" else self._store.path(one.key)
        with suppress(NotFound), self._store.explained("remove", one.key):
            path.unlink()
            self._clear(path.parent)

    def extend(self, one: Version, until: float) -> None:
        """Raises Permanent."""
        raise Permanent(f"{self.name}: {one.key} cannot be locked, for {self._store.cannot_lock()}.")

    def _clear(self, folder: Path) -> None:
        """Sync ``folder``, or remove it and those above while they are empty; a writer never goes without ENV/KIND."""
        while len(folder.relative_to(self._root).parts) > 2:
            try:
                folder.rmdir()
            except OSError:
                break
            folder = folder.parent
        with suppress(FileNotFoundError):
            sync_directory(folder)
