"""AccountsTarget on MongoDB: what mongorestore does with ``--restoreDbUsersAndRoles`` (mongo-tools 100,
``mongorestore/metadata.go``, RestoreUsersOrRoles), by the command that servers have for it alone.

Of the server's own (``db/commands/user_management_commands.cpp``, ``db/auth/builtin_roles.cpp``): with ``drop: false``
it inserts each document as it is, and only logs that one is there already. The role ``restore`` may have it read from
``admin.tempusers`` and ``admin.temproles`` and from no other collection, and may not itself read ``system.roles``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bson.son import SON
from pymongo.errors import OperationFailure

from onlyvips.adapters import accounts_mongodb
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.accounts import Accounts
from onlyvips.core.changes import Drop
from onlyvips.core.replay import OURS
from onlyvips.core.restore_accounts import SCHEMA
from onlyvips.errors import Permanent, Refused, Transient

_USERS, _ROLES = "admin.tempusers", "admin.temproles"
_DENIED = frozenset({13, 8000})
"""Codes of a server that does not let us: MongoDB's own, and Atlas'."""
_NO_SUCH_COMMAND, _NO_SUCH_OPTION, _OTHER_SCHEMA = 59, 72, 69
_NOBODY = OURS
"""A database of which no user is: to ask for a merge of those changes nothing, and tells whether we may."""


class MongoAccounts:
    """Users and roles of one server, over the connection of a ``MongoDatabase``."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self._target = MongoTarget(database)

    def schema(self) -> int:
        dialect = self._database.server()["dialect"]
        if dialect != "mongodb":
            raise Refused(
                f"{dialect} keeps users and roles in a way of its own and takes none out of a backup: nothing was "
                "changed. Restore without --users-and-roles, and make them again."
            )
        with self._refused("bring users and roles back"):
            self._merge(_NOBODY)
        with self._refused("ask for its authSchema"):
            return self._schema()

    def read(self, database: str) -> Accounts:
        with self._refused(f"read the users and roles of {database}"):
            users, roles = accounts_mongodb.of_database(self._database.client, database, "majority")
        return Accounts(users, roles)

    def put(self, users: bytes, roles: bytes) -> None:
        self.clear()
        for name, documents in ((_USERS, users), (_ROLES, roles)):
            if documents:
                self._target.insert(name, documents)

    def merge(self, database: str) -> None:
        with self._database.explained(f"merge the users and roles of {database}"):
            self._merge(database)

    def clear(self) -> None:
        self._target.apply([Drop(_USERS), Drop(_ROLES)])

    # --- how

    def _merge(self, database: str) -> None:
        asked = SON(
            [
                ("_mergeAuthzCollections", 1),
                ("tempUsersCollection", _USERS),
                ("tempRolesCollection", _ROLES),
                ("drop", False),
                ("db", database),
                ("writeConcern", {"w": "majority"}),
            ]
        )
        if "writeConcernError" in self._database.client.admin.command(asked):
            raise Transient("The server merged users and roles, and no majority has them yet.", delay=5.0)

    def _schema(self) -> int:
        try:
            told = self._database.client.admin.command(SON([("getParameter", 1), ("authSchemaVersion", 1)]))
        except OperationFailure as error:
            if error.code != _NO_SUCH_OPTION:
                raise
            return SCHEMA
        return int(told.get("authSchemaVersion", SCHEMA))

    @contextmanager
    def _refused(self, action: str) -> Iterator[None]:
        """What the server does not let us do, before anything was changed, is a refusal."""
        try:
            with self._database.explained(action):
                yield
        except Permanent as error:
            cause = error.__cause__
            code = cause.code if isinstance(cause, OperationFailure) else None
            if code in _DENIED:
                raise Refused(
                    f"The target does not let us {action} (code {code}): nothing was changed. Give the user of its URI "
                    "the roles `restore` and `backup` of database admin (the second to read back what came), or leave "
                    "out --users-and-roles."
                ) from error
            if code in (_NO_SUCH_COMMAND, _OTHER_SCHEMA):
                raise Refused(
                    f"The target takes no users and roles out of a backup (code {code}): nothing was changed. Restore "
                    "without --users-and-roles, and make them again."
                ) from error
            raise
