"""The port of a drill's scratch server: what is there, and a database taken away again. See ``onlyvips.ports``."""

from __future__ import annotations

from typing import Protocol


class Scratch(Protocol):
    """A server that has room for a drill's database."""

    def databases(self) -> list[str]:
        """Names of all its databases that have a collection, sorted."""

    def drop(self, database: str) -> None:
        """Remove a database with all that is in it; nothing where there is none. Raises Misuse for one that is not
        named as drills name theirs."""
