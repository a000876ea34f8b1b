"""The objects of the cluster that a release of a service writes, by strategy: what an epoch is stamped on."""

from __future__ import annotations

from onlyvips.core.colours import colour_name, preview_name
from onlyvips.core.manifests import canary_name
from onlyvips.core.plan import ReleasePlan

Named = tuple[str, str]
"""Kind and name."""


def lasting(plan: ReleasePlan) -> list[Named]:
    """Those that are there before and after it."""
    service = plan.service
    route = (
        [("HTTPRoute", service.route.name)]
        if service.route and service.strategy == "canary" and not service.by_pods
        else []
    )
    front = [("Service", service.service)] if service.strategy == "blue-green" else []
    return [*route, *front, *(("Deployment", name) for name in deployments(plan))]


def deployments(plan: ReleasePlan) -> list[str]:
    """Deployments of the service that an autoscaler may scale."""
    if plan.blue_green is not None:
        return [colour_name(plan.service.deployment, colour) for colour in plan.blue_green.colours]
    return [plan.service.deployment]


def passing(plan: ReleasePlan) -> list[Named]:
    """Those that are there only while it lasts."""
    service = plan.service
    if service.strategy == "blue-green":
        return [("HTTPRoute", preview_name(service.name)), ("Service", preview_name(service.name))]
    if service.strategy != "canary":
        return []
    return [("Deployment", canary_name(service.deployment)), ("Service", canary_name(service.service))]
