"""Colours that a driver made after it was overtaken: a POST has no version that it could be refused by."""

from __future__ import annotations

from collections.abc import Callable

from onlyvips.core.colours import selects
from onlyvips.core.manifests import MANAGED, RELEASE, template_release
from onlyvips.core.plan import ReleasePlan
from onlyvips.errors import Refused
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import records, targets


def colours(cluster: Cluster, plan: ReleasePlan) -> list[Manifest]:
    """Deployments of a colour that a release which went back by now had made, which still have its template, and which
    no user is on: as it ended they were to be gone."""
    if plan.blue_green is None:
        return []
    found = (cluster.get("Deployment", name) for name in targets.deployments(plan))
    return [one for one in found if one is not None and _left(cluster, one) and not _selected(cluster, plan, one)]


def _left(cluster: Cluster, deployment: Manifest) -> bool:
    labels = deployment["metadata"].get("labels") or {}
    release = labels.get(RELEASE, "")
    if not release or not MANAGED.items() <= labels.items() or template_release(deployment) != release:
        return False
    record = records.find(cluster, release)
    return record is not None and not record.open and record.result == "rolled-back"


def _selected(cluster: Cluster, plan: ReleasePlan, deployment: Manifest) -> bool:
    front = cluster.get("Service", plan.service.service)
    return front is None or selects(front, deployment)


def unused(cluster: Cluster, plan: ReleasePlan) -> Callable[[Manifest], None]:
    """Looks once more as it is deleted. Raises Refused for a colour that users are on by now."""

    def check(now: Manifest) -> None:
        if plan.blue_green is not None and now["kind"] == "Deployment" and _selected(cluster, plan, now):
            name = now["metadata"]["name"]
            raise Refused(f"Service {plan.service.service} selects {name} by now: it was left alone; look who did it.")

    return check
