"""What strategies share that change the Deployment itself: other hands, the last watch, what is left over."""

from __future__ import annotations

from onlyvips.core.action import Action, enter
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import NOT_UP, Look, Record, abort_reason
from onlyvips.core.world import Workload, World


def leave(record: Record, world: World) -> Action | None:
    """What ends the way forward, whatever else is seen: an abort, a Deployment that is gone, a look that failed."""
    if record.aborted:
        return enter("rollback", abort_reason(record))
    if world.stable is None:
        return enter("rollback", "the Deployment is gone: somebody removed it in the middle of the release")
    if record.looks and record.looks[-1].verdict == "fail":
        return enter("rollback", f"look {len(record.looks)} failed: {record.looks[-1].reason}")
    if record.replaced and world.stable.release != record.id:
        return enter("rollback", "somebody took the Deployment back from the new version")
    return None


def drift(record: Record, stable: Workload) -> str | None:
    """Another hand in the pod template: not what was found before, nor what this release wrote."""
    ours = record.canary_template if stable.release == record.id else record.from_template
    if ours not in ("", stable.template):
        return "the pod template was changed by somebody else"
    return None


def changed(record: Record) -> bool:
    """Whether this release ever meant to touch the Deployment."""
    return any(step.action.startswith(("replace stable", "stop")) for step in record.steps)


def sweep(world: World) -> Action | None:
    """Remove what must not stay behind."""
    if not world.leftovers:
        return None
    left = ",".join(world.leftovers)
    return Action("remove-leftovers", f"held or made by this release: {left}", what=left)


def last_watch(record: Record, plan: ReleasePlan) -> Action:
    """All pods run the new version: one more look, where the metrics know the service. No data is no good data; too
    few requests are what this service has, and are told."""
    if not record.judged:
        return enter("evidence", "every pod runs it and is ready; not judged: the metrics do not know this service")
    watched = [look for look in record.looks if look.elapsed]
    last = watched[-1] if watched else None
    if last is not None and last.verdict in ("pass", "too-few"):
        return enter("evidence", f"every pod runs it and is ready; {last.reason}")
    if last is not None and (blind := _blind(watched)) >= plan.waits.maximum_hold:
        return enter("rollback", f"inconclusive, no data for {blind:.0f} s: {last.reason}")
    return Action("look", "every pod runs the new version: watched once more")


def good(final: Action) -> bool:
    """Whether the last watch is over and found nothing."""
    return final.kind == "enter" and final.phase == "evidence"


def back_again(record: Record, stable: Workload) -> Action:
    """The end of a way back; what did not come up again is told, for nothing more waits for it."""
    if not changed(record) or stable.ready >= record.capacity:
        return enter("evidence", record.reason)
    told = f"{stable.ready} of {record.capacity} pods of the old version {NOT_UP}"
    trouble = f" ({stable.trouble})" if stable.trouble else ""
    return enter("evidence", f"{record.reason.rstrip('.')}; {told}{trouble}")


def _blind(watched: list[Look]) -> float:
    return sum(look.elapsed for look in watched)
