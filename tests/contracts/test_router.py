"""Router's contract: one suite for every kind of router, on the simulated cluster and on the real apiserver."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.core import plan
from onlyvips.core.affinity import Keeping
from onlyvips.core.manifests import annotations_of, epoch_key
from onlyvips.errors import Conflict, Fenced, Permanent, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.router import Router
from onlyvips.steps.fence import Fence
from onlyvips.steps.routers.gateway import GatewayRouter
from onlyvips.steps.routers.replicas import ReplicaRouter
from onlyvips.steps.routers.selector import SelectorRouter
from tests.cluster import remove
from tests.simulators.platform import Platform

IMAGE = "ghcr.io/onlyvips/backend:no-such-version"
API = {"HTTPRoute": "gateway.networking.k8s.io/v1", "Service": "v1", "Deployment": "apps/v1"}
SPLITS = {
    "gateway-api": (10, 25, 100),
    "gateway-api-keeping": (10, 25, 100),
    "service-selector": (100,),
    "replica-ratio": (25, 50, 100),
}
"""The weights that a kind can make."""


class Counting:
    """A cluster that counts what is written to it by patches."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self.patches = cluster, 0

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        self.patches += 1
        return self._cluster.patch(kind, name, version, operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


class Place:
    """One router with the object that it writes, under names that nobody else uses, and the fence of its driver."""

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self.counting = Counting(cluster)
        self.cluster: Cluster = self.counting
        self.kind = kind
        self.mark = f"contract-{os.urandom(4).hex()}"
        self.fence = Fence(self.cluster, "contract", 2, lambda: None)
        self.object, self.router = getattr(self, f"_{kind.replace('-', '_')}")()

    def make(self, kind: str, name: str, spec: Manifest) -> str:
        """An object of this test; returns its name."""
        metadata = {"name": f"{self.mark}{name}", "labels": {"contract": self.mark}, "annotations": {"note": "kept"}}
        self.cluster.create({"apiVersion": API[kind], "kind": kind, "metadata": metadata, "spec": spec})
        return f"{self.mark}{name}"

    def deployment(self, name: str, replicas: int, **labels: str) -> str:
        """A Deployment whose pods nobody waits for."""
        found = {"app": self.mark, **labels}
        pod = {"containers": [{"name": "api", "image": IMAGE}], "terminationGracePeriodSeconds": 1}
        template = {"metadata": {"labels": found}, "spec": pod}
        spec = {"replicas": replicas, "selector": {"matchLabels": found}, "template": template}
        return self.make("Deployment", name, spec)

    def _gateway_api_keeping(self) -> tuple[tuple[str, str], Router]:
        return self._gateway_api(Keeping("r-1", True, True, plan.Testers("X-Tester", "canary")))

    def _gateway_api(self, keep: Keeping | None = None) -> tuple[tuple[str, str], Router]:
        kept = {"type": "PathPrefix", "value": f"/{self.mark}"}
        header = {"set": [{"name": "X-Kept", "value": "yes"}]}
        rule = {
            "name": "ours",
            "matches": [{"path": kept}],
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": header}],
            "backendRefs": [{"name": self.mark, "port": 80, "weight": 100}],
        }
        other = {"name": "other", "matches": [{"path": {**kept, "value": f"/{self.mark}-other"}}]}
        rules = [{**other, "backendRefs": [{"name": "other", "port": 80, "weight": 7}]}, rule]
        name = self.make("HTTPRoute", "", {"parentRefs": [{"name": "onlyvips"}], "rules": rules})
        return ("HTTPRoute", name), GatewayRouter(
            self.cluster, plan.RouteRef(name, "ours"), self.mark, f"{self.mark}-canary", keep
        )

    def _service_selector(self) -> tuple[tuple[str, str], Router]:
        names = {colour: self.deployment(f"-{colour}", 0, version=colour) for colour in ("blue", "green")}
        selector = {"app": self.mark, "version": "blue"}
        front = self.make("Service", "", {"selector": selector, "ports": [{"name": "http", "port": 80}]})
        return ("Service", front), SelectorRouter(self.cluster, front, "version", names, lambda: selector)

    def _replica_ratio(self) -> tuple[tuple[str, str], Router]:
        name = self.deployment("", 4, track="stable")
        front = self.make("Service", "", {"selector": {"app": self.mark}, "ports": [{"name": "http", "port": 80}]})
        return ("Deployment", name), ReplicaRouter(self.cluster, front, name, 4)

    def live(self) -> Manifest:
        """The object that the router writes."""
        found = self.cluster.get(*self.object)
        assert found is not None
        return found

    def shift(self, weight: int, expected: int | None) -> str:
        return self.router.shift(self.fence.patch, weight, expected)

    def weight(self) -> int:
        found = self.router.read()
        assert found is not None
        return found.weight

    def edit(self, **notes: str) -> None:
        """Somebody else writes annotations of the object."""
        for _ in range(5):
            live = self.live()
            operation = {"op": "add", "path": "/metadata/annotations", "value": {**annotations_of(live), **notes}}
            with suppress(Conflict):
                self.cluster.patch(*self.object, live["metadata"]["resourceVersion"], [operation])
                return

    def clear(self) -> None:
        for kind in API:
            for found in self.cluster.list(kind, {"contract": self.mark}):
                remove(self.cluster, kind, found["metadata"]["name"])


@pytest.fixture(params=["simulator", pytest.param("kubernetes", marks=pytest.mark.lab)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if request.param == "simulator":
        return Platform(1, "onlyvips", rule=0, rate=0.0).cluster
    env = request.getfixturevalue("lab").env
    return KubernetesCluster(Path(env["ONLYVIPS_LAB_KUBECONFIG"]), "production")


@pytest.fixture(params=list(SPLITS))
def place(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Place]:
    found = Place(cluster, request.param)
    yield found
    found.clear()


def content(manifest: Manifest) -> Manifest:
    """What of an object is nobody's bookkeeping."""
    kept = (epoch_key("contract"), "deployment.kubernetes.io/revision")
    notes = {key: value for key, value in annotations_of(manifest).items() if key not in kept}
    labels = manifest["metadata"].get("labels")
    return {"labels": labels, "annotations": notes, "spec": copy.deepcopy(manifest["spec"])}


def test_at_rest_the_other_copy_has_nothing_and_is_not_known(place: Place) -> None:
    found = place.router.read()
    assert found is not None and (found.weight, found.listed) == (0, False)


def test_what_was_asked_for_is_read_back_from_the_weights_that_it_can_make(place: Place) -> None:
    before = 0
    for weight in SPLITS[place.kind]:
        assert place.shift(weight, before)
        found = place.router.read()
        assert found is not None and (found.weight, found.listed) == (weight, True)
        before = weight
    place.shift(0, before)
    assert place.weight() == 0


def test_asked_again_it_writes_nothing(place: Place) -> None:
    weight = SPLITS[place.kind][0]
    place.shift(weight, 0)
    written = place.counting.patches
    place.shift(weight, 0)
    assert place.counting.patches == written


def test_there_and_back_all_else_in_the_object_is_what_it_was(place: Place) -> None:
    before = content(place.live())
    for weight in SPLITS[place.kind]:
        place.shift(weight, place.weight())
    assert content(place.live()) != before
    place.shift(0, None)
    place.router.forget(place.fence.patch)
    assert content(place.live()) == before


def test_what_another_hand_changes_meanwhile_stays_and_the_shift_is_made(place: Place) -> None:
    weight, edited = SPLITS[place.kind][0], list[str]()

    def meddled(kind: str, name: str, change: Callable[[Manifest], object]) -> Manifest:
        def late(live: Manifest) -> object:
            if not edited:
                edited.append("once")
                place.edit(somebody="was here")
            return change(live)

        return place.fence.patch(kind, name, late)  # type: ignore[arg-type]

    place.router.shift(meddled, weight, 0)
    assert edited and place.weight() == weight
    assert annotations_of(place.live())["somebody"] == "was here"


def test_a_weight_is_not_raised_from_what_nobody_expected(place: Place) -> None:
    low, high = SPLITS[place.kind][0], SPLITS[place.kind][-1]
    before = content(place.live())
    with pytest.raises(Transient, match="by now"):
        place.shift(high, low if low != high else 50)
    assert content(place.live()) == before
    place.shift(high, None)
    assert place.weight() == high, "the way back, or what a person asked for, is from whatever there is"


def test_to_forget_what_is_not_in_it_writes_nothing(place: Place) -> None:
    place.shift(0, 0)
    written = place.counting.patches
    place.router.forget(place.fence.patch)
    assert place.counting.patches == written


def test_to_forget_gives_all_back_and_the_other_copy_is_known_no_more(place: Place) -> None:
    place.shift(SPLITS[place.kind][-1], 0)
    place.router.forget(place.fence.patch)
    found = place.router.read()
    assert found is not None and (found.weight, found.listed) == (0, False)


def test_what_is_gone_is_none_and_is_not_written(place: Place) -> None:
    remove(place.cluster, *place.object)
    assert place.router.read() is None
    with pytest.raises(Permanent):
        place.shift(SPLITS[place.kind][0], 0)


def test_a_driver_that_was_taken_over_writes_nothing(place: Place) -> None:
    place.edit(**{epoch_key("contract"): "3"})
    written = place.counting.patches
    with pytest.raises(Fenced, match="another run drives"):
        place.shift(SPLITS[place.kind][0], 0)
    assert place.counting.patches == written
