"""The ports of Redis' keys: a server that takes them, and one of our own that has those of a backup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from onlyvips.core.keys import Entry, KeyServer


class KeySpace(Protocol):
    """Keys of one server, by database. Transient where it does not answer; keys and values are in no error."""

    def describe(self) -> KeyServer:
        """What it is, and how many keys it has."""

    def keys(self, database: int) -> Iterator[list[bytes]]:
        """Every key that is there all the while, some at a time; a key may come twice."""

    def read(self, database: int, keys: Sequence[bytes]) -> list[Entry | None]:
        """The keys, in their order; None for one that is not there, or whose time has come."""

    def write(self, database: int, entries: Sequence[Entry], *, over: bool) -> None:
        """Make them. One whose time has come is looked at and not made.

        Raises Conflict when one is there and not ``over``; Permanent when the server does not take it (another
        version's value, no memory left, a number that no database has, no right): others may have been made.
        """

    def remove(self, database: int, keys: Sequence[bytes]) -> None:
        """Take them away; one that is not there is no error."""


class Noted(Protocol):
    """One word of ours beside the keys of a server."""

    def note(self, database: int, text: str) -> None:
        """Keep it, in place of what was noted before."""

    def noted(self, database: int) -> str:
        """What is noted, "" for nothing."""

    def forget(self, database: int) -> None:
        """Nothing is noted any more."""


class NotedKeys(KeySpace, Noted, Protocol):
    """Where a restore goes."""


class LoadedKeys(KeySpace, Protocol):
    """A server of our own that has a backup's keys. ``keys`` come in groups whose values fit into memory together, and
    without a word that was noted where the backup was taken; ``describe`` counts that."""

    def noted(self, database: int) -> str:
        """The word that was noted there, "" for nothing."""

    def there(self, database: int, keys: Sequence[bytes]) -> list[bool]:
        """Which of them it has."""

    def same(self, mine: Entry, theirs: Entry) -> bool:
        """Whether both have the same value, however another server writes it down."""


class Loader(Protocol):
    """The program that reads an RDB."""

    def describe(self) -> tuple[str, str]:
        """Dialect and version. Raises Refused, by name, where there is no such program."""

    def room(self, size: int) -> AbstractContextManager[Path]:
        """Where a file of ``size`` bytes may lie that nobody else may read; all there is gone at the end of the block,
        and at the end of this process however it ends."""

    def load(self, file: Path, databases: int) -> AbstractContextManager[LoadedKeys]:
        """A server that has what the RDB ``file``, in such a room, holds; the file is gone then. Raises Refused with
        what the program says when it does not load it."""
