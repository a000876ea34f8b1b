"""Secrets and ConfigMaps of a release, beside what the pods refer to: what nothing would read is refused."""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core.colours import colour_name
from onlyvips.core.plan import ConfigPlan, ReleasePlan, SecretPlan
from onlyvips.core.referred import Kind, is_generation, names_in
from onlyvips.errors import Refused
from onlyvips.ports import Cluster
from onlyvips.steps.deployed import NOTHING, Facts, Where, there


def key(*path: str | int) -> str:
    """A key where no file is known."""
    return ".".join(map(str, path))


def check(cluster: Cluster, plan: ReleasePlan, facts: Facts, where: Where = key) -> None:
    """Raise Refused with every Secret and ConfigMap that would be made although no pod refers to what it replaces."""
    if flaws := list(_flaws(cluster, plan, facts, where)):
        raise Refused("\n".join(flaws))


def _flaws(cluster: Cluster, plan: ReleasePlan, facts: Facts, where: Where) -> Iterator[str]:
    name = plan.service.deployment
    deployment = there(cluster, plan, "Deployment", colour_name(name, facts.colours[0]) if facts.colours else name)
    for section, kind, number, one in _renamed(plan):
        used = names_in(deployment["spec"]["template"], kind)
        if any(is_generation(each, one.replaces, one.name) for each in used):
            continue
        has = f"it refers to {', '.join(sorted(used))}" if used else "it refers to none"
        pods, what = f"no pod of Deployment {deployment['metadata']['name']}", f"{kind} {one.replaces}"
        yield (
            f"{where('release', section, plan.service.name, number, 'replaces')}: {pods} refers to {what}, which "
            f"{one.name} would replace ({has}): {NOTHING}; correct `replaces`, or let the pod template "
            "refer to it (envFrom, env, a volume) first."
        )


def _renamed(plan: ReleasePlan) -> Iterator[tuple[str, Kind, int, SecretPlan | ConfigPlan]]:
    for number, secret in enumerate(plan.secrets):
        yield "secrets", "Secret", number, secret
    for number, config in enumerate(plan.configs):
        yield "configs", "ConfigMap", number, config
