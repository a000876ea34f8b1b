"""Users and roles of one database, as a backup keeps them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

USERS, ROLES, NOTES = "$admin.system.users", "$admin.system.roles", "$admin.system.version"
"""How mongodump names them beside one database; no collection may be called so."""


@dataclass(frozen=True)
class Accounts:
    """Users and roles of one database, and the server's notes of its own versions: BSON documents one after the other,
    with hashes of passwords. ``lacking`` says why there is nothing to keep, "" where there is; ``denied``: it is there,
    perhaps, and we may not read it."""

    users: bytes = field(default=b"", repr=False)
    roles: bytes = field(default=b"", repr=False)
    notes: bytes = field(default=b"", repr=False)
    lacking: str = ""
    denied: bool = False
