"""A canary without a router that knows weights: the Service selects both tracks, and the share is that of pods.

``capacity`` pods carry all. At ``weight`` percent the canary has that part of them and stable the rest: the canary's
come first, then stable gives as many away. A split's weight is what stable gave away; on the way back stable gets its
pods again at once, and the canary loses one for each that the router can see. Pods that go serve until the router has
forgotten them (their preStop hook, which the preflight asks for), so nothing waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, inf, lcm

from onlyvips.core.action import Action, enter, wait
from onlyvips.core.carry import cannot_carry, clear_away, present, scaled_down, waited_out
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World


def given_away(weight: int, capacity: int) -> int:
    """Pods of stable that make room for ``weight`` percent: rounded down, so that the share is never more."""
    return weight * capacity // 100


def percent_of(pods: int, capacity: int) -> int:
    """What ``pods`` given away are in whole percent, rounded up; below 0 where stable has more than it had."""
    return -(-100 * pods // max(1, capacity))


def carried_by(pods: int, capacity: int) -> int:
    """The greatest weight that ``pods`` ready pods may carry and a count can make."""
    pods = min(pods, capacity)
    exact = percent_of(pods, capacity)
    return exact if given_away(exact, capacity) <= pods else 100 * pods // capacity


def cannot_make(weights: Sequence[int], capacity: int) -> list[int]:
    """Those of ``weights`` that are no whole number of ``capacity`` pods."""
    return [weight for weight in weights if weight * capacity % 100]


def can_make(capacity: int) -> list[int]:
    """All stages, in whole percent, that ``capacity`` pods can make."""
    return [weight for weight in range(1, 100) if not weight * capacity % 100]


def least_pods(weights: Sequence[int]) -> int:
    """The smallest count that makes all of ``weights``."""
    return lcm(*(100 // gcd(weight, 100) for weight in weights))


def granularity(weights: Sequence[int], capacity: int) -> str:
    """What speaks against making ``weights`` of ``capacity`` pods, and what would help; "" where nothing does."""
    if not (impossible := cannot_make(weights, capacity)):
        return ""
    possible = can_make(capacity)
    makes = ", ".join(f"{weight}%" for weight in possible) or "no stage at all"
    told = ", ".join(f"{weight}%" for weight in impossible)
    return (
        f"{told} of {capacity} pod{'' if capacity == 1 else 's'} is no whole number of pods: they can make {makes}; "
        f"{least_pods(weights)} pods (or a multiple) would make all stages"
    )


def after_replacing(record: Record, world: World, plan: ReleasePlan) -> Action:
    """Promotion, once stable has the new template: its pods come up beside the canary's, which then go."""
    stable, canary, split = present(world)
    if stable.replicas < record.capacity:
        reason = "stable runs the new version: it gets all of its pods, the canary carries all until then"
        return Action("scale-stable", reason, number=record.capacity)
    up = canary is None and not record.canary_scaled
    not_yet = None if up else cannot_carry("stable", stable, record.capacity, plan, world)
    return not_yet or clear_away(canary, split, plan, world) or enter("evidence", "promoted")


def back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The next act of a release that goes back."""
    stable, canary = world.stable, world.canary
    if stable is None:
        return wait("gone", "the Deployment of stable is gone: put it back, the canary keeps its traffic until then")
    if stable.release == record.id:
        return _take_stable_back(record, world, stable, canary, plan)
    if _touched(record, canary) and scaled_down(record, stable) is not None:
        reason = f"back to stable: all of its {record.capacity} pods come up again"
        return Action("scale-stable", reason, number=record.capacity)
    not_yet = cannot_carry("stable", stable, record.capacity, plan, world)
    if not_yet is not None and canary is not None and canary.ready:
        return _one_for_one(record, stable, canary)
    short = stable.ready < record.capacity or not stable.complete
    if canary is None and _touched(record, canary) and short and not waited_out("stable", plan, world):
        return wait("stable-ready", f"{stable.ready} of {record.capacity} pods of stable are back")
    settled = world.split.settled if world.split else inf  # a Service that is gone is another's to put right
    split = Split(weight=0, settled=settled, listed=False)
    return clear_away(canary, split, plan, world) or enter("evidence", record.reason)


def _touched(record: Record, canary: Workload | None) -> bool:
    """Whether this release may have taken pods from stable: else their count is not its business."""
    return canary is not None or record.canary_scaled > 0 or record.intended_weight > 0 or record.stable_replaced


def _one_for_one(record: Record, stable: Workload, canary: Workload) -> Action:
    """Never fewer pods than it takes: the canary keeps those that stable has not got yet."""
    kept = max(1, record.capacity - stable.visible)
    if canary.replicas > kept:
        reason = f"{stable.visible} of {record.capacity} pods of stable are ready and seen by the router"
        return Action("scale-canary", reason, number=kept)
    return wait(
        "stable-ready",
        f"{stable.ready} of {record.capacity} pods of stable are ready ({stable.trouble or 'no pod says why'}): the "
        f"canary keeps {canary.replicas} until the router sees more; to take it away at once, scale its Deployment to "
        "0",
    )


def _take_stable_back(
    record: Record, world: World, stable: Workload, canary: Workload | None, plan: ReleasePlan
) -> Action:
    """Stable has the new template already. It is replaced where it stands, while a canary with all pods carries: the
    one that is there, which runs what stable runs, or one of the old version. Without one when none gets ready."""
    restore = Action("restore-stable", "stable goes back to the version it had")
    if stable.ready == 0:
        return restore
    needed = max(record.capacity, stable.replicas)
    if canary is None:
        return Action("create-canary", "the old version carries all while stable goes back", number=needed)
    if canary.replicas < needed:
        return Action("scale-canary", "it carries all while stable goes back", number=needed)
    not_yet = cannot_carry("canary", canary, needed, plan, world)
    return not_yet if not_yet is not None and not_yet.kind == "wait" else restore


def drift(record: Record, stable: Workload, canary: Workload, split: Split, plan: ReleasePlan) -> str | None:
    """What another hand, or an autoscaler, made of the counts."""
    if split.weight not in (record.weight, record.intended_weight):
        left = record.capacity - given_away(record.weight, record.capacity)
        return f"stable asks for {stable.replicas} pods and this release had left it {left}"
    stage = plan.stages[min(record.stage, len(plan.stages) - 1)]
    wanted = given_away(stage.weight, record.capacity) if record.phase == "canary" else record.capacity
    if canary.replicas > max(record.canary_scaled, wanted):
        return f"the canary asks for {canary.replicas} pods and this release had asked for {record.canary_scaled}"
    return None
