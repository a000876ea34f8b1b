"""Blue-green: the other colour comes up unseen, is tested, gets all users at once, and the old one stays for a while.

``stable`` of the world is the colour that users were on when the release began, ``canary`` the other one, a weight of
100 that the Service selects that one. The Service selects a colour only when all its pods are ready and were so for a
whole propagation; on the way back as well, while the other one still serves.
"""

from __future__ import annotations

from dataclasses import replace

from onlyvips.core import approvals, commands
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.canary import stage_looks, watch
from onlyvips.core.carry import cannot_carry, held, scaled_down, waited_out
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record, abort_reason
from onlyvips.core.world import Split, Workload, World

_SMOKE_TRIES = 5


def forward(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    """The next act of a blue-green release that goes forward."""
    if (leave := _leave(record, world, attended)) is not None:
        return leave
    if record.stable_replaced:
        return _retire(record, world, plan)
    if (first := _first_of_all(record, world, plan)) is not None:
        return first
    if world.scaler == "stable" and world.split is not None and world.split.weight == record.weight == 100:
        new = record.colours[1]
        return Action("move-scaler", f"the autoscaler follows the users to {new}", what=new)
    if (pause := commands.held(record, world, plan)) is not None:
        return pause
    if record.phase == "preview":
        return _preview(record, world, plan)
    return _switch(record, world, plan) if record.phase == "switch" else _warm(record, world, plan)


def selected(record: Record, weight: int) -> str:
    """The colour that a Service with this weight selects, for people."""
    return {0: record.colours[0], 100: record.colours[1]}.get(weight, "neither colour")


def _leave(record: Record, world: World, attended: bool) -> Action | None:
    old, new = record.colours
    if record.aborted:
        return enter("rollback", abort_reason(record))
    if not attended and not record.stable_replaced:
        return enter("rollback", f"its driver is gone: unattended, users go back to {old}")
    if world.split is None:
        return enter("rollback", "the Service is gone: somebody removed it in the middle of the release")
    if world.stable is None and not record.stable_replaced:
        return enter("rollback", f"the Deployment of {old} is gone: somebody removed it in the middle of the release")
    if world.canary is None and (record.canary_scaled or record.phase != "preview"):
        return enter("rollback", f"the Deployment of {new} is gone: somebody removed it in the middle of the release")
    return None


def _first_of_all(record: Record, world: World, plan: ReleasePlan) -> Action | None:
    """What is looked at before any step forward: a failed look, another's hand, pods that are gone."""
    assert world.stable is not None and world.split is not None
    looks, new = stage_looks(record), record.colours[1]
    if looks and looks[-1].verdict == "fail":
        return enter("rollback", f"look {len(looks)} of {new} failed: {looks[-1].reason}")
    ready = world.canary.ready if world.canary else 0
    weak = world.split.weight == 100 and ready < record.capacity
    trouble = (world.canary.trouble if world.canary else "") or "no pod says why"
    few = f"only {ready} of {record.capacity} pods of {new}, which users are on, are ready ({trouble})"
    drift = _drift(record, world.stable, world.canary, world.split)
    if weak:
        return enter("rollback", f"{drift}, and {few}" if drift else few)
    if drift is None:
        return None
    return held(drift, world, plan)


def _drift(record: Record, stable: Workload, canary: Workload | None, split: Split) -> str | None:
    old, new = record.colours
    if split.weight not in (record.weight, record.intended_weight):
        is_now, was = selected(record, split.weight), selected(record, record.weight)
        return f"the Service selects {is_now} and this release had left it at {was}"
    if record.from_template not in ("", stable.template):
        return f"the pod template of {old} was changed by somebody else"
    if canary is not None and record.canary_template not in ("", canary.template):
        return f"the pod template of {new} was changed by somebody else"
    return None


def _preview(record: Record, world: World, plan: ReleasePlan) -> Action:
    assert world.stable is not None and world.split is not None
    canary, new = world.canary, record.colours[1]
    needed = max(record.capacity, world.stable.replicas)
    if (
        canary is None
        or canary.release != record.id
        or canary.replicas < needed
        or not world.split.listed
        or not record.canary_scaled
    ):
        return Action("bring-up", f"{new} needs all pods before any user sees it", number=needed, what=new)
    if (not_yet := cannot_carry(new, canary, needed, plan, world)) is not None:
        return not_yet
    if not record.tested:
        if (tries := _unanswered(record)) >= _SMOKE_TRIES:
            return enter("rollback", f"the smoke tests of {new} got no answer, {tries} times")
        return Action("smoke-test", f"{new} is ready, and has no users yet", what=new)
    return enter("switch", f"{new} is ready: {record.tested}")


def _unanswered(record: Record) -> int:
    """How often smoke tests were begun and did not end: no bad answer, and no good one."""
    return sum(step.tries for step in record.steps if step.action.startswith("smoke test") and step.done is None)


def _switch(record: Record, world: World, plan: ReleasePlan) -> Action:
    canary, split, new = world.canary, world.split, record.colours[1]
    assert world.stable is not None and split is not None
    if split.weight != record.weight:
        meant = "meant by a driver that died before it wrote it down"
        return Action("switch", meant, number=split.weight, what=selected(record, split.weight))
    if split.weight == 100:
        if split.settled < plan.waits.propagation:
            return wait("route", f"the router is given {plan.waits.propagation:g} s to obey")
        return enter("warm", f"users are on {new}")
    if canary is None or canary.release != record.id:
        return enter("rollback", f"{new} does not run this release any more")
    needed = max(record.capacity, world.stable.replicas)
    if canary.replicas < needed:
        return Action("bring-up", f"all of the traffic needs {needed} pods by now", number=needed, what=new)
    not_yet = cannot_carry(new, canary, needed, plan, world)
    if not_yet is None and not record.tested:
        return Action("smoke-test", f"{new} was not tested yet", what=new)
    if (asked := approvals.gate(record, world, plan, approvals.SWITCH)) is not None:
        return asked
    return not_yet or Action("switch", f"all {needed} pods of {new} are ready and tested", number=100, what=new)


def _warm(record: Record, world: World, plan: ReleasePlan) -> Action:
    stable, canary, old = world.stable, world.canary, record.colours[0]
    assert stable is not None and canary is not None
    if stable.replicas < (wanted := max(record.capacity, canary.replicas)):
        return Action("scale-stable", f"{old} is kept fit to carry all, for the way back", number=wanted)
    return watch(record, plan) or _retire(record, world, plan)


def _retire(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The new colour was watched for long enough: the old one goes to sleep, and is the other colour from now on."""
    stable, canary, split, (old, new) = world.stable, world.canary, world.split, record.colours
    assert split is not None
    if canary is None or split.weight != 100:
        return enter(
            "rollback", f"the Service selects {selected(record, split.weight)} by now: somebody took {new} away"
        )
    if split.settled < plan.waits.propagation:
        return wait("route", f"the router is given {plan.waits.propagation:g} s before {old} goes to sleep")
    if stable is not None and stable.replicas > 0:
        needed = max(1, min(record.capacity, canary.replicas))
        not_yet = cannot_carry(new, canary, needed, plan, world)
        return not_yet or Action("retire", f"{new} was watched for its time and is good", what=old)
    return _leftovers(world) or enter("evidence", "promoted")


def _leftovers(world: World) -> Action | None:
    if not world.leftovers:
        return None
    left = ",".join(world.leftovers)
    return Action("remove-leftovers", f"made by this release: {left}", what=left)


def back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The next act of a blue-green release that goes back: users first, then what is left."""
    stable, canary, split, (old, new) = world.stable, world.canary, world.split, record.colours
    if split is None:
        return wait("gone", "the Service is gone: put it back")
    if stable is None:
        keeps = f"{new} keeps the users" if split.weight == 100 else "nobody serves"
        return wait("gone", f"the Deployment of {old} is gone: put it back, {keeps} until then")
    if split.weight != 0:
        return _users_back(record, world, stable, split, plan)
    if split.settled < plan.waits.propagation:
        return wait("route", f"the router is given {plan.waits.propagation:g} s before {new} goes")
    if world.scaler == "canary":
        return Action("move-scaler", f"the autoscaler follows the users to {old}", what=old)
    if (more := scaled_down(record, stable)) is not None:
        return more
    if canary is not None and (canary.release == record.id or record.canary_scaled):
        return Action("put-back", f"no user reaches {new} any more", what=new)
    return _leftovers(world) or enter("evidence", record.reason)


def _needed_back(record: Record, serving: Workload | None) -> int:
    """Pods of the old colour for all users. Kept warm it has what it needs; out of its sleep, hours later, as many as
    serve by now."""
    return max(record.capacity, serving.replicas) if serving is not None and record.stable_replaced else record.capacity


def _users_back(record: Record, world: World, stable: Workload, split: Split, plan: ReleasePlan) -> Action:
    """At once where the old colour can carry all, which it was kept warm for; else when it can."""
    old, new = record.colours
    serving = world.canary.ready if world.canary is not None and split.weight == 100 else 0
    needed = _needed_back(record, world.canary) if serving else record.capacity
    home = Action("switch", f"back to {old}, {stable.ready} of {needed} pods ready", what=old)
    if not serving and stable.ready:
        return home
    if (more := scaled_down(replace(record, capacity=needed), stable)) is not None:
        return more
    if not serving:
        return wait(f"{old}-ready", f"no pod of {old} is ready ({stable.trouble or 'no pod says why'}), nor of {new}")
    not_yet = cannot_carry(old, stable, needed, plan, world)
    if not_yet is None or (stable.visible > serving and stable.quiet >= plan.waits.propagation):
        return home
    if not_yet.kind == "wait" and not waited_out(old, plan, world):
        return not_yet
    return wait(
        f"{old}-ready",
        f"{stable.ready} of {needed} pods of {old} are ready ({stable.trouble or 'no pod says why'}): {new} "
        f"keeps the users until all are; to go back at once, scale its Deployment to 0",
    )
