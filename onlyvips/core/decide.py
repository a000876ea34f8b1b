"""``next_action``: the one function that decides what a release does next, from its record and what was seen.

The flow, the command line and the reconciler all ask it. It is pure and it never assumes: what the record says was
meant is compared with what the world shows. Rules (design, "Rollout"): weight never exceeds ready capacity; a weight
and what it points to never change in the same step; going back goes to the copy that is healthy; unattended, the
canary's weight is never raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onlyvips.core import approvals, blue_green, canary, charted, recreate, rolling, together
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.going_back import roll_back
from onlyvips.core.kept import restore_first
from onlyvips.core.phases import AWAITING, BEFORE_TRAFFIC, forward_of
from onlyvips.core.plan import ReleasePlan, Strategy
from onlyvips.core.record import Record, abort_reason
from onlyvips.core.world import World

_Next = Callable[[Record, World, ReleasePlan, bool], Action]
_FORWARD: Mapping[Strategy, _Next] = {
    "canary": canary.forward,
    "blue-green": blue_green.forward,
    "rolling": rolling.forward,
    "recreate": recreate.forward,
}
_BACK: Mapping[Strategy, Callable[[Record, World, ReleasePlan], Action]] = {
    "canary": roll_back,
    "blue-green": blue_green.back,
    "rolling": rolling.back,
    "recreate": recreate.back,
}


def next_action(record: Record, world: World, plan: ReleasePlan, *, attended: bool) -> Action:
    """The next act of the release. ``attended``: its own driver asks; otherwise the reconciler, who only goes back or,
    past "stable replaced", completes."""
    return charted.by_helm(_next_action(record, world, plan, attended), record, world, plan)


def _next_action(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    if record.phase == AWAITING:
        return approvals.before_anything(record, world, plan, attended)
    before = _before_traffic(record, plan, attended)
    if before is not None:
        return before
    if record.phase == "rollback":
        action = _BACK[record.strategy](record, world, plan)
        return restore_first(record.kept, record.did("restore configuration"), action)
    if record.phase == "evidence":
        return _finish(record, attended)
    if record.phase == "closed":
        return wait("closed", "the release is closed")
    if record.phase == "together":
        return together.wait_for_all(record, world, plan)
    return together.not_yet(record, plan, _FORWARD[record.strategy](record, world, plan, attended))


def _before_traffic(record: Record, plan: ReleasePlan, attended: bool) -> Action | None:
    if record.phase not in BEFORE_TRAFFIC:
        return None
    if record.aborted:
        return enter("rollback", abort_reason(record))
    if not attended:
        return enter("rollback", "its driver is gone and the new version has no traffic yet")
    if record.phase == "prepare" and (hook := together.before(record, plan)) is not None:
        return hook
    if record.phase == "prepare":
        if record.target and record.snapshot:
            return enter(forward_of(record.strategy)[0], _recorded_reason)
        return enter("backup", "the snapshot is kept") if record.snapshot else Action("snapshot", _snapshot_reason)
    if record.phase == "backup":
        return enter("secrets", "the backup is complete") if record.backup else Action("back-up", _backup_reason)
    if record.phase == "secrets" and plan.configs and not record.did("create configs"):
        return Action("create-configs", "new texts come under new names that only the new version refers to")
    if record.phase == "secrets":
        return Action("create-secrets", "new values come under new names that only the canary refers to")
    return Action("migrate", "what the new version needs of the database comes before it")


_snapshot_reason = "what a rollback has to bring back is kept before anything changes"
_recorded_reason = "a recorded version comes back: no Secret, no data changes, so no backup and no migration"
_backup_reason = "a release needs a complete backup"


def _finish(record: Record, attended: bool) -> Action:
    if attended and record.kept and record.result == "promoted" and not record.did("prune configuration"):
        return Action("prune-configuration", "what no rollback can need and nothing refers to goes")
    if not record.evidence:
        return Action("write-evidence", "the record of what happened goes to the stores of the backups")
    return Action("close", record.reason)
