"""Users and roles that come back with their database: out of which object, and what of them is in a target. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from onlyvips.core import little_bson as bson
from onlyvips.core.accounts import Accounts
from onlyvips.core.archive import scan
from onlyvips.core.catalog import Backup
from onlyvips.core.manifest import ACCOUNTS
from onlyvips.core.replay import Names
from onlyvips.core.restore import RestorePlan, Source, accounts, trusted
from onlyvips.errors import Refused

SCHEMA = 5
"""The only one that servers have that say none (MongoDB 8.1 and later)."""
_SCHEMA_NOTE = "authSchema"


def check_whole(names: Names | None) -> None:
    """Raise Refused unless the whole database comes back under its own name."""
    if names and any(source != target or not source.endswith(".*") for source, target in names.pairs):
        raise Refused(
            "Users and roles belong to their database, and come back only with all of it under its own name: nothing "
            "was read. Leave out --namespace, or leave out --users-and-roles."
        )


def with_people(plan: RestorePlan, backups: Sequence[Backup]) -> RestorePlan:
    """The same plan with users and roles. Raises Refused where the base has none, and says why it has none."""
    base = plan.base
    found = next((one for one in base.objects if any(each.type == ACCOUNTS for each in one.namespaces)), None)
    if found is None:
        why = base.fact("users_and_roles", "not kept: it was taken before they were")
        raise Refused(
            f"The base {base.id}-e{base.epoch} has no users and roles ({why}): nothing was changed. Leave out "
            "--users-and-roles, or restore by a base that has them."
        )
    (copies,) = (one.copies for one in backups if one.prefix == base.prefix)
    notes = [_coming(database_of(plan)) if note == accounts(base) else note for note in plan.notes]
    return replace(plan, people=Source(base, found, trusted(copies)), notes=tuple(notes))


def database_of(plan: RestorePlan) -> str:
    """Whose users and roles they are."""
    return plan.databases[0]


def _coming(database: str) -> str:
    return (
        f"users and roles: those of {database}, as they were when the base was read, are merged into admin at the end; "
        "what is there and not in the backup stays, and what is there otherwise is refused before anything is written"
    )


def check_schema(found: Accounts, there: int) -> None:
    """Raise Refused where the target keeps users another way than the server that they are of did."""
    told = next((one for one in _each(found.notes) if _name(one) == _SCHEMA_NOTE), None)
    kept = bson.fields(told)["currentVersion"].number() if told else SCHEMA
    if kept != there:
        raise Refused(
            f"Users and roles of the backup are of authSchema {kept}, the target's is {there}: nothing was changed. "
            "Restore without --users-and-roles and make them again, or give a target of the backup's version."
        )


def check_conflicts(found: Accounts, there: Accounts) -> None:
    """Raise Refused where the target has some otherwise: a merge would leave those as they are, and say nothing."""
    if others := [name for name, state in compared(found, there) if state == OTHERWISE]:
        raise Refused(
            f"The target has otherwise than the backup: {', '.join(others)}. A merge leaves what is there, so nothing "
            "was changed. Drop them there (dropUser, dropRole) and run it again, or leave out --users-and-roles."
        )


EQUAL, OTHERWISE, ABSENT = "equal", "otherwise", "absent"


def compared(found: Accounts, there: Accounts) -> list[tuple[str, str]]:
    """Each user and role of ``found`` by name, and how it is ``there``, byte by byte. No hash is in any name."""
    told = list[tuple[str, str]]()
    for what, kept, here in (("user", found.users, there.users), ("role", found.roles, there.roles)):
        known = {_name(one): one for one in _each(here)}
        for one in _each(kept):
            other = known.get(_name(one))
            state = ABSENT if other is None else EQUAL if other == one else OTHERWISE
            told.append((f"{what} {_name(one)}", state))
    return told


def brought(database: str, found: Accounts, before: int) -> str:
    """What became of them, in words; ``before`` of them were there already."""
    counted = f"{scan(found.users).count} users and {scan(found.roles).count} roles of {database}"
    told = f", {before} of them were there before" if before else ""
    return f"users and roles: {counted} are in admin, read back equal{told}"


def _name(document: bytes) -> str:
    return bson.fields(document)["_id"].text()


def _each(documents: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(documents):
        end = at + int.from_bytes(documents[at : at + 4], "little")
        yield documents[at:end]
        at = end
