"""Waiting for an approval without a lease: the record is read until something else is due."""

from __future__ import annotations

from contextlib import suppress

from onlyvips.core.decide import next_action
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import World
from onlyvips.errors import Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster
from onlyvips.steps import records


def waits(record: Record, plan: ReleasePlan, now: float) -> bool:
    """Whether it waits for people before anything changes; approved, aborted or late it does not."""
    if record.phase != "awaiting-approval":
        return False
    return next_action(record, World(None, None, None, now=now), plan, attended=True).kind == "wait"


def wait(cluster: Cluster, clock: Clock, plan: ReleasePlan, release: str) -> None:
    """Return once it waits no more. A cluster that is away for a while is asked again: nothing is held meanwhile."""
    while True:
        with suppress(Transient, UnknownOutcome):
            if not waits(records.load(cluster, release), plan, clock.now()):
                return
        clock.sleep(plan.waits.poll)
