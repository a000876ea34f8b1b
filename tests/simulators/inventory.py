"""An Inventory over the simulated apiserver, with kinds that it has, lacks, or does not let us list; and an Applier."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

from onlyvips.core.kinds import GROUPS, KindName
from onlyvips.errors import Conflict, Refused, Transient
from onlyvips.ports import Manifest
from onlyvips.ports.configuration import Served
from tests.simulators.cluster import KINDS, SimCluster, check_immutable
from tests.simulators.objects import Life

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


class SimApplier:
    """An Applier over the simulated apiserver. What it did not write itself is somebody else's (``manager``), whole.
    ``writes`` are the objects that it changed, by name."""

    def __init__(self, cluster: SimCluster, life: Life | None = None) -> None:
        self._cluster, self._life = cluster, life or Life()
        self._mine: set[tuple[str, str]] = set()
        self.manager = "kubectl"
        self.writes: list[str] = []
        self.before_write: Callable[[str], None] = lambda name: None

    def owners(self, kind: Served, wanted: Manifest) -> Mapping[str, Sequence[str]]:
        name = wanted["metadata"]["name"]
        live = self._cluster.get(kind.kind, name)
        if live is None or (kind.kind, name) in self._mine:
            return {}
        fields = [field for key in ("data", "spec") for field in _differing(live.get(key), wanted.get(key), f".{key}")]
        return {self.manager: fields} if fields else {}

    def create(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        name = wanted["metadata"]["name"]
        if dry and self._cluster.get(kind.kind, name) is not None:
            raise Conflict(f"Kubernetes refused to create {kind.kind} {name} (409): it is there")
        if dry:
            return copy.deepcopy(wanted)
        self._begin(kind, name)
        return self._stored(kind, self._cluster.create({**wanted, "kind": kind.kind}))

    def replace(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        name = wanted["metadata"]["name"]
        if not dry:
            self._begin(kind, name)
        live = self._cluster.get(kind.kind, name)
        if live is None:
            raise Conflict(f"{kind.kind} {name} is gone.")
        made = {**copy.deepcopy(wanted), "kind": kind.kind}
        if live["metadata"]["resourceVersion"] != made["metadata"].get("resourceVersion"):
            raise Conflict(f"Kubernetes refused to change {kind.kind} {name} (409): it changed")
        check_immutable(live, made)
        if dry:
            return made
        self._cluster.put(made)
        return self._stored(kind, self._cluster.get(kind.kind, name) or {})

    def _begin(self, kind: Served, name: str) -> None:
        self.before_write(f"{kind.kind}/{name}")
        self._life.write()
        self._mine.add((kind.kind, name))
        self.writes.append(f"{kind.kind}/{name}")

    def _stored(self, kind: Served, found: Manifest) -> Manifest:
        return {**found, "apiVersion": kind.api, "kind": kind.kind}


def _differing(live: object, wanted: object, path: str) -> Iterator[str]:
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        for key in live.keys() & wanted.keys():
            yield from _differing(live[key], wanted[key], f"{path}.{key}")
    elif live is not None and wanted is not None and live != wanted:
        yield path
