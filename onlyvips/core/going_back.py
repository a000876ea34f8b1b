"""The way back: weight to what is healthy, stable's old version, nothing left over."""

from __future__ import annotations

from onlyvips.core import ratio
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.carry import cannot_carry, clear_away, kept_still, present, scaled_down, waited_out, with_rule
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World, weight_for


def roll_back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The next act of a release that goes back."""
    if plan.service.by_pods:
        return ratio.back(record, world, plan)
    world = with_rule(record, world)
    stable, canary, split = world.stable, world.canary, world.split
    if stable is None:
        return wait("gone", "the Deployment of stable is gone: put it back, the canary keeps its traffic until then")
    if split is None:
        return wait("gone", "the service's one rule in the HTTPRoute is not to be found: put it back")
    if (first := kept_still(split)) is not None:
        return first
    if stable.release == record.id:
        return _take_stable_back(record, world, plan)
    if split.weight > 0:
        return _weight_back(record, world, stable, split, plan)
    short = stable.ready < record.capacity or not stable.complete
    if record.stable_replaced and short and not waited_out("stable", plan, world):
        return wait("stable-ready", f"{stable.ready} of {record.capacity} pods of the old version are back")
    return clear_away(canary, split, plan, world) or enter("evidence", record.reason)


def _take_stable_back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """Stable has the new version already: it is replaced unseen, behind a canary that carries all.

    One that is there runs what stable runs, so nobody sees more of the version; else it is one of the old version.
    Unattended too: no weight of the new version is raised. In place only where no canary gets ready.
    """
    stable, canary, split = present(world)
    restore = Action("restore-stable", "stable goes back to the version it had")
    if split.weight > 0 and stable.ready > 0 and (canary is None or canary.ready == 0):
        return Action("set-weight", "no pod of the canary is ready, stable has some", number=0)
    if split.weight == 100 and split.settled < plan.waits.propagation:
        return wait("route", f"the router is given {plan.waits.propagation:g} s to obey")
    if split.weight == 100 or stable.ready == 0:
        return restore
    needed = max(record.capacity, stable.replicas)  # it may have waited for hours, and an autoscaler added pods
    if canary is None:
        return Action("create-canary", "the old version carries all while stable goes back", number=needed)
    if split.weight == 0 and canary.release == record.id and canary.ready < needed:
        return _clear_the_place(canary, split, plan)
    if canary.replicas < needed:
        return Action("scale-canary", "it carries all while stable goes back", number=needed)
    if (not_yet := cannot_carry("canary", canary, needed, plan, world)) is None:
        return Action("set-weight", "the canary carries all while stable goes back", number=100)
    if not_yet.kind == "wait":
        return not_yet
    return Action("restore-stable", f"stable goes back where it stands, for no canary can carry: {not_yet.reason}")


def _clear_the_place(canary: Workload, split: Split, plan: ReleasePlan) -> Action:
    """A canary of the new version that serves nobody and cannot carry all: one of the old version has its name."""
    if split.settled < plan.waits.propagation:
        return wait("route", f"the router is given {plan.waits.propagation:g} s before the canary goes")
    told = f"{canary.ready} of its pods are ready ({canary.trouble or 'no pod says why'})"
    return Action("remove-canary", f"it serves nobody, {told}: one of the old version comes in its place")


def _weight_back(record: Record, world: World, stable: Workload, split: Split, plan: ReleasePlan) -> Action:
    """To what is healthy, found by looking: at once to what is ready, the rest as it becomes ready."""
    carried = world.canary is not None and world.canary.ready > 0
    able = stable.ready
    if record.stable_replaced and carried:
        # These pods are new: the router must see all of them, or, when no more come, those that there are.
        not_yet = cannot_carry("stable", stable, record.capacity, plan, world)
        if not_yet is not None and not_yet.kind == "wait":
            return scaled_down(record, stable) or not_yet
        able = stable.visible if stable.quiet >= plan.waits.propagation else 0
    if able == 0:
        return wait("stable-ready", f"no pod of stable is ready ({stable.trouble or 'no pod says why'})")
    lowest = min(split.weight, 100 - weight_for(able, record.capacity)) if carried else 0
    if lowest < split.weight or split.sticky:
        return Action("set-weight", f"back to stable, {able} of {record.capacity} pods ready", number=lowest)
    return scaled_down(record, stable) or wait("stable-ready", _rest(record, stable, split))


def _rest(record: Record, stable: Workload, split: Split) -> str:
    return (
        f"{stable.ready} of {record.capacity} pods of stable are ready ({stable.trouble or 'no pod says why'}): the "
        f"canary keeps {split.weight} % until more are; to take it away at once, scale its Deployment to 0"
    )
