"""Recreate: for what may never run twice. Stopped, seen to be gone, given the new version, started.

Whether something runs is decided by looking at pods, those that are ending too: a pod that does not end holds the
release, and is never forced away, for its process may live on a node that does not answer.
"""

from __future__ import annotations

from onlyvips.core.action import Action, enter, wait
from onlyvips.core.carry import held, waited_out
from onlyvips.core.in_place import back_again, changed, drift, last_watch, leave, sweep
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Workload, World

_STOP, _EMPTY = "ending", "empty"


def forward(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    """The next act of a recreation that goes forward."""
    if (over := leave(record, world)) is not None:
        return over
    assert world.stable is not None
    stable = world.stable
    if not attended and (stable.release != record.id or stable.ready < record.capacity):
        return enter("rollback", "its driver is gone, and the new version is not up: unattended, it goes back")
    if (hand := drift(record, stable)) is not None:
        return held(hand, world, plan)
    if not record.replaced:
        return _replace(record, world, stable, plan)
    if not stable.replicas and _did(record, "start"):
        return held("somebody stopped it again", world, plan)
    return _at_most(_start(record, world, stable, plan), world, plan) or sweep(world) or last_watch(record, plan)


def _replace(record: Record, world: World, stable: Workload, plan: ReleasePlan) -> Action:
    if stable.replicas and _did(record, "stop"):
        return held("somebody started it again", world, plan)
    if stable.replicas:
        return Action("stop", "two never run at once: the old one ends before the new one begins")
    if (not_yet := _at_most(_nobody(world, stable, plan), world, plan)) is not None:
        return not_yet
    return Action("replace-stable", "nothing of it runs: it gets the new version")


def _at_most(not_yet: Action | None, world: World, plan: ReleasePlan) -> Action | None:
    """Back, where a pod of the way forward has not ended for as long as a release may be held."""
    if not_yet is not None and not_yet.what == world.waiting == _STOP and world.waited >= plan.waits.maximum_hold:
        return enter("rollback", not_yet.reason)
    return not_yet


def _did(record: Record, act: str) -> bool:
    return any(step.action == act and step.done is not None for step in record.steps)


def _nobody(world: World, stable: Workload, plan: ReleasePlan) -> Action | None:
    """The wait until no pod is left: seen twice, for a controller may have been at work on one."""
    if stable.running:
        names = ", ".join(stable.ending) or "its pod"
        if world.waiting == _STOP and world.waited >= plan.waits.ready:
            return wait(
                _STOP,
                f"{names} has not ended for {plan.waits.ready:.0f} s and is not forced, for its process may still run: "
                "look at its node; `kubectl delete pod --force` only once you know that the process is gone",
            )
        return wait(_STOP, f"{names} is ending: nothing starts before it is gone")
    if not stable.complete or world.waiting != _EMPTY or world.waited < plan.waits.poll:
        return wait(_EMPTY, "no pod is left: looked at once more")
    return None


def _start(record: Record, world: World, stable: Workload, plan: ReleasePlan) -> Action | None:
    """Scaled up where nothing runs, then waited for; None once it is up and stays up."""
    if not stable.replicas:
        return _nobody(world, stable, plan) or Action("start", "nothing else of it runs", number=record.capacity)
    if stable.visible >= record.capacity and stable.complete:
        return None
    reason = f"{stable.ready} of {record.capacity} pods are up ({stable.trouble or 'ready, and watched for a while'})"
    if waited_out("stable", plan, world):
        return enter("rollback", f"{reason}: not so for {plan.waits.ready + plan.waits.propagation:.0f} s")
    return wait("stable-ready", reason)


def back(record: Record, world: World, plan: ReleasePlan) -> Action:
    """The next act of a recreation that goes back: the same way, with the template that was recorded."""
    stable = world.stable
    if stable is None:
        return wait("gone", "the Deployment is gone: put it back, and see that nothing of it runs before you do")
    if stable.release == record.id:
        if stable.replicas:
            return Action("stop", "two never run at once: the new one ends before the old one comes back")
        not_yet = _nobody(world, stable, plan)
        return not_yet or Action("restore-stable", "nothing of it runs: it gets back what it had")
    if changed(record):
        not_yet = _start(record, world, stable, plan)
        if not_yet is not None and not_yet.phase != "rollback":
            return not_yet
    return sweep(world) or back_again(record, stable)
