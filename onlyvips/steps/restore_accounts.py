"""Users and roles brought back as mongorestore does: put beside the server's own, merged by the server, read back."""

from __future__ import annotations

from dataclasses import dataclass

from onlyvips.core.accounts import NOTES, ROLES, USERS, Accounts
from onlyvips.core.restore import RestorePlan
from onlyvips.core.restore_accounts import (
    EQUAL,
    brought,
    check_conflicts,
    check_schema,
    compared,
    database_of,
)
from onlyvips.errors import Misuse, Permanent, Refused
from onlyvips.ports.accounts import AccountsTarget
from onlyvips.steps.sound import Reader, read_collections


@dataclass(frozen=True)
class People:
    """Users and roles of ``database``, out of a good copy; ``flaws`` of those that are not; ``before`` of them were
    there already."""

    target: AccountsTarget
    database: str
    found: Accounts
    flaws: tuple[str, ...]
    before: int

    def bring(self) -> str:
        """Merge and read back; what became of them, in words. Run again it merges again, and ends the same.

        Raises Permanent, by name, where any is not there as in the backup.
        """
        self.target.put(self.found.users, self.found.roles)
        self.target.merge(self.database)
        self.target.clear()
        there = self._read_back()
        if wrong := [name for name, state in compared(self.found, there) if state != EQUAL]:
            raise Permanent(
                f"{', '.join(wrong)} of {self.database} did not come back as in the backup; the data did, compared. "
                "The server's log says why: correct that, or drop what is there otherwise, and run "
                "the restore again."
            )
        return brought(self.database, self.found, self.before)

    def _read_back(self) -> Accounts:
        try:
            return self.target.read(self.database)
        except Refused as refusal:  # it let us when the restore began
            raise Permanent(
                f"The data came back, compared; users and roles of {self.database} were merged, and the target does "
                "not let us read them any more: give its user the role `backup` of admin again, run the restore again."
            ) from refusal


def ready(plan: RestorePlan, target: AccountsTarget | None, reader: Reader) -> People | None:
    """Read them and look whether the target takes them; None where nobody asked. Nothing is written.

    Raises Refused where no copy is good, or where it does not take them, not from us, or has any of them otherwise.
    """
    if plan.people is None:
        return None
    if target is None:
        raise Misuse("A plan with users and roles needs a target that takes them.")
    check(plan, target)
    documents, flaws = read_collections(plan.people, reader)
    found = Accounts(documents.get(USERS, b""), documents.get(ROLES, b""), documents.get(NOTES, b""))
    check_schema(found, target.schema())
    there = target.read(database_of(plan))
    check_conflicts(found, there)
    before = sum(state == EQUAL for _, state in compared(found, there))
    return People(target, database_of(plan), found, flaws, before)


def check(plan: RestorePlan, target: AccountsTarget) -> None:
    """All that can be refused without reading the backup. Raises Refused."""
    if plan.people is not None:
        target.schema()
        target.read(database_of(plan))
