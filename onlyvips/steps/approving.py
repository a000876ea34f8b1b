"""Waiting for an approval without a lease: the record is read until something else is due."""

from __future__ import annotations

from contextlib import suppress

from onlyvips.core import approvals
from onlyvips.core.decide import next_action
from onlyvips.core.group import Group
from onlyvips.core.many import next_step
from onlyvips.core.plan import ManyPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import World
from onlyvips.errors import Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster
from onlyvips.steps import group_records, records


def waits(record: Record, plan: ReleasePlan, now: float) -> bool:
    """Whether it waits for people before anything changes; approved, aborted or late it does not."""
    if record.phase != "awaiting-approval":
        return False
    return next_action(record, World(None, None, None, now=now), plan, attended=True).kind == "wait"


def waits_all(group: Group, plan: ManyPlan, now: float) -> bool:
    """As ``waits``, of a release of all services."""
    do = next_step(group, {}, plan, attended=True, now=now) if approvals.pending(group.approvals) else None
    return do is not None and do.kind == "wait-for-approval"


def rests_all(group: Group, plan: ManyPlan, now: float) -> bool:
    """Whether a reconciler has nothing to do for it: it waits for people, by right without a driver."""
    do = next_step(group, {}, plan, attended=False, now=now) if approvals.pending(group.approvals) else None
    return do is not None and do.kind == "wait-for-approval"


def wait_all(cluster: Cluster, clock: Clock, plan: ManyPlan, group: str) -> None:
    """As ``wait``, of a release of all services."""
    while True:
        with suppress(Transient, UnknownOutcome):
            if not waits_all(group_records.load(cluster, group), plan, clock.now()):
                return
        clock.sleep(plan.waits.poll)


def wait(cluster: Cluster, clock: Clock, plan: ReleasePlan, release: str) -> None:
    """Return once it waits no more. A cluster that is away for a while is asked again: nothing is held meanwhile."""
    while True:
        with suppress(Transient, UnknownOutcome):
            if not waits(records.load(cluster, release), plan, clock.now()):
                return
        clock.sleep(plan.waits.poll)
