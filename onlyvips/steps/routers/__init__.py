"""The kinds of the ``Router`` port, made of objects that ``Cluster`` reads and the fence writes."""

from __future__ import annotations

from onlyvips.core.affinity import keeping
from onlyvips.core.colours import colour_name, selector_of
from onlyvips.core.manifests import canary_name
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.ports import Cluster
from onlyvips.ports.router import Router
from onlyvips.steps.records import snapshot_of
from onlyvips.steps.routers.gateway import GatewayRouter
from onlyvips.steps.routers.replicas import ReplicaRouter
from onlyvips.steps.routers.selector import SelectorRouter


def canary_router(cluster: Cluster, plan: ReleasePlan, record: Record | None = None) -> Router | None:
    """What splits the requests of a canary, and keeps users as its ``record`` asks for; None where the environment
    names nothing."""
    service = plan.service
    if service.by_pods:
        return ReplicaRouter(cluster, service.service, service.deployment, record.capacity) if record else None
    if service.route is None:
        return None
    keep = keeping(service, record) if record else None
    return GatewayRouter(cluster, service.route, service.service, canary_name(service.service), keep)


def colour_router(cluster: Cluster, plan: ReleasePlan, record: Record) -> Router:
    """What switches a blue-green release from one colour to the other."""
    assert plan.blue_green is not None
    names = {colour: colour_name(plan.service.deployment, colour) for colour in record.colours}
    return SelectorRouter(
        cluster,
        plan.service.service,
        plan.blue_green.label,
        names,
        lambda: selector_of(snapshot_of(cluster, record, "Service")),
    )
