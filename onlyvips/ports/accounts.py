"""What a restore needs of a server that users and roles come back to."""

from __future__ import annotations

from typing import Protocol

from onlyvips.core.accounts import Accounts


class AccountsTarget(Protocol):
    """Users and roles of a server, raw BSON. They pass through two temporary collections of database ``admin``."""

    def schema(self) -> int:
        """The number of the way in which it keeps them; nothing is changed.

        Raises Refused where it takes none out of a backup, or none from us, and says which roles that needs.
        """

    def read(self, database: str) -> Accounts:
        """Those of ``database`` that are there, without notes. Raises Refused where we may not read them."""

    def put(self, users: bytes, roles: bytes) -> None:
        """These into the temporary collections, in the place of what an earlier run left there."""

    def merge(self, database: str) -> None:
        """Those of ``database`` out of the temporary collections into the server's own, at a majority. One that is
        there already stays as it is, without a word."""

    def clear(self) -> None:
        """No temporary collections."""
