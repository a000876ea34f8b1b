"""Cluster's contract: one suite for the simulated apiserver with its controllers and for the real one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster, Manifest
from tests.cluster import remove
from tests.simulators.platform import Platform

IMAGE, NO_IMAGE = "ghcr.io/onlyvips/backend:v1", "ghcr.io/onlyvips/backend:no-such-version"
KINDS = ("Deployment", "Job", "Service", "HTTPRoute", "HorizontalPodAutoscaler", "ConfigMap", "Secret", "Lease", "Pod")


class Place:
    """A cluster, its clock, and names that nobody else uses; what bears them is removed at the end."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self.cluster, self.clock = cluster, clock
        self.mark = f"contract-{os.urandom(4).hex()}"

    def metadata(self, name: str, **labels: str) -> Manifest:
        return {"name": f"{self.mark}-{name}", "labels": {"contract": self.mark, **labels}}

    def config_map(self, name: str = "one", **labels: str) -> Manifest:
        return self.cluster.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(name, **labels), "data": {"a": "1"}}
        )

    def deployment(self, image: str = IMAGE, replicas: int = 0) -> Manifest:
        labels = {"app": self.mark, "track": "stable"}
        spec = {"containers": [{"name": "api", "image": image}], "terminationGracePeriodSeconds": 1}
        template = {"metadata": {"labels": {**labels, "version": "v1"}, "annotations": {"note": "kept"}}, "spec": spec}
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        return self.cluster.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": self.metadata("web"),
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "strategy": strategy,
                    "template": template,
                },
            }
        )

    def live(self, kind: str, name: str) -> Manifest:
        found = self.cluster.get(kind, f"{self.mark}-{name}")
        assert found is not None
        return found

    def pods(self) -> list[Manifest]:
        found = self.cluster.list("Pod", {"app": self.mark})
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def wait(self, condition: Callable[[], Any], seconds: float = 90.0) -> Any:
        """The first true answer; a failure when none comes."""
        until = self.clock.monotonic() + seconds
        while not (answer := condition()):
            assert self.clock.monotonic() < until, "this did not come about in time"
            self.clock.sleep(0.2)
        return answer

    def clear(self) -> None:
        for kind in KINDS:
            for found in self.cluster.list(kind, {"contract": self.mark}):
                remove(self.cluster, kind, found["metadata"]["name"])


@pytest.fixture(params=["simulator", pytest.param("kubernetes", marks=pytest.mark.lab)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "simulator":
        platform = Platform(1, "onlyvips", rule=0, rate=0.0)
        platform.nature.broken.add(NO_IMAGE)
        yield Place(platform.cluster, platform.clock)
        return
    env = request.getfixturevalue("lab").env
    cluster = KubernetesCluster(Path(env["ONLYVIPS_LAB_KUBECONFIG"]), "production")
    found = Place(cluster, SystemClock())
    yield found
    found.clear()


def version_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def add(path: str, value: object) -> Manifest:
    return {"op": "add", "path": path, "value": value}


def test_what_is_not_there_is_none(place: Place) -> None:
    assert place.cluster.get("ConfigMap", f"{place.mark}-none") is None
    assert place.cluster.list("ConfigMap", {"contract": place.mark}) == []


def test_what_is_created_is_returned_as_stored_and_found(place: Place) -> None:
    made = place.config_map()
    assert made["metadata"]["uid"] and version_of(made)
    live = place.live("ConfigMap", "one")
    assert (live["kind"], live["data"], live["metadata"]["uid"]) == ("ConfigMap", {"a": "1"}, made["metadata"]["uid"])
    assert version_of(live) == version_of(made)


def test_a_name_that_is_taken_is_a_conflict_and_nothing_changes(place: Place) -> None:
    made = place.config_map()
    with pytest.raises(Conflict):
        place.config_map()
    assert version_of(place.live("ConfigMap", "one")) == version_of(made)


def test_a_list_has_what_carries_all_the_labels_by_name_with_its_kind(place: Place) -> None:
    for name in ("c", "a", "b"):
        place.config_map(name, side="left", **({"only": "b"} if name == "b" else {}))
    found = place.cluster.list("ConfigMap", {"contract": place.mark, "side": "left"})
    assert [each["metadata"]["name"].removeprefix(f"{place.mark}-") for each in found] == ["a", "b", "c"]
    assert {each["kind"] for each in found} == {"ConfigMap"}
    assert len(place.cluster.list("ConfigMap", {"contract": place.mark, "side": "left", "only": "b"})) == 1
    assert place.cluster.list("ConfigMap", {"contract": place.mark, "side": "right"}) == []


def test_labels_with_a_prefix_are_selected_too(place: Place) -> None:
    place.config_map("one", **{"onlyvips.com/release": "r1"})
    assert len(place.cluster.list("ConfigMap", {"contract": place.mark, "onlyvips.com/release": "r1"})) == 1


def test_a_patch_returns_what_is_stored_under_a_new_version(place: Place) -> None:
    made = place.config_map()
    changed = place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [add("/data/b", "2")])
    assert changed["data"] == {"a": "1", "b": "2"}
    assert version_of(changed) != version_of(made)
    assert version_of(place.live("ConfigMap", "one")) == version_of(changed)


def test_a_patch_that_changes_nothing_makes_no_new_version(place: Place) -> None:
    made = place.config_map()
    same = place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [add("/data/a", "1")])
    assert version_of(same) == version_of(made)


