"""The acts of a canary: its objects, its weight, and stable behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from onlyvips.core import manifests, ratio
from onlyvips.core.action import Action
from onlyvips.core.manifests import canary_name, fingerprint, own_metadata
from onlyvips.core.record import Record
from onlyvips.errors import Misuse
from onlyvips.ports.router import Router
from onlyvips.steps.acting import (
    delete_own,
    hold_minimum,
    metrics_time,
    pin_minimum,
    pods,
    replicas,
    scale_stable,
    template_for,
)
from onlyvips.steps.acts_rolling import give_new, give_old_template, old_template
from onlyvips.steps.preflight_ratio import check_granularity
from onlyvips.steps.routers import canary_router
from onlyvips.steps.tools import Done, Tools, live


def _create_canary(tools: Tools, record: Record, action: Action) -> Done:
    service = tools.plan.service
    record = _grown(tools, record) if record.phase == "rollback" else record
    if service.by_pods:
        record = _counted(tools, record)
    hold_minimum(tools, record)
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    if not service.by_pods:
        front = live(tools, "Service", service.service)
        tools.fence.create(manifests.canary_service(front, canary_name(service.service), own))
    stable, name = live(tools, "Deployment", service.deployment), canary_name(service.deployment)
    template = old_template(tools, record) if record.phase == "rollback" else template_for(tools, record, stable)
    made = tools.fence.create(manifests.canary_deployment(stable, template, name, action.number, own))
    seen, since = fingerprint(made["spec"]["template"]), metrics_time(tools)
    after = replace(record, canary_scaled=action.number, canary_since=since, canary_template=seen)
    return after, f"{name} was made, {pods(made)} asked for"


def _scale_canary(tools: Tools, record: Record, action: Action) -> Done:
    name = canary_name(tools.plan.service.deployment)
    if not tools.plan.service.by_pods:
        record = _grown(tools, record)
    elif record.phase == "rollback":
        record = replace(record, weight=ratio.percent_of(min(action.number, record.capacity), record.capacity))
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if replicas(now) == action.number else (operation,))
    return replace(record, canary_scaled=action.number), f"{name}: {pods(changed)} asked for"


def _counted(tools: Tools, record: Record) -> Record:
    """Shares are of the pods that stable has now. Raises Refused where they cannot make the stages."""
    if record.phase != "canary":
        return record
    pods_now = replicas(live(tools, "Deployment", tools.plan.service.deployment))
    check_granularity(pods_now, tools.plan)
    return replace(record, capacity=pods_now)


def _grown(tools: Tools, record: Record) -> Record:
    """Stable may have been scaled up meanwhile: what it has now is what all of the traffic needs."""
    stable = tools.cluster.get("Deployment", tools.plan.service.deployment)
    if stable is None or replicas(stable) <= record.capacity:
        return record
    record = replace(record, capacity=replicas(stable))
    hold_minimum(tools, record)
    return record


def _set_weight(tools: Tools, record: Record, action: Action) -> Done:
    expected = None if record.phase == "rollback" else record.weight
    if tools.plan.service.by_pods:
        left = record.capacity - ratio.given_away(action.number, record.capacity)
        pin_minimum(tools, tools.plan.service.deployment, max(1, left))
    observed = _router(tools, record).shift(tools.fence.patch, action.number, expected)
    return replace(record, weight=action.number, stage_since=record.stage_since or metrics_time(tools)), observed


def _router(tools: Tools, record: Record) -> Router:
    router = canary_router(tools.cluster, tools.plan, record)
    if router is None:
        raise Misuse(f"{tools.plan.service.name} has no router, and what needs none was refused.")
    return router


def _replace_stable(tools: Tools, record: Record, _: Action) -> Done:
    """Stable gets the canary's template, with its own ``track`` and its own count."""
    record, _made, observed = give_new(tools, record, lambda _: None)
    return record, observed


def _restore_stable(tools: Tools, record: Record, _: Action) -> Done:
    return give_old_template(tools, record, lambda _: None)


def _remove_canary(tools: Tools, record: Record, _: Action) -> Done:
    """First out of the router, then its pods, then its Service; only what this release made."""
    service = tools.plan.service
    _router(tools, record).forget(tools.fence.patch)
    for kind, name in (("Deployment", service.deployment), ("Service", service.service)):
        delete_own(tools, record, kind, canary_name(name))
    observed = f"{canary_name(service.deployment)} is out of the router's sight and deleted"
    return replace(record, canary_scaled=0, weight=0), observed


def _next_stage(tools: Tools, record: Record, _: Action) -> Done:
    after = replace(record, stage=record.stage + 1, stage_since=0.0)
    return after, f"stage {after.stage + 1} of {len(tools.plan.stages)}"


ACTS: Mapping[str, Callable[[Tools, Record, Action], Done]] = {
    "create-canary": _create_canary,
    "scale-canary": _scale_canary,
    "set-weight": _set_weight,
    "next-stage": _next_stage,
    "scale-stable": scale_stable,
    "replace-stable": _replace_stable,
    "restore-stable": _restore_stable,
    "remove-canary": _remove_canary,
}
"""What each action does that only a canary has."""
