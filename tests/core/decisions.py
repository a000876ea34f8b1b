"""A release, the worlds that it may find, and short words for them: what the tests of ``next_action`` share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onlyvips.core.action import Action
from onlyvips.core.decide import next_action
from onlyvips.core.plan import Guardrail, ReleasePlan, RouteRef, ServicePlan, Stage, Waits
from onlyvips.core.record import Command, Look, Record
from onlyvips.core.world import Split, Workload, World

PROPAGATION, READY, HOLD = 6.0, 60.0, 120.0
PLAN = ReleasePlan(
    environment="test",
    namespace="production",
    service=ServicePlan("backend", "img", "canary", "backend", "backend", RouteRef("onlyvips", "backend")),
    stages=(Stage(10, 20.0), Stage(25, 20.0), Stage(50, 20.0)),
    waits=Waits(propagation=PROPAGATION, poll=2.0, look=10.0, ready=READY, job=60.0, maximum_hold=HOLD),
    guardrails=(Guardrail("api-errors", "errors", 0.05),),
    alpha=0.05,
    lease_duration=15.0,
    migration=None,
    secrets=(),
    automatic_managers=(),
)
ABORT = Command("abort", "Ada", 5.0, "looks odd")
RECORD = Record(
    id="r1",
    environment="test",
    service="backend",
    version="v2",
    from_image="img:v1",
    to_image="img:v2",
    from_release="",
    operator="Ada",
    plan_hash="h",
    capacity=4,
    created=1.0,
)
OLD = Workload("img:v1", "", 4, 4, 4, 99.0, True)
NEW = Workload("img:v2", "r1", 4, 4, 4, 99.0, True)


def canary(ready: int = 4, **more: Any) -> Workload:
    return replace(NEW, replicas=max(ready, 1), ready=ready, visible=ready, **more)


def split(weight: int, settled: float = 99.0, listed: bool = True) -> Split:
    return Split(weight, settled, listed)


def look(verdict: Any, stage: int = 0, elapsed: float = 10.0) -> Look:
    return Look(1.0, stage, 10, elapsed, verdict, "why")


def decide(record: Record, world: World, attended: bool = True) -> Action:
    return next_action(record, world, PLAN, attended=attended)


IN_CANARY = replace(RECORD, phase="canary", canary_scaled=1, weight=10, intended_weight=10)
IN_PROMOTE = replace(RECORD, phase="promote", canary_scaled=4, weight=100, intended_weight=100, stage=2)
GOING_BACK = replace(RECORD, phase="rollback", canary_scaled=1, weight=10, reason="it failed")
TWO_PASSES = (look("pass"), look("pass"))