def test_a_patch_of_an_older_version_is_a_conflict_and_nothing_changes(place: Place) -> None:
    made = place.config_map()
    place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [add("/data/b", "2")])
    with pytest.raises(Conflict):
        place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [add("/data/b", "3")])
    assert place.live("ConfigMap", "one")["data"]["b"] == "2"


def test_a_failed_test_in_a_patch_is_a_conflict_and_nothing_of_it_is_done(place: Place) -> None:
    made = place.config_map()
    operations = [add("/data/b", "2"), {"op": "test", "path": "/data/a", "value": "other"}, add("/data/c", "3")]
    with pytest.raises(Conflict):
        place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), operations)
    assert place.live("ConfigMap", "one")["data"] == {"a": "1"}


def test_a_patch_of_a_path_that_is_not_there_is_an_error_of_ours_and_nothing_changes(place: Place) -> None:
    made = place.config_map()
    with pytest.raises(Permanent):
        place.cluster.patch(
            "ConfigMap", made["metadata"]["name"], version_of(made), [{"op": "remove", "path": "/data/zzz"}]
        )
    assert version_of(place.live("ConfigMap", "one")) == version_of(made)


def test_a_patch_of_what_is_gone_is_permanent_and_no_conflict(place: Place) -> None:
    with pytest.raises(Permanent) as caught:
        place.cluster.patch("ConfigMap", f"{place.mark}-none", "1", [add("/data/a", "1")])
    assert not isinstance(caught.value, Conflict)


def test_a_label_with_a_slash_is_patched_by_its_escaped_path(place: Place) -> None:
    made = place.config_map("one", **{"onlyvips.com/state": "open"})
    operation = add("/metadata/labels/onlyvips.com~1state", "closed")
    changed = place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [operation])
    assert changed["metadata"]["labels"]["onlyvips.com/state"] == "closed"


def test_a_delete_needs_the_newest_version_and_is_done_when_there_is_nothing(place: Place) -> None:
    made = place.config_map()
    name = made["metadata"]["name"]
    changed = place.cluster.patch("ConfigMap", name, version_of(made), [add("/data/b", "2")])
    with pytest.raises(Conflict):
        place.cluster.delete("ConfigMap", name, version_of(made))
    place.live("ConfigMap", "one")
    place.cluster.delete("ConfigMap", name, version_of(changed))
    assert place.cluster.get("ConfigMap", name) is None
    place.cluster.delete("ConfigMap", name, version_of(changed))


