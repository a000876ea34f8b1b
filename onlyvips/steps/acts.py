"""What each action of ``core.decide`` does to the world: fenced, idempotent, read back.

Each act may die on any line; run again it finds what is there and does the rest. It returns the record as it now is
and one sentence of what was read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from onlyvips.core import httproute, manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import RELEASE, annotations_of, fingerprint, own_metadata
from onlyvips.core.record import Record
from onlyvips.errors import OnlyVipsError, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import records
from onlyvips.steps.migrate import migrate
from onlyvips.steps.observe import HELD_MINIMUM, SCALER, canary_name, scaler_of
from onlyvips.steps.tools import Done, Tools, live


def perform(tools: Tools, record: Record, action: Action) -> Done:
    """Do ``action``. Raises what the adapters raise; the caller decides what that means."""
    return _ACTS[action.kind](tools, record, action)


def _snapshot(tools: Tools, record: Record, _: Action) -> Done:
    """Keep what a rollback has to bring back, read once, before anything changes."""
    service = tools.plan.service
    kept = {
        "Deployment": service.deployment,
        "Service": service.service,
        "HTTPRoute": service.route.name if service.route else "",
    }
    found = {kind: tools.cluster.get(kind, name) for kind, name in kept.items() if name}
    found[SCALER] = scaler_of(tools.cluster, service.deployment)
    name = f"onlyvips-release-{record.id}-snapshot"
    data = {kind: json.dumps(manifest, separators=(",", ":")) for kind, manifest in found.items() if manifest}
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    tools.fence.create(manifests.object_of("ConfigMap", name, own, data=data, immutable=True))
    return replace(record, snapshot=name), f"kept {', '.join(data)} in ConfigMap {name}"


def snapshot_of(cluster: Cluster, record: Record, kind: str) -> Manifest:
    """What ``kind`` looked like before the release. Raises Permanent when the snapshot is gone."""
    found = cluster.get("ConfigMap", record.snapshot)
    if found is None or kind not in found["data"]:
        raise Permanent(
            f"The snapshot {record.snapshot} has no {kind}: stable cannot be put back from it; `kubectl rollout undo` "
            f"of the Deployment of {record.service} does, once you have looked."
        )
    manifest: Manifest = json.loads(found["data"][kind])
    return manifest


def _back_up(tools: Tools, record: Record, _: Action) -> Done:
    backup = tools.back_up(record, _hearing(tools, record))
    return replace(record, backup=backup), f"backup {backup} is complete and was read back"


def _hearing(tools: Tools, record: Record) -> Callable[[], None]:
    """Progress that keeps the lease and hears an abort, to be called every few seconds: a backup may take hours.

    An API that is away for a moment does not cost them: nothing is written to it meanwhile.
    """

    def progress() -> None:
        with suppress(Transient, UnknownOutcome):
            tools.fence.progress()
            if (command := records.load(tools.cluster, record.id).aborted) is not None:
                raise Permanent(f"{command.by} asked for an abort: {command.reason or 'no reason given'}")

    return progress


def _create_secrets(tools: Tools, record: Record, _: Action) -> Done:
    """Secrets under names that carry a fingerprint of their values; those that are live already stay."""
    stable = live(tools, "Deployment", tools.plan.service.deployment)
    used, renamed = manifests.secret_names(stable["spec"]["template"]), []
    for secret in tools.plan.secrets:
        values = {key: tools.resolve(reference) for key, reference in secret.values}
        name = f"{secret.name}-{fingerprint(values)}"
        olds = {old for old in used if manifests.is_generation(old, secret.replaces, secret.name)}
        if olds - {name} and tools.cluster.get("Secret", name) is None:
            own = own_metadata(record.id, record.service, tools.fence.epoch)
            tools.fence.create(manifests.object_of("Secret", name, own, stringData=values, immutable=True))
        renamed += [(old, name) for old in sorted(olds) if old != name]
    observed = ", ".join(f"{old} -> {new}" for old, new in renamed) or "no Secret changes"
    return replace(record, secrets=tuple(renamed), phase="migrate"), observed


def _create_canary(tools: Tools, record: Record, action: Action) -> Done:
    service = tools.plan.service
    _hold_minimum(tools, record)
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    front = live(tools, "Service", service.service)
    tools.fence.create(manifests.canary_service(front, canary_name(service.service), own))
    stable, name = live(tools, "Deployment", service.deployment), canary_name(service.deployment)
    template = manifests.new_template(stable, service.image, record.version, record.id, dict(record.secrets))
    made = tools.fence.create(manifests.canary_deployment(stable, template, name, action.number, own))
    seen, since = fingerprint(made["spec"]["template"]), metrics_time(tools)
    after = replace(record, canary_scaled=action.number, canary_since=since, canary_template=seen)
    return after, f"{name} was made, {_pods(made)} asked for"


def metrics_time(tools: Tools) -> float:
    """The metrics system's clock, 0 while it is away: the look copes."""
    try:
        return tools.metrics.now()
    except OnlyVipsError:
        return 0.0


