"""What a decision becomes where Helm owns stable: nothing is written over another hand's revision, and no release ends
while a revision of its own is unfinished. Pure."""

from __future__ import annotations

from onlyvips.core.action import Action, wait
from onlyvips.core.carry import held
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import World

_WRITES = ("replace-stable", "restore-stable")


def meant(record: Record) -> bool:
    """Whether this release ever meant to change stable."""
    return any(step.action == "replace stable" for step in record.steps)


def by_helm(action: Action, record: Record, world: World, plan: ReleasePlan) -> Action:
    """``action``, or what comes before it."""
    if plan.chart is None or not world.chart:
        return action
    if action.kind in _WRITES:
        return _write(action, record, world, plan)
    if action.kind == "enter" and action.phase in ("evidence", "together"):
        return _end(action, record, world, plan)
    return action


def _write(action: Action, record: Record, world: World, plan: ReleasePlan) -> Action:
    assert plan.chart is not None
    if world.chart == "other":
        told = f"Helm release {plan.chart.release} was changed by somebody else ({world.chart_told})"
        if action.kind == "replace-stable":
            return held(told, world, plan)
        back = f"`helm rollback {plan.chart.release} {record.chart_revision}` once you know what that takes away"
        return wait("drift", f"{told}: not overwritten; {back}, or bring the old version back in the chart")
    return _once_over(action, world, plan) if world.chart == "unfinished" else action


def _once_over(action: Action, world: World, plan: ReleasePlan) -> Action:
    """A Helm that a dead driver left may be at work for as long as one call takes: it is seen not to change."""
    assert plan.chart is not None
    cut_off = "failed" in world.chart_told or world.chart_still >= plan.chart.timeout
    return action if cut_off else wait("chart", f"Helm is at work, or was cut off: {world.chart_told}")


def _end(action: Action, record: Record, world: World, plan: ReleasePlan) -> Action:
    back = record.phase == "rollback"
    if world.chart == "unfinished" or (world.chart == "ours" and back):
        reason = f"no release ends before Helm's is settled: {world.chart_told}"
        return _write(Action("restore-stable" if back else "replace-stable", reason), record, world, plan)
    return action
