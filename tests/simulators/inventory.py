"""An Inventory over the simulated apiserver, with kinds that it has, lacks, or does not let us list."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onlyvips.core.kinds import GROUPS, KindName
from onlyvips.errors import Refused, Transient
from onlyvips.ports import Manifest
from onlyvips.ports.configuration import Served
from tests.simulators.cluster import KINDS, SimCluster

VERSIONS = {"": "v1", "apps": "v1", "autoscaling": "v2", "gateway.networking.k8s.io": "v1"}


class SimInventory:
    """``reads`` are the kinds whose objects were asked for, in order."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._dies_in = self._forbidden = ""
        self._while_reading: Callable[[], None] = lambda: None
        self.reads: list[str] = []

    # --- faults

    def goes_away_in(self, kind: str) -> None:
        """From now on the apiserver dies in the middle of every list of ``kind``; "" ends that."""
        self._dies_in = kind

    def forbids(self, kind: str) -> None:
        """Our account may not list it."""
        self._forbidden = kind

    def changes_while_read(self, change: Callable[[], None]) -> None:
        """Called before each list: somebody else is at work."""
        self._while_reading = change

    # --- the port

    def describe(self) -> dict[str, str]:
        return {"dialect": "kubernetes", "version": "v1.34.4", "namespace": "production"}

    def served(self, kinds: Sequence[KindName]) -> list[Served]:
        wrong = [f"it has no {one}" for one in kinds if one.kind not in KINDS or not self._serves(one)]
        wrong += [f"it does not let us list {one.kind}" for one in kinds if one.kind == self._forbidden]
        if wrong:
            raise Refused(f"The cluster cannot give what is asked for: {'; '.join(wrong)}. Nothing was read.")
        versions = [one.version or VERSIONS[one.group] for one in kinds]
        apis = ["/".join(filter(None, (one.group, version))) for one, version in zip(kinds, versions, strict=True)]
        return [Served(api, one.kind, f"{one.kind.lower()}s") for api, one in zip(apis, kinds, strict=True)]

    def objects(self, kind: Served) -> list[Manifest]:
        self.reads.append(kind.kind)
        self._while_reading()
        if kind.kind == self._dies_in:
            raise Transient(f"The Kubernetes API did not answer the list of {kind.kind}: connection reset.")
        return [{**one, "apiVersion": kind.api, "kind": kind.kind} for one in self._cluster.list(kind.kind, {})]

    def _serves(self, kind: KindName) -> bool:
        return GROUPS.get(kind.kind) == kind.group and kind.version in ("", VERSIONS.get(kind.group))
