"""The new version serves, and the release is not over yet: hooks after it, and the other services of the same release.

Of every strategy: what would end its way forward leads to phase ``together`` first, where there is a reason to wait.
"""

from __future__ import annotations

from onlyvips.core import hooks
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.plan import HookPlan, ReleasePlan
from onlyvips.core.record import Record, abort_reason
from onlyvips.core.world import World


def before(record: Record, plan: ReleasePlan) -> Action | None:
    """The next hook before anything changes, or the way back when one failed; None when all is done."""
    return None if record.group else _next_hook(record, plan.before, "before anything changes")


def not_yet(record: Record, plan: ReleasePlan, action: Action) -> Action:
    """``action``, but for the end of the way forward: that waits for hooks and for the other services."""
    if action.kind != "enter" or action.phase != "evidence":
        return action
    if record.group:
        return enter("together", "it runs the new version; the other services of the release come next")
    return enter("together", "the new version serves; hooks come next") if plan.after else action


def wait_for_all(record: Record, world: World, plan: ReleasePlan) -> Action:
    """In phase ``together``: the old version may still come back, until everything else is good, too."""
    if record.group and world.together == "promoted":
        return enter("evidence", "promoted")
    if record.aborted or world.together == "failed":
        return enter("rollback", abort_reason(record) or "the release of all services goes back")
    if world.stable is not None and record.strategy == "canary" and world.stable.release != record.id:
        return enter("rollback", "somebody took stable back from the new version")
    if record.group:
        return wait("together", f"the other services of release {record.group} are not there yet")
    return _next_hook(record, plan.after, "the new version serves") or enter("evidence", "promoted")


def _next_hook(record: Record, planned: tuple[HookPlan, ...], why: str) -> Action | None:
    if (bad := hooks.failed(record.hooks)) is not None:
        return enter("rollback", hooks.sentence(bad))
    following = hooks.following(planned, record.hooks)
    return Action("run-hook", why, what=following.name) if following else None