def test_the_same_name_made_again_is_another_object(place: Place) -> None:
    made = place.config_map()
    place.cluster.delete("ConfigMap", made["metadata"]["name"], version_of(made))
    again = place.config_map()
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    with pytest.raises(Conflict):
        place.cluster.patch("ConfigMap", made["metadata"]["name"], version_of(made), [add("/data/b", "2")])


def test_an_immutable_object_keeps_its_data_and_may_be_annotated(place: Place) -> None:
    made = place.cluster.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": place.metadata("fixed"),
            "data": {"a": "1"},
            "immutable": True,
        }
    )
    name = made["metadata"]["name"]
    with pytest.raises(Permanent) as caught:
        place.cluster.patch("ConfigMap", name, version_of(made), [add("/data/a", "2")])
    assert not isinstance(caught.value, Conflict)
    noted = place.cluster.patch("ConfigMap", name, version_of(made), [add("/metadata/annotations", {"e": "2"})])
    assert noted["metadata"]["annotations"] == {"e": "2"}


def test_the_text_of_a_secret_is_stored_as_base64(place: Place) -> None:
    made = place.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": place.metadata("s"), "stringData": {"KEY": "välue"}}
    )
    assert (made["data"], "stringData" in made) == ({"KEY": "dsOkbHVl"}, False)


def test_a_kind_that_is_not_handled_is_permanent(place: Place) -> None:
    with pytest.raises(Permanent, match="Kind Ingress is not one this program handles"):
        place.cluster.get("Ingress", "x")


def test_what_is_returned_belongs_to_the_caller(place: Place) -> None:
    made = place.config_map()
    made["data"]["a"] = "scribbled"
    place.live("ConfigMap", "one")["data"]["a"] = "scribbled"
    assert place.live("ConfigMap", "one")["data"] == {"a": "1"}


def test_the_generation_of_a_deployment_grows_with_its_spec_alone(place: Place) -> None:
    made = place.deployment()
    assert made["metadata"]["generation"] == 1
    place.wait(lambda: place.live("Deployment", "web").get("status", {}).get("observedGeneration") == 1)
    name, live = made["metadata"]["name"], place.live("Deployment", "web")
    noted = place.cluster.patch("Deployment", name, version_of(live), [add("/metadata/labels/x", "y")])
    assert noted["metadata"]["generation"] == 1
    scaled = place.cluster.patch("Deployment", name, version_of(noted), [add("/spec/minReadySeconds", 1)])
    assert scaled["metadata"]["generation"] == 2


def test_the_selector_of_a_deployment_cannot_be_changed(place: Place) -> None:
    place.deployment()
    place.wait(lambda: place.live("Deployment", "web").get("status", {}).get("observedGeneration") == 1)
    live = place.live("Deployment", "web")
    with pytest.raises(Permanent) as caught:
        place.cluster.patch(
            "Deployment",
            live["metadata"]["name"],
            version_of(live),
            [add("/spec/selector/matchLabels/track", "other"), add("/spec/template/metadata/labels/track", "other")],
        )
    assert not isinstance(caught.value, Conflict)


def test_a_backend_of_a_route_without_a_weight_weighs_one_and_names_of_rules_are_kept(place: Place) -> None:
    references = [{"name": "a", "port": 80}, {"name": "b", "port": 80, "weight": 0}]
    made = place.cluster.create(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": place.metadata("route"),
            "spec": {"rules": [{"backendRefs": references}]},
        }
    )
    stored = made["spec"]["rules"][0]["backendRefs"]
    assert [(each["name"], each["weight"], each["kind"]) for each in stored] == [
        ("a", 1, "Service"),
        ("b", 0, "Service"),
    ]
    name = made["metadata"]["name"]
    operations = [
        {"op": "test", "path": "/spec/rules/0/backendRefs/0/name", "value": "a"},
        add("/spec/rules/0/backendRefs/0/weight", 90),
        add("/spec/rules/0/backendRefs/-", {"name": "c", "port": 80, "weight": 10}),
    ]
    changed = place.cluster.patch("HTTPRoute", name, version_of(made), operations)
    assert [(each["name"], each["weight"]) for each in changed["spec"]["rules"][0]["backendRefs"]] == [
        ("a", 90),
        ("b", 0),
        ("c", 10),
    ]


def ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_a_deployment_gets_its_pods_ready_rolls_and_takes_them_away(place: Place) -> None:
    name = place.deployment(replicas=2)["metadata"]["name"]
    place.wait(lambda: place.live("Deployment", "web").get("status", {}).get("readyReplicas") == 2)
    first = place.pods()
    assert len(first) == 2 and all(ready(pod) for pod in first)
    for pod in first:
        condition = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
        assert condition["lastTransitionTime"].endswith("Z")
        assert pod["metadata"]["annotations"]["note"] == "kept"
        assert {"app": place.mark, "version": "v1"}.items() <= pod["metadata"]["labels"].items()

    def roll() -> None:
        live = place.live("Deployment", "web")
        operation = add("/spec/template/metadata/annotations", {"note": "new"})
        place.cluster.patch("Deployment", name, version_of(live), [operation])

    retried(roll)

    def rolled() -> bool:
        live, pods = place.live("Deployment", "web"), place.pods()
        assert sum(map(ready, pods)) >= 2, "maxUnavailable 0"
        seen = live["status"].get("observedGeneration") == live["metadata"]["generation"]
        new = [pod for pod in pods if pod["metadata"]["annotations"]["note"] == "new"]
        return bool(seen and live["status"].get("updatedReplicas") == 2 and len(new) == len(pods) == 2)

    place.wait(rolled)
    assert not {pod["metadata"]["uid"] for pod in first} & {pod["metadata"]["uid"] for pod in place.pods()}

    def remove() -> None:
        place.cluster.delete("Deployment", name, version_of(place.live("Deployment", "web")))

    retried(remove)
    place.wait(lambda: place.cluster.get("Deployment", name) is None)
    place.wait(lambda: place.cluster.list("Pod", {"app": place.mark}) == [])


def retried(write: Callable[[], None]) -> None:
    """The controllers write to the same objects."""
    for _ in range(20):
        try:
            write()
            return
        except Conflict:
            continue
    raise AssertionError("conflicts without end")


def test_pods_of_an_image_that_cannot_be_pulled_say_so(place: Place) -> None:
    place.deployment(NO_IMAGE, replicas=1)

    def complaint() -> str:
        statuses = [status for pod in place.pods() for status in pod["status"].get("containerStatuses") or []]
        waiting = [status["state"]["waiting"]["reason"] for status in statuses if "waiting" in status.get("state", {})]
        return next((reason for reason in waiting if reason in ("ErrImagePull", "ImagePullBackOff")), "")

    place.wait(complaint)
    assert not any(ready(pod) for pod in place.pods())


@pytest.mark.lab
def test_a_cluster_that_is_away_is_transient_to_readers_and_to_writers_that_reached_nobody(lab: Any) -> None:
    text = Path(lab.env["ONLYVIPS_LAB_KUBECONFIG"]).read_text()
    server = next(line.split("server:")[1].strip() for line in text.splitlines() if "server:" in line)
    moved = lab.home / "nobody.kubeconfig"
    moved.write_text(text.replace(server, "https://127.0.0.1:1"))
    cluster = KubernetesCluster(moved, "production")
    with pytest.raises(Transient):
        cluster.get("ConfigMap", "x")
    with pytest.raises((Transient, UnknownOutcome)):
        cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})


def test_the_simulators_faults_are_the_ports_words() -> None:
    platform = Platform(1, "onlyvips", rule=0, rate=0.0)
    place = Place(platform.cluster, platform.clock)
    platform.cluster.answer_lost_on("ConfigMap", "create")
    with pytest.raises(UnknownOutcome):
        place.config_map()
    assert place.live("ConfigMap", "one")["data"] == {"a": "1"}
    platform.cluster.apiserver_away(10.0)
    with pytest.raises(Transient):
        place.cluster.get("ConfigMap", "one")
    platform.clock.sleep(10.0)
    place.live("ConfigMap", "one")
    with pytest.raises(OnlyVipsError):
        place.config_map()
