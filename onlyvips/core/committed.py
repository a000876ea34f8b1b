"""What a release changed in the cluster, as what a person commits where the platform's manifests are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onlyvips.core.charts import values_for
from onlyvips.core.manifests import MANAGED, Manifest
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record

HEAD = """\
# What release {id} changed: {service} {version}, from {old}.
# A strategic merge patch of the Deployment's pod template as it is live, whole. Commit it where the manifests are kept,
# or the next apply of them takes the version away. Secrets are named, never told: {secrets}.
# ConfigMaps, which are live under their new names: {configs}.
"""


def head(record: Record) -> str:
    """Comments that say what the patch is."""
    return HEAD.format(
        id=record.id,
        service=record.service,
        version=record.version,
        old=record.from_image,
        secrets=_became(record.secrets),
        configs=_became(record.configs),
    )


def _became(renamed: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{old} became {new}" for old, new in renamed) or "none was renamed"


def patch(deployment: Manifest, namespace: str) -> dict[str, Any]:
    """The Deployment's template as a patch. Its annotations stay: without them an apply would restart every pod."""
    metadata = {"name": deployment["metadata"]["name"], "namespace": namespace}
    template = deployment["spec"]["template"]
    labels = {key: value for key, value in (template["metadata"].get("labels") or {}).items() if key not in MANAGED}
    kept = {**template, "metadata": {**template["metadata"], "labels": labels}}
    kept["metadata"].pop("creationTimestamp", None)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": kept}}


VALUES_HEAD = """\
# What release {id} changed: {service} {version}, from {old}.
# Values of Helm release {release} as `helm upgrade` got them. Commit them where its values are kept, or the next
# upgrade without --reuse-values takes the version away. Secrets are named, never told: {secrets}.
"""


def values_head(record: Record, plan: ReleasePlan) -> str:
    """Comments that say what the values are."""
    renamed = ", ".join(f"{old} became {new}" for old, new in record.secrets) or "none was renamed"
    told = {"id": record.id, "service": record.service, "version": record.version, "old": record.from_image}
    return VALUES_HEAD.format(**told, release=plan.chart.release if plan.chart else "", secrets=renamed)


def values(record: Record, plan: ReleasePlan) -> dict[str, Any]:
    """The values of the chart that a release changed, as a values file nests them."""
    nested: dict[str, Any] = {}
    for path, value in values_for(plan, record.asked, record.id, record.secrets).items():
        *folders, last = path.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return nested
