"""Users and roles of a base's database: one object, the archive that mongodump writes of them beside one database.

By the names of its collections mongorestore knows what they are: with ``--restoreDbUsersAndRoles`` it merges them into
the server's own, else it passes them by. Hashes of passwords are in it, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.accounts import NOTES, ROLES, USERS, Accounts
from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.manifest import ACCOUNTS, WARNING, Fact, NamespaceRecord, object_key
from onlyvips.errors import Abandoned
from onlyvips.ports import SourceDatabase
from onlyvips.steps.backup import TOOL
from onlyvips.steps.pipe import Meter, Piece


@dataclass
class AccountsDump:
    """Users and roles of ``database`` on their way into the base as its object ``number``, where there are any."""

    source: SourceDatabase
    database: str
    number: int
    _lacking: str = ""
    _denied: bool = False
    _tallies: dict[str, Tally] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = self.source.accounts(self.database)
        self._lacking, self._denied = found.lacking, found.denied

    @property
    def pieces(self) -> list[Piece]:
        """One, or none where there is nothing to keep."""
        return [] if self._lacking else [Piece(self._key, self._frames, self._records)]

    def facts(self) -> tuple[Fact, ...]:
        """What the manifest says of them; what nobody let us read the audit tells people too."""
        if self._lacking:
            told = Fact("users_and_roles", self._lacking)
            return (told, Fact(WARNING, f"users and roles are {self._lacking}")) if self._denied else (told,)
        return (Fact("users_and_roles", f"kept: those of {self.database}, in {self._key}"),)

    @property
    def _key(self) -> str:
        return object_key(self.number, self.database, "users_and_roles")

    def _frames(self, meter: Meter) -> Iterator[bytes]:
        found = self.source.accounts(self.database)
        if found.lacking:
            raise Abandoned(
                f"Users and roles of {self.database} were there when the base began, and are no more: take it again."
            )
        self._tallies = {name: Tally() for name in (USERS, ROLES, NOTES)}
        entries = tuple(Entry(self.database, name, "", "") for name in self._tallies)
        yield write_prelude(Prelude(self.source.server()["version"], TOOL, entries))
        for name, data in _named(found):
            tally = self._tallies[name]
            yield from write_collection((self.database, name), [data] if data else [], tally, fastcrc.crc64.xz)
            meter.add(tally.size, tally.count)

    def _records(self) -> tuple[NamespaceRecord, ...]:
        return tuple(
            NamespaceRecord(self.database, name, ACCOUNTS, "", tally.count, tally.size, f"{tally.crc64:016x}")
            for name, tally in self._tallies.items()
        )


def _named(found: Accounts) -> Iterator[tuple[str, bytes]]:
    yield from ((USERS, found.users), (ROLES, found.roles), (NOTES, found.notes))
