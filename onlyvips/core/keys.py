"""Keys of a Redis server as they are moved from one to another, and what such a server is. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """A key: ``payload`` is what DUMP says of its value, ``expires`` unix milliseconds, 0 for never."""

    key: bytes
    payload: bytes
    expires: int


@dataclass(frozen=True)
class KeyServer:
    """One server. ``identity`` tells it from every other one that runs, by whatever address.

    Args:
        dialect: ``redis``, ``valkey`` …
        refusal: Why nothing may be restored into it, whatever it is; empty where it may.
        used: Bytes of memory that it uses.
        most: Bytes that it may use, 0 where it has no limit of its own; ``evicts``: it throws keys away before that.
        memory: Bytes of memory of its machine, 0 where it does not say.
        databases: Keys by the number of the database, of those that have any.
        libraries: Names of its libraries of functions, where they were asked for.
    """

    dialect: str
    version: str
    identity: str
    refusal: str = ""
    used: int = 0
    most: int = 0
    evicts: bool = False
    memory: int = 0
    databases: Mapping[int, int] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()


def release(version: str) -> tuple[int, ...]:
    """Its first two numbers: what decides which formats a server knows."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
