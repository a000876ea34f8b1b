"""A database that is restored over while something is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onlyvips.ports import TargetDatabase


class LiveDatabase(TargetDatabase, Protocol):
    """A target of which one also knows what its views are."""

    def views(self, database: str) -> Mapping[str, str]:
        """Its views by name, with their options: canonical Extended JSON, fields inside in the server's order."""
