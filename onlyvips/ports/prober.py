"""The port of smoke tests: one request at a time to where the platform's users come in. See ``onlyvips.ports``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """``headers`` by their names in small letters; ``body`` is text, of at most a MiB."""

    status: int
    headers: Mapping[str, str]
    body: str


class Prober(Protocol):
    """GETs what a user would get."""

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """The answer to one request, of whatever status; redirects are answers. Raises Transient without an answer."""
