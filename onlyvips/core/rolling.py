"""Rolling: the Deployment's own update, watched while it goes on, and undone to the recorded revision.

Kubernetes takes an old pod away as soon as a new one is available. That this loses no request is a matter of the
Deployment's own settings (nothing unavailable, pods that serve on while the router forgets them), which the preflight
asks for.
"""

from __future__ import annotations

from onlyvips.core.action import Action, enter, wait
from onlyvips.core.carry import held, scaled_down, waited_out
from onlyvips.core.in_place import back_again, changed, drift, good, last_watch, leave, sweep
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Workload, World


def forward(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    """The next act of a rolling update that goes forward."""
    if (over := leave(record, world)) is not None:
        return over
    assert world.stable is not None
    stable = world.stable
    if not attended and (stable.release != record.id or stable.ready < stable.replicas or stable.others):
        return enter("rollback", "its driver is gone, and not every pod runs the new version: unattended, it goes back")
    if (hand := drift(record, stable)) is not None:
        return held(hand, world, plan)
    if not record.replaced:
        return Action("replace-stable", "the Deployment's own rolling update: nothing unavailable meanwhile")
    if (more := scaled_down(record, stable)) is not None and not _over(record, stable, plan):
        return more
    return _watch(record, world, stable, plan)


def _over(record: Record, stable: Workload, plan: ReleasePlan) -> bool:
    """All pods are new and were watched, and the autoscaler has its own minimum again: it may go below ours."""
    let_go = any(step.action.startswith("remove leftovers") for step in record.steps)
    return let_go and not stable.others and good(last_watch(record, plan))


def _watch(record: Record, world: World, stable: Workload, plan: ReleasePlan) -> Action:
    if (seen := min(stable.visible, stable.replicas)) > record.rolled:
        told = f"{seen} of {stable.replicas} pods"
        return Action("note-progress", "up for as long as the router needs to see them", number=seen, what=told)
    if _unfinished(stable, plan):
        reason = _progress(record, stable)
        if world.waiting == "rolling" and world.waited >= (limit := plan.waits.ready + plan.waits.propagation):
            return enter("rollback", f"{reason}: no progress for {limit:.0f} s")
        return wait("rolling", reason)
    final = last_watch(record, plan)
    return (sweep(world) or final) if good(final) else final


def _unfinished(stable: Workload, plan: ReleasePlan) -> bool:
    settled = stable.visible >= stable.replicas and stable.quiet >= plan.waits.propagation
    return stable.others > 0 or not stable.complete or not settled


def _progress(record: Record, stable: Workload) -> str:
    trouble = f" ({stable.trouble})" if stable.trouble else ""
    left = f", {stable.others} of another version are left" if stable.others else ""
    return f"{stable.ready} of {stable.replicas} pods run {record.version} and are ready{trouble}{left}"


def back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The next act of a rolling update that goes back: by a rolling update to the template that was recorded."""
    stable = world.stable
    if stable is None:
        return wait("gone", "the Deployment is gone: put it back")
    if stable.release == record.id:
        return Action("restore-stable", "back to the recorded revision, by its own rolling update")
    if changed(record):
        if (more := scaled_down(record, stable)) is not None:
            return more
        if (not_yet := _not_back(record, stable, plan, world)) is not None:
            return not_yet
    return sweep(world) or back_again(record, stable)


def _not_back(record: Record, stable: Workload, plan: ReleasePlan, world: World) -> Action | None:
    """Until no pod of the new version is left, however long it takes; for pods of the old one as long as makes sense"""
    trouble = f" ({stable.trouble})" if stable.trouble else ""
    reason = f"{stable.ready} of {stable.replicas} pods of the old version are back{trouble}"
    if stable.others:
        return wait("stable-ready", f"{reason}, {stable.others} of the new one are left")
    if (stable.ready < record.capacity or not stable.complete) and not waited_out("stable", plan, world):
        return wait("stable-ready", reason)
    return None
