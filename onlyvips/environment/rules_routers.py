"""Rules on what splits the requests of a canary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onlyvips.core.plan import RouterKind
from onlyvips.core.ratio import granularity, least_pods
from onlyvips.environment.delivery import Service
from onlyvips.environment.model import Environment
from onlyvips.environment.rule import Broken, Flaws, rule


def routers(environment: Environment) -> Broken:
    """What splits the requests of a service's canary can make its stages."""
    weights = [stage.weight for stage in environment.strategies.canary.stages]
    for name, service in environment.services.items():
        if service.strategy == "canary" and service.kind != "bot":
            router = service.router or environment.platform.router
            for key, sentence in _OF_ROUTER[router](service, weights):
                yield ("services", name, key), sentence


def _by_route(service: Service, _: Sequence[int]) -> Flaws:
    if service.route is None:
        yield "route", "this key is missing: a canary needs the HTTPRoute and the rule that split its requests"


def _by_pods(service: Service, weights: Sequence[int]) -> Flaws:
    if service.replicas is None:
        told = f"{', '.join(f'{weight}%' for weight in weights)} need {least_pods(weights)} pods, or a multiple of it"
        yield "replicas", f"this key is missing: by replica-ratio a canary's share is its share of pods; {told}"
    elif told := granularity(weights, service.replicas):
        yield "replicas", f"by replica-ratio a canary's share is its share of pods, and {told}"
    if service.chart is not None:
        yield "chart", "by replica-ratio stable's count changes, which Helm owns: leave this key out, or use a gateway"
    for key, asked in (("affinity", service.affinity != "none"), ("testers", service.testers is not None)):
        if asked:
            yield key, "by replica-ratio nobody looks at a request: leave this key out, or use router: gateway-api"


def _by_selector(_service: Service, _weights: Sequence[int]) -> Flaws:
    yield (
        "strategy",
        "a Service's selector gives all or nothing, so it makes no stage of a canary: use blue-green, or router: "
        "gateway-api or replica-ratio",
    )


_OF_ROUTER: Mapping[RouterKind, Callable[[Service, Sequence[int]], Flaws]] = {
    "gateway-api": _by_route,
    "replica-ratio": _by_pods,
    "service-selector": _by_selector,
}


RULES = (rule(routers, "services", "platform", "strategies"),)