def _hold_minimum(tools: Tools, record: Record) -> None:
    """While the release runs the autoscaler may not take stable below the count it had."""
    if (scaler := scaler_of(tools.cluster, tools.plan.service.deployment)) is None:
        return

    def change(now: Manifest) -> Sequence[Manifest]:
        minimum = now["spec"].get("minReplicas", 1)
        if minimum >= record.capacity:
            return ()
        return (
            *manifests.metadata_patch(now, lambda notes: _remember(notes, minimum)),
            {"op": "add", "path": "/spec/minReplicas", "value": record.capacity},
        )

    tools.fence.patch(SCALER, scaler["metadata"]["name"], change)


def _remember(notes: dict[str, str], minimum: int) -> None:
    notes.setdefault(HELD_MINIMUM, str(minimum))


def _scale_canary(tools: Tools, record: Record, action: Action) -> Done:
    name = canary_name(tools.plan.service.deployment)
    record = _grown(tools, record)
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if _replicas(now) == action.number else (operation,))
    return replace(record, canary_scaled=action.number), f"{name}: {_pods(changed)} asked for"


def _scale_stable(tools: Tools, record: Record, action: Action) -> Done:
    """Up only: what somebody took away meanwhile is needed again."""
    _hold_minimum(tools, record)
    name = tools.plan.service.deployment
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if _replicas(now) >= action.number else (operation,))
    return record, f"{name}: {_pods(changed)} asked for"


def _grown(tools: Tools, record: Record) -> Record:
    """Stable may have been scaled up meanwhile: what it has now is what all of the traffic needs."""
    stable = tools.cluster.get("Deployment", tools.plan.service.deployment)
    if stable is None or _replicas(stable) <= record.capacity:
        return record
    record = replace(record, capacity=_replicas(stable))
    _hold_minimum(tools, record)
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
        template = manifests.new_template(now, service.image, record.version, record.id, dict(record.secrets))
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
        _delete_own(tools, record, kind, name)
    return replace(record, canary_scaled=0), f"{canary} is out of the route and deleted"


def _delete_own(tools: Tools, record: Record, kind: str, name: str) -> None:
    found = tools.cluster.get(kind, name)
    if found is None:
        return
    if (found["metadata"].get("labels") or {}).get(RELEASE) != record.id:
        raise Permanent(f"{kind} {name} was not made by release {record.id}: it was left alone; look who made it.")
    tools.fence.delete(kind, name)


def _remove_leftovers(tools: Tools, record: Record, action: Action) -> Done:
    for kind, name in (part.split("/") for part in action.what.split(",")):
        if kind == SCALER:
            tools.fence.patch(kind, name, _let_go)
        else:
            _delete_own(tools, record, kind, name)
    return record, f"gone: {action.what}"


def _let_go(now: Manifest) -> Sequence[Manifest]:
    notes = annotations_of(now)
    if HELD_MINIMUM not in notes:
        return ()
    minimum = int(notes.pop(HELD_MINIMUM))
    return (
        {"op": "add", "path": "/metadata/annotations", "value": notes},
        {"op": "add", "path": "/spec/minReplicas", "value": minimum},
    )


def _next_stage(tools: Tools, record: Record, _: Action) -> Done:
    after = replace(record, stage=record.stage + 1, stage_since=0.0)
    return after, f"stage {after.stage + 1} of {len(tools.plan.stages)}"


def _write_evidence(tools: Tools, record: Record, _: Action) -> Done:
    kept = tools.keep_evidence(record)
    return replace(record, evidence=kept.key, evidence_at=kept.stores), kept.observed


def _enter(_tools: Tools, record: Record, action: Action) -> Done:
    after = replace(record, phase=action.phase, reason=action.reason)
    if action.phase == "evidence":
        after = replace(after, result="promoted" if record.phase == "promote" else "rolled-back")
    return after, f"phase {action.phase}"


def _close(_tools: Tools, record: Record, _: Action) -> Done:
    return replace(record, phase="closed"), f"closed: {record.result}"


def _pods(deployment: Manifest) -> str:
    count = _replicas(deployment)
    return f"{count} pod{'' if count == 1 else 's'}"


def _replicas(deployment: Manifest) -> int:
    return int(deployment["spec"]["replicas"])


_ACTS: Mapping[str, Callable[[Tools, Record, Action], Done]] = {
    "snapshot": _snapshot,
    "back-up": _back_up,
    "create-secrets": _create_secrets,
    "migrate": migrate,
    "create-canary": _create_canary,
    "scale-canary": _scale_canary,
    "set-weight": _set_weight,
    "next-stage": _next_stage,
    "scale-stable": _scale_stable,
    "replace-stable": _replace_stable,
    "restore-stable": _restore_stable,
    "remove-canary": _remove_canary,
    "remove-leftovers": _remove_leftovers,
    "write-evidence": _write_evidence,
    "enter": _enter,
    "close": _close,
}
