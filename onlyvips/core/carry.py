"""What a switch of traffic waits for, on the way up and on the way back: ready pods, and a router that sees them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from onlyvips.core.action import Action, enter, wait
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World


def present(world: World) -> tuple[Workload, Workload | None, Split]:
    """Stable, the canary and the split of a world that has a stable and a rule: the caller saw to it."""
    assert world.stable is not None and world.split is not None
    return world.stable, world.canary, world.split


def with_rule(record: Record, world: World) -> World:
    """The world, where nothing of the canary is left with a rule that gives it nothing: then it matters no more whether
    the rule can be found."""
    if world.split is None and world.canary is None and not record.canary_scaled:
        return replace(world, split=Split(weight=0, settled=inf, listed=False))
    return world


def cannot_carry(who: str, workload: Workload, needed: int, plan: ReleasePlan, world: World) -> Action | None:
    """The wait before a switch: ready pods that the router can see, and none that just left.

    One wait with one limit for all of it, so that pods that come and go do not hold a release for ever.
    """
    limit = plan.waits.ready + plan.waits.propagation
    if workload.ready < needed or not workload.complete:
        trouble = workload.trouble or "no pod says why"
        reason = f"{workload.ready} of {needed} pods of {who} are ready ({trouble})"
    elif workload.visible < needed or workload.quiet < plan.waits.propagation:
        reason = f"the router is given {plan.waits.propagation:g} s to see the pods of {who}"
    else:
        return None
    if waited_out(who, plan, world):
        return enter("rollback", f"{reason}: not so for {limit:.0f} s")
    return wait(f"{who}-ready", reason)


def waited_out(who: str, plan: ReleasePlan, world: World) -> bool:
    """Whether the pods of ``who`` were waited for as long as it makes sense."""
    return world.waiting == f"{who}-ready" and world.waited >= plan.waits.ready + plan.waits.propagation


def held(drift: str, world: World, plan: ReleasePlan) -> Action:
    """The wait while another hand's work stands there: nothing is overwritten, and at the maximum hold it goes back."""
    if world.waiting == "drift" and world.waited >= plan.waits.maximum_hold:
        return enter("rollback", f"{drift}; nobody put it right within {plan.waits.maximum_hold:.0f} s")
    return wait("drift", f"{drift}: held, nothing is overwritten; put it back or abort")


def scaled_down(record: Record, stable: Workload) -> Action | None:
    """Stable lost pods of its count meanwhile (an autoscaler saw it idle): all of the traffic needs them again."""
    if stable.replicas >= record.capacity:
        return None
    reason = f"it was scaled to {stable.replicas} meanwhile, and all of the traffic needs {record.capacity}"
    return Action("scale-stable", reason, number=record.capacity)


def kept_still(split: Split) -> Action | None:
    """All of the traffic goes one way, and rules or cookies still lead users the other: they go first."""
    if not split.sticky or split.weight not in (0, 100):
        return None
    return Action("set-weight", "rules of the route still keep users to a version", number=split.weight)


def clear_away(canary: Workload | None, split: Split, plan: ReleasePlan, world: World) -> Action | None:
    """Remove the canary and what else is left, once no router can still be sending to it."""
    if canary is not None or split.listed:
        if split.settled < plan.waits.propagation:
            return wait("route", f"the router is given {plan.waits.propagation:g} s before the canary goes")
        return Action("remove-canary", "no traffic reaches it any more")
    if world.leftovers:
        left = ",".join(world.leftovers)
        return Action("remove-leftovers", f"made by this release: {left}", what=left)
    return None
