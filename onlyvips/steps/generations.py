"""Secrets and ConfigMaps of a release: made under names with a seal of what they hold, immutable, never in place.

Only the new version's pod template refers to them until it is promoted; a stable pod that restarts keeps what it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.colours import colour_name
from onlyvips.core.kept import seal_of
from onlyvips.core.manifests import PREFIX, RELEASE, fingerprint, own_metadata, template_release
from onlyvips.core.plan import ConfigPlan, SecretPlan
from onlyvips.core.record import Record
from onlyvips.core.referred import KINDS, Kind, is_generation, names_in
from onlyvips.errors import Permanent
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps.records import SERVICE
from onlyvips.steps.tools import Done, Tools, live

GENERATION = {f"{PREFIX}/kind": "generation"}
"""The label of a ConfigMap or Secret that a release made for pods, or keeps for the way back."""
_CONTENT: Mapping[Kind, str] = {"ConfigMap": "data", "Secret": "stringData"}


def current(tools: Tools, record: Record) -> Manifest:
    """The Deployment that users are on as the release begins."""
    name = tools.plan.service.deployment
    return live(tools, "Deployment", colour_name(name, record.colours[0]) if record.colours else name)


def create_secrets(tools: Tools, record: Record, _: Action) -> Done:
    """Secrets whose values differ from the live ones."""
    template, renamed = current(tools, record)["spec"]["template"], list[tuple[str, str]]()
    for plan in tools.plan.secrets:
        values = {key: tools.resolve(reference) for key, reference in plan.values}
        renamed += _made(tools, record, "Secret", plan, values, template)
    observed = ", ".join(f"{old} -> {new}" for old, new in renamed) or "no Secret changes"
    return replace(record, secrets=tuple(renamed), phase="migrate"), observed


def create_configs(tools: Tools, record: Record, _: Action) -> Done:
    """ConfigMaps whose texts differ from the live ones."""
    template, renamed, told = current(tools, record)["spec"]["template"], list[tuple[str, str]](), list[str]()
    for plan in tools.plan.configs:
        values = tools.config(plan)
        new = _made(tools, record, "ConfigMap", plan, values, template)
        told += [f"{old} -> {name} ({', '.join(values)})" for old, name in new]
        renamed += new
    return replace(record, configs=tuple(renamed)), "; ".join(told) or "no ConfigMap changes"


def _made(
    tools: Tools,
    record: Record,
    kind: Kind,
    plan: SecretPlan | ConfigPlan,
    values: Mapping[str, str],
    template: Manifest,
) -> list[tuple[str, str]]:
    """Which names give way to which; the new one is there. One whose values are live already stays."""
    name = f"{plan.name}-{fingerprint(values)}"
    olds = {old for old in names_in(template, kind) if is_generation(old, plan.replaces, plan.name)} - {name}
    if olds:
        make(tools, record, kind, name, {_CONTENT[kind]: values})
    return [(old, name) for old in sorted(olds)]


def make(tools: Tools, record: Record, kind: Kind, name: str, content: Mapping[str, object]) -> None:
    """An immutable object under a name that ends with the seal of what it holds; one that is there holds just that.

    Raises Permanent where it does not: somebody made another one under its name.
    """
    found = tools.cluster.get(kind, name)
    if found is None:
        own = own_metadata(record.id, record.service, tools.fence.epoch)
        own["labels"] |= {**GENERATION, SERVICE: record.service}
        found = tools.fence.create(manifests.object_of(kind, name, own, **content, immutable=True))
    if not name.endswith(f"-{seal_of(found)}"):
        raise Permanent(
            f"{kind} {name} is there and does not hold what its name says: somebody made it. Nothing of it was "
            "changed; delete it where nothing needs it, then release again."
        )


def unused(cluster: Cluster, record: Record, stable: Manifest | None) -> list[str]:
    """Those of a release that went back which nobody refers to or needs any more: ``Kind/name``."""
    if record.phase != "rollback" or stable is None or template_release(stable) == record.id:
        return []
    found = list[str]()
    for kind in KINDS:
        left = {one.copy for one in record.kept if one.kind == kind and one.key in record.left}
        used = names_in(stable["spec"]["template"], kind) | left
        labels = {RELEASE: record.id, **(GENERATION if kind == "ConfigMap" else {})}
        names = [one["metadata"]["name"] for one in cluster.list(kind, labels)]
        found += [f"{kind}/{name}" for name in names if name not in used]
    return found
