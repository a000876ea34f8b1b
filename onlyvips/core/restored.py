"""What a restore did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Restored:
    """What a restore did: ``documents`` of the base came back and were compared, ``entries`` of the oplog replayed, the
    last of them ``until``; this run wrote ``written`` documents for them; ``doubled`` were in an archive twice.
    ``stays`` are collections and views of the live database that the moment does not have, ``remade`` views that were
    there with another definition. ``flaws`` are copies that were not used, for they are not as they were written.
    ``resumed``: an earlier run had begun it. ``accounts``: what became of users and roles, in words.
    ``before``: when an earlier run had done all of it, so that this one restored nothing."""

    namespaces: tuple[tuple[str, str, int], ...]
    documents: int
    doubled: int
    entries: int
    written: int
    until: str
    reached: str
    indexes: int
    flaws: tuple[str, ...]
    resumed: bool
    accounts: str
    seconds: float
    stays: tuple[str, ...] = ()
    remade: tuple[str, ...] = ()
    before: str = ""


def instead_of(flaws: Sequence[str]) -> str:
    """A sentence about copies that were not used; "" where there are none."""
    if not flaws:
        return ""
    return (
        f" Other copies were used instead of bad ones ({'; '.join(flaws)}): onlyvips backup repair BACKUP -e "
        "ENVIRONMENT mends each."
    )
