"""Users and roles of one database, as mongodump reads them with ``--dumpDbUsersAndRoles`` (mongo-tools 100,
``mongodump.go``, DumpUsersAndRolesForDB): what ``admin`` has of it, and all of ``admin.system.version``."""

from __future__ import annotations

import re
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from onlyvips.core.accounts import Accounts
from onlyvips.core.archive import scan

_DENIED = frozenset({13, 8000})
"""Codes of a server that does not let us: MongoDB's own, and Atlas'."""
_NO_NOTE_SINCE = (8, 1)
"""From this version on there is no document ``authSchema``, and mongorestore asks for none."""
_RAW: Any = CodecOptions(document_class=RawBSONDocument)


def read(client: Any, database: str, dialect: str, version: str) -> Accounts:
    """Those whose ``db`` is ``database``. What the server answers instead is pymongo's to raise, but for a refusal."""
    level = "majority" if dialect == "mongodb" else None
    try:
        users, roles = of_database(client, database, level)
        notes = _all(client, "system.version", {}, ReadConcern(level))
    except OperationFailure as error:
        if error.code not in _DENIED:
            raise
        return Accounts(
            lacking=f"not kept: the server does not let us read those of {database}; give the user that takes backups "
            "the role `backup` of database admin",
            denied=True,
        )
    return Accounts(users, roles, notes, _lacking(Accounts(users, roles, notes), database, dialect, version))


def of_database(client: Any, database: str, level: str | None) -> tuple[bytes, bytes]:
    """Users and roles of ``database``, raw, read at ``level``. An answer that is none is pymongo's to raise."""
    asked, concern = {"db": database}, ReadConcern(level)
    return _all(client, "system.users", asked, concern), _all(client, "system.roles", asked, concern)


def _all(client: Any, collection: str, asked: dict[str, Any], level: ReadConcern) -> bytes:
    found = client.admin.get_collection(collection, _RAW, read_concern=level)
    with found.find_raw_batches(asked) as cursor:
        return b"".join(cursor)


def _lacking(found: Accounts, database: str, dialect: str, version: str) -> str:
    if not found.users and not found.roles:
        return f"none: {database} has none of its own (those that were made in admin are not its own)"
    counted = f"not kept: {scan(found.users).count} users and {scan(found.roles).count} roles of {database}"
    if dialect != "mongodb":
        return f"{counted}, which {dialect} keeps in a way of its own that no tool brings back: make them again"
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if release < _NO_NOTE_SINCE and not any(one["_id"] == "authSchema" for one in bson.decode_all(found.notes)):
        return f"{counted}, for admin.system.version has no authSchema, without which mongorestore takes none"
    return ""
