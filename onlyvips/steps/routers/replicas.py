"""``replica-ratio``: one Service selects both tracks, so the share is that of pods: stable gives some of its away."""

from __future__ import annotations

from collections.abc import Sequence

from onlyvips.core.colours import selects
from onlyvips.core.ratio import given_away, percent_of
from onlyvips.errors import Misuse, Permanent, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.router import Patch, Share


class ReplicaRouter:
    """Deployment ``stable``, of ``capacity`` pods when it has all, behind ``service`` with the canary, whose pods are
    up before it shifts. See ``ports.router.Router``."""

    def __init__(self, cluster: Cluster, service: str, stable: str, capacity: int) -> None:
        self._cluster, self._service, self._stable, self._capacity = cluster, service, stable, capacity

    def read(self) -> Share | None:
        """See ``ports.router.Router``: the weight is what stable gave away, below 0 where it has more than all."""
        front = self._cluster.get("Service", self._service)
        stable = self._cluster.get("Deployment", self._stable)
        if front is None or stable is None or not selects(front, stable) or "track" in front["spec"]["selector"]:
            return None
        weight = self._weight(stable)
        return Share(weight, weight > 0)

    def shift(self, patch: Patch, weight: int, expected: int | None) -> str:
        """See ``ports.router.Router``."""
        left = self._capacity - given_away(weight, self._capacity)
        if percent_of(self._capacity - left, self._capacity) != weight:
            raise Misuse(f"{self._capacity} pods cannot make {weight} %.")

        def change(stable: Manifest) -> Sequence[Manifest]:
            found = self._weight(stable)
            if found == weight:
                return ()
            if expected is not None and weight > found != expected:
                raise Transient(f"Stable gave {found} % of its pods away by now: nothing was written, decided anew.")
            return _scale(stable, left)

        patch("Deployment", self._stable, change)
        read = self._cluster.get("Deployment", self._stable)
        if read is None:
            raise Permanent(f"Deployment {self._stable} is gone: somebody removed it in the middle of the release.")
        if (shown := self._weight(read)) != weight:
            raise Transient(f"Deployment {self._stable} was left {left} pods and shows {shown} % given away.")
        return f"{self._stable} asks for {left} of {self._capacity} pods: {weight} % are the canary's"

    def forget(self, patch: Patch) -> None:
        """See ``ports.router.Router``: stable gets all of its pods again."""
        patch("Deployment", self._stable, lambda now: () if self._weight(now) <= 0 else _scale(now, self._capacity))

    def _weight(self, stable: Manifest) -> int:
        return percent_of(self._capacity - int(stable["spec"]["replicas"]), self._capacity)


def _scale(deployment: Manifest, pods: int) -> Sequence[Manifest]:
    path = "/spec/replicas"
    return (
        {"op": "test", "path": path, "value": deployment["spec"]["replicas"]},
        {"op": "replace", "path": path, "value": pods},
    )
