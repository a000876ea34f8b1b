"""An AccountsTarget in memory, which merges as a server does; its process may end before any write."""

from __future__ import annotations

from onlyvips.core.accounts import Accounts
from onlyvips.core.little_bson import each
from onlyvips.core.replay import id_of
from onlyvips.errors import Refused
from tests.simulators.objects import Life

Kept = dict[bytes, bytes]


class SimulatedAccounts:
    """``users``, ``roles`` by ``_id``, ``temporary`` ones as well. ``refuses``: what we may not do; ``loses``: a user
    that no merge takes."""

    def __init__(self, life: Life | None = None) -> None:
        self.life = life or Life()
        self.users: Kept = {}
        self.roles: Kept = {}
        self.temporary: dict[str, Kept] = {}
        self.kept_as = 5
        self.refuses = self.loses = ""

    def schema(self) -> int:
        self._allowed("merge")
        return self.kept_as

    def read(self, database: str) -> Accounts:
        self._allowed("read")
        return Accounts(*(b"".join(_of(database, kept)) for kept in (self.users, self.roles)))

    def put(self, users: bytes, roles: bytes) -> None:
        self.clear()
        for name, documents in (("users", users), ("roles", roles)):
            for one in each(documents):
                self.life.write()
                self.temporary.setdefault(name, {})[id_of(one)] = one

    def merge(self, database: str) -> None:
        for name, into in (("users", self.users), ("roles", self.roles)):
            for one in _of(database, self.temporary.get(name, {})):
                self.life.write()
                if not self.loses or self.loses.encode() not in one:
                    into.setdefault(id_of(one), one)

    def clear(self) -> None:
        for name in list(self.temporary):
            self.life.write()
            del self.temporary[name]

    def _allowed(self, what: str) -> None:
        if self.refuses == what:
            raise Refused(
                f"The target does not let us {what}: give its user the roles `restore` and `backup` of admin."
            )


def _of(database: str, kept: Kept) -> list[bytes]:
    return [one for one in kept.values() if f"\0{database}\0".encode() in one]
