"""The acts of a canary: its objects, its weight, and stable behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onlyvips.core import httproute, manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import fingerprint, own_metadata
from onlyvips.core.record import Record
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Manifest
from onlyvips.steps.acting import (
    delete_own,
    hold_minimum,
    metrics_time,
    pods,
    replicas,
    scale_stable,
    snapshot_of,
    template_for,
)
from onlyvips.steps.observe import canary_name
from onlyvips.steps.tools import Done, Tools, live


def _create_canary(tools: Tools, record: Record, action: Action) -> Done:
    service = tools.plan.service
    hold_minimum(tools, record)
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    front = live(tools, "Service", service.service)
    tools.fence.create(manifests.canary_service(front, canary_name(service.service), own))
    stable, name = live(tools, "Deployment", service.deployment), canary_name(service.deployment)
    template = template_for(tools, record, stable)
    made = tools.fence.create(manifests.canary_deployment(stable, template, name, action.number, own))
    seen, since = fingerprint(made["spec"]["template"]), metrics_time(tools)
    after = replace(record, canary_scaled=action.number, canary_since=since, canary_template=seen)
    return after, f"{name} was made, {pods(made)} asked for"


def _scale_canary(tools: Tools, record: Record, action: Action) -> Done:
    name = canary_name(tools.plan.service.deployment)
    record = _grown(tools, record)
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if replicas(now) == action.number else (operation,))
    return replace(record, canary_scaled=action.number), f"{name}: {pods(changed)} asked for"


def _grown(tools: Tools, record: Record) -> Record:
    """Stable may have been scaled up meanwhile: what it has now is what all of the traffic needs."""
    stable = tools.cluster.get("Deployment", tools.plan.service.deployment)
    if stable is None or replicas(stable) <= record.capacity:
        return record
    record = replace(record, capacity=replicas(stable))
    hold_minimum(tools, record)
    return record


def _set_weight(tools: Tools, record: Record, action: Action) -> Done:
    service = tools.plan.service
    assert service.route is not None
    rule, stable, canary = service.route.rule, service.service, canary_name(service.service)

    def change(route: Manifest) -> Sequence[Manifest]:
        index = _rule(route, rule, stable, canary)
        found = httproute.canary_weight(route, index, canary)
        if found == action.number:
            return ()
        if action.number > found != record.weight and record.phase != "rollback":
            raise Transient(f"The route shows {found} % for the canary by now: nothing was written, decided anew.")
        return httproute.weigh(route, index, stable, canary, action.number)

    tools.fence.patch("HTTPRoute", service.route.name, change)
    read = live(tools, "HTTPRoute", service.route.name)
    weight = httproute.canary_weight(read, _rule(read, rule, stable, canary), canary)
    if weight != action.number:
        raise Transient(f"HTTPRoute {service.route.name} was set to {action.number} % and reads {weight} %.")
    since = record.stage_since or metrics_time(tools)
    return replace(record, weight=weight, stage_since=since), f"the route shows {weight} % for the canary"


def _rule(route: Manifest, rule: str, service: str, canary: str) -> int:
    index = httproute.rule_index(route, rule, service, canary)
    if index is None:
        raise Permanent(f"HTTPRoute {route['metadata']['name']} has no rule {rule} any more: put it back.")
    return index


def _replace_stable(tools: Tools, record: Record, _: Action) -> Done:
    """Stable gets the canary's template, with its own ``track`` and its own count."""
    service = tools.plan.service

    def change(now: Manifest) -> Sequence[Manifest]:
        if manifests.template_release(now) == record.id:
            return ()
        if record.from_template not in ("", fingerprint(now["spec"]["template"])):
            raise Transient(f"{service.deployment} was changed by somebody else: nothing was written, decided anew.")
        template = template_for(tools, record, now)
        return ({"op": "replace", "path": "/spec/template", "value": template},)

    tools.fence.patch("Deployment", service.deployment, change)
    return record, f"{service.deployment} has the template of release {record.id}"


def _restore_stable(tools: Tools, record: Record, _: Action) -> Done:
    template = snapshot_of(tools.cluster, record, "Deployment")["spec"]["template"]

    def change(now: Manifest) -> Sequence[Manifest]:
        if manifests.template_release(now) != record.id:
            return ()
        return ({"op": "replace", "path": "/spec/template", "value": template},)

    tools.fence.patch("Deployment", tools.plan.service.deployment, change)
    return replace(record, stable_replaced=True), f"{tools.plan.service.deployment} has the template it had before"


def _remove_canary(tools: Tools, record: Record, _: Action) -> Done:
    """First out of the route, then its pods, then its Service; only what this release made."""
    service = tools.plan.service
    assert service.route is not None
    rule, stable, canary = service.route.rule, service.service, canary_name(service.service)
    tools.fence.patch(
        "HTTPRoute",
        service.route.name,
        lambda route: httproute.forget(route, _rule(route, rule, stable, canary), stable, canary),
    )
    for kind, name in (("Deployment", canary_name(service.deployment)), ("Service", canary)):
        delete_own(tools, record, kind, name)
    return replace(record, canary_scaled=0), f"{canary} is out of the route and deleted"


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
