"""How an environment names kinds of Kubernetes objects, and which of them are no configuration. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_GATEWAY = "gateway.networking.k8s.io"
GROUPS = {
    "ConfigMap": "",
    "LimitRange": "",
    "PersistentVolumeClaim": "",
    "ResourceQuota": "",
    "Secret": "",
    "Service": "",
    "ServiceAccount": "",
    "DaemonSet": "apps",
    "Deployment": "apps",
    "StatefulSet": "apps",
    "CronJob": "batch",
    "HorizontalPodAutoscaler": "autoscaling",
    "Ingress": "networking.k8s.io",
    "NetworkPolicy": "networking.k8s.io",
    "PodDisruptionBudget": "policy",
    "Role": "rbac.authorization.k8s.io",
    "RoleBinding": "rbac.authorization.k8s.io",
    "GRPCRoute": _GATEWAY,
    "Gateway": _GATEWAY,
    "HTTPRoute": _GATEWAY,
    "ReferenceGrant": _GATEWAY,
}
"""Kinds with a plain name, and the group of each; of which version, the server says."""
NO_CONFIGURATION = {
    "Pod": "controllers make it",
    "ReplicaSet": "a Deployment makes it",
    "ControllerRevision": "a controller makes it",
    "Endpoints": "a controller makes it",
    "EndpointSlice": "a controller makes it",
    "Event": "it says what happened",
    "Lease": "it says who is alive",
    "Job": "it runs when it is applied, so bringing it back would run it again",
}
_EXAMPLE = "cert-manager.io/v1/Certificate"
_WRITTEN = re.compile(r"(?:(?P<group>[a-z0-9.-]+)/)?(?P<version>v[0-9]+(?:(?:alpha|beta)[0-9]+)?)/(?P<kind>[A-Z]\w*)")


@dataclass(frozen=True)
class KindName:
    """A kind as it is asked for; no ``version``: the one that the server prefers."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.group, self.version, self.kind) if part)


def parse_kind(text: str) -> KindName:
    """``Deployment``, ``apps/v1/Deployment``, ``v1/ConfigMap``. Raises ValueError, which says what is wrong."""
    if text in GROUPS:
        return KindName(GROUPS[text], "", text)
    found = _WRITTEN.fullmatch(text)
    kind = found["kind"] if found else text
    if kind in NO_CONFIGURATION:
        raise ValueError(f"{kind} is no configuration: {NO_CONFIGURATION[kind]}; leave it out")
    if found is None:
        near = difflib.get_close_matches(text, GROUPS, n=1)
        hint = f"did you mean `{near[0]}`? Others are written" if near else "write it as"
        raise ValueError(
            f"`{text}` is no kind known by its name alone; {hint} group/version/Kind, for example {_EXAMPLE}"
        )
    return KindName(found["group"] or "", found["version"], kind)


def asked_twice(kinds: Iterable[str]) -> list[int]:
    """Positions of kinds that an earlier entry asks for already, in whatever version."""
    seen, found = set[tuple[str, str]](), []
    for number, text in enumerate(kinds):
        one = parse_kind(text)
        if (one.group, one.kind) in seen:
            found.append(number)
        seen.add((one.group, one.kind))
    return found
