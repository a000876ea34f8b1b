"""Old ConfigMaps and Secrets of releases: removed when no rollback can need them and nothing refers to them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from onlyvips.core.action import Action
from onlyvips.core.manifests import MANAGED
from onlyvips.core.past import Past, pasts
from onlyvips.core.record import Record
from onlyvips.core.referred import KINDS, mentions
from onlyvips.errors import Fenced, OnlyVipsError
from onlyvips.ports import Cluster
from onlyvips.steps import records
from onlyvips.steps.generations import GENERATION
from onlyvips.steps.tools import Done, Tools

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")
"""What may refer to them: ReplicaSets too, for `kubectl rollout undo` goes back to one."""


def prune(tools: Tools, record: Record, _: Action) -> Done:
    """Of those that releases of this service made. Never what keeps a release from its end: what cannot be looked at
    or removed now is told, and the next release tries again."""
    removed = list[str]()
    try:
        for kind, name in unneeded(tools.cluster, record.service):
            tools.fence.delete(kind, name)
            removed.append(f"{kind} {name}")
    except Fenced:
        raise
    except OnlyVipsError as error:
        return record, "; ".join([*_told(removed), f"the rest stays until the next release: {error}"])
    return record, "".join(_told(removed)) or "nothing is old enough, or something refers to it"


def _told(removed: list[str]) -> list[str]:
    return [f"removed: {', '.join(removed)}"] if removed else []


def unneeded(cluster: Cluster, service: str) -> list[tuple[str, str]]:
    """Kind and name of what nothing refers to: no workload or pod, no release that is open or can be gone back to, no
    person who was told that it holds what somebody changed."""
    labels = {**MANAGED, **GENERATION, records.SERVICE: service}
    made = [(kind, one["metadata"]["name"]) for kind in KINDS for one in cluster.list(kind, labels)]
    if not made:
        return []
    needed = {name for found in (_of_releases(cluster), _of_workloads(cluster)) for name in found}
    return [(kind, name) for kind, name in made if name not in needed]


def _of_workloads(cluster: Cluster) -> Iterator[str]:
    for kind in _WORKLOADS:
        for one in cluster.list(kind, {}):
            yield from mentions(one)


def _of_releases(cluster: Cluster) -> Iterator[str]:
    """Of every service: a ConfigMap that two of them read has one copy."""
    every = records.every(cluster)
    offered = {past.snapshot for service in {one.service for one in every} for past in _pasts(every, service)}
    for record in every:
        if record.open or record.snapshot in offered or record.left:
            yield from (one.copy for one in record.kept)
            yield from (new for _, new in (*record.secrets, *record.configs))
        if record.open or record.snapshot in offered:
            yield from _of_snapshot(cluster, record.snapshot)


def _pasts(every: list[Record], service: str) -> list[Past]:
    return pasts([one for one in every if one.service == service])


def _of_snapshot(cluster: Cluster, snapshot: str) -> Iterator[str]:
    found = cluster.get("ConfigMap", snapshot) if snapshot else None
    for text in ((found or {}).get("data") or {}).values():
        yield from mentions(json.loads(text))
