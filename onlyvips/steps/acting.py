"""What acts of every strategy share."""

from __future__ import annotations

import json
from collections.abc import Sequence

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import RELEASE, annotations_of
from onlyvips.core.record import Record
from onlyvips.errors import OnlyVipsError, Permanent
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps.fence import Fence
from onlyvips.steps.observe import HELD_MINIMUM, SCALER, scaler_of
from onlyvips.steps.tools import Done, Tools


def template_for(tools: Tools, record: Record, live: Manifest) -> Manifest:
    """The pod template that this release brings: the live one with the new version in it, or a recorded one, whole."""
    if not record.target:
        return manifests.new_template(live, tools.plan.service.image, record.asked, record.id, record.renamed)
    found = tools.cluster.get("ConfigMap", record.target)
    if found is None:
        raise Permanent(f"The snapshot {record.target} that this release goes back to is gone.")
    return manifests.recorded_template(json.loads(found["data"]["Deployment"]), record.id)


def metrics_time(tools: Tools) -> float:
    """The metrics system's clock, 0 while it is away: the look copes."""
    try:
        return tools.metrics.now()
    except OnlyVipsError:
        return 0.0


def delete_own(tools: Tools, record: Record, kind: str, name: str) -> None:
    """Delete what this release made. Raises Permanent when somebody else made it."""
    found = tools.cluster.get(kind, name)
    if found is None:
        return
    if (found["metadata"].get("labels") or {}).get(RELEASE) != record.id:
        raise Permanent(f"{kind} {name} was not made by release {record.id}: it was left alone; look who made it.")
    tools.fence.delete(kind, name)


def hold_minimum(tools: Tools, record: Record, deployment: str = "") -> None:
    """While the release runs the autoscaler may not take stable (``deployment``) below the count it had."""
    hold(tools.cluster, tools.fence, deployment or tools.plan.service.deployment, record.capacity)


def hold(cluster: Cluster, fence: Fence, deployment: str, capacity: int) -> None:
    """Raise the minimum of a Deployment's autoscaler to ``capacity``, and remember the one it had."""
    if (scaler := scaler_of(cluster, deployment)) is None:
        return

    def change(now: Manifest) -> Sequence[Manifest]:
        minimum = now["spec"].get("minReplicas", 1)
        if minimum >= capacity:
            return ()
        return (
            *manifests.metadata_patch(now, lambda notes: _remember(notes, minimum)),
            {"op": "add", "path": "/spec/minReplicas", "value": capacity},
        )

    fence.patch(SCALER, scaler["metadata"]["name"], change)


def pin_minimum(tools: Tools, deployment: str, count: int) -> None:
    """The autoscaler may take stable to ``count`` pods, which is all that its share of the traffic needs, and no
    lower; the minimum that it had is remembered."""
    if (scaler := scaler_of(tools.cluster, deployment)) is None:
        return

    def change(now: Manifest) -> Sequence[Manifest]:
        minimum = now["spec"].get("minReplicas", 1)
        if minimum == count:
            return ()
        return (
            *manifests.metadata_patch(now, lambda notes: _remember(notes, minimum)),
            {"op": "add", "path": "/spec/minReplicas", "value": count},
        )

    tools.fence.patch(SCALER, scaler["metadata"]["name"], change)


def _remember(notes: dict[str, str], minimum: int) -> None:
    notes.setdefault(HELD_MINIMUM, str(minimum))


def let_go(now: Manifest) -> Sequence[Manifest]:
    """Give the autoscaler back the minimum it had before ``hold_minimum``."""
    notes = annotations_of(now)
    if HELD_MINIMUM not in notes:
        return ()
    minimum = int(notes.pop(HELD_MINIMUM))
    return (
        {"op": "add", "path": "/metadata/annotations", "value": notes},
        {"op": "add", "path": "/spec/minReplicas", "value": minimum},
    )


def scale_stable(tools: Tools, record: Record, action: Action) -> Done:
    """Up only: what somebody took away meanwhile is needed again."""
    hold_minimum(tools, record)
    name = tools.plan.service.deployment
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if replicas(now) >= action.number else (operation,))
    return record, f"{name}: {pods(changed)} asked for"


def pods(deployment: Manifest) -> str:
    """ "3 pods", as the Deployment asks for."""
    count = replicas(deployment)
    return f"{count} pod{'' if count == 1 else 's'}"


def replicas(deployment: Manifest) -> int:
    """How many pods the Deployment asks for."""
    return int(deployment["spec"]["replicas"])
