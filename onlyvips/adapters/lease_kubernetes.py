"""``ports.Cell`` in a coordination.k8s.io Lease; the epoch is ``leaseTransitions``, which only grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from onlyvips.ports import Cluster, Manifest, Term


class KubernetesCell:
    """The Lease ``name`` of the cluster's namespace."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster, self.name = cluster, name

    def read(self) -> Term | None:
        """See ``ports.Cell``."""
        found = self._cluster.get("Lease", self.name)
        return _term(found) if found is not None else None

    def write(self, term: Term) -> Term:
        """See ``ports.Cell``."""
        spec = {
            "holderIdentity": term.holder,
            "leaseDurationSeconds": max(1, round(term.duration)),
            "renewTime": datetime.fromtimestamp(term.renewed, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "leaseTransitions": term.epoch,
        }
        if term.version:
            operations: list[dict[str, Any]] = [{"op": "add", "path": "/spec", "value": spec}]
            return _term(self._cluster.patch("Lease", self.name, term.version, operations))
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}}
        return _term(self._cluster.create({**lease, "spec": spec}))


def _term(lease: Manifest) -> Term:
    spec = lease.get("spec", {})
    return Term(
        holder=str(spec.get("holderIdentity") or ""),
        epoch=int(spec.get("leaseTransitions") or 0),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        renewed=0.0,
        version=lease["metadata"]["resourceVersion"],
    )
