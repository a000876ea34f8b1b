"""Mistakes about what splits requests."""

from __future__ import annotations

from tests.core.broken_environments import Case

BROKEN = {
    "ingress-nginx": Case(
        "router: gateway-api", "router: ingress-nginx", "platform.router", "ingress-nginx is retired"
    ),
    "istio": Case("router: gateway-api", "router: istio", "platform.router", "Istio is refused for now"),
    "linkerd": Case("router: gateway-api", "router: linkerd", "platform.router", "Linkerd is refused for now"),
    "istio of one service": Case(
        "    strategy: canary",
        "    strategy: canary\n@@    router: istio",
        "services.backend.router",
        "Istio is refused",
    ),
    "replica ratio without a count": Case(
        "  backend:\n    kind: api",
        "@@  backend:\n    kind: api\n    router: replica-ratio",
        "services.backend.replicas",
        "10%, 25%, 50% need 20 pods, or a multiple of it",
    ),
    "replica ratio of too few": Case(
        "    strategy: canary",
        "    strategy: canary\n    router: replica-ratio\n@@    replicas: 4",
        "services.backend.replicas",
        "10% of 4 pods is no whole number of pods: they can make 25%, 50%, 75%; 20 pods (or a multiple)",
    ),
    "testers by replica ratio": Case(
        "    strategy: canary",
        "    strategy: canary\n    router: replica-ratio\n    replicas: 20\n"
        "@@    testers: {header: X-Tester, value: '1'}",
        "services.backend.testers",
        "by replica-ratio nobody looks at a request",
    ),
    "canary by a selector": Case(
        "    strategy: canary",
        "@@    strategy: canary\n    router: service-selector",
        "services.backend.strategy",
        "a Service's selector gives all or nothing",
    ),
    "unknown router": Case("router: gateway-api", "router: f5", "platform.router", "`f5` is not a router"),
}
