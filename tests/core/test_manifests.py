"""Objects of a release, made from the live ones: what differs, what stays, and nothing shared with the input."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from onlyvips.core import manifests
from onlyvips.core.referred import Renamed, names_in

IMAGE = "ghcr.io/onlyvips/backend"
STABLE: dict[str, Any] = {
    "metadata": {
        "name": "backend",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"app": "backend", "team": "core"},
        "annotations": {"deployment.kubernetes.io/revision": "3"},
    },
    "spec": {
        "replicas": 6,
        "selector": {"matchLabels": {"app": "backend", "track": "stable"}},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": {"app": "backend", "track": "stable", "version": "v0.8.0", "team": "core"}},
            "spec": {
                "containers": [
                    {
                        "name": "api",
                        "image": f"{IMAGE}:v0.8.0",
                        "envFrom": [{"secretRef": {"name": "jwt-old"}}, {"configMapRef": {"name": "jwt-old"}}],
                        "env": [
                            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "jwt-old", "key": "a"}}},
                            {"name": "B", "value": "jwt-old"},
                            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "c"}}},
                        ],
                    },
                    {"name": "sidecar", "image": "envoy:1.30"},
                ],
                "initContainers": [{"name": "warm", "image": f"{IMAGE}:v0.8.0"}],
                "volumes": [
                    {"name": "v", "secret": {"secretName": "tls"}},
                    {"name": "c", "configMap": {"name": "settings"}},
                    {
                        "name": "p",
                        "projected": {
                            "sources": [{"secret": {"name": "jwt-old"}}, {"configMap": {"name": "settings"}}]
                        },
                    },
                ],
            },
        },
    },
}  # fmt: skip
FRONT: dict[str, Any] = {
    "metadata": {"name": "backend", "labels": {"app": "backend"}},
    "spec": {
        "type": "NodePort",
        "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7"],
        "selector": {"app": "backend", "track": "stable"},
        "ports": [{"port": 8000, "targetPort": "http", "nodePort": 31000}],
    },
}
RENAMED: Renamed = {"Secret": {"jwt-old": "jwt-new"}, "ConfigMap": {"settings": "settings-2"}}
OWN = manifests.own_metadata("r1", "backend", 4)


def template() -> dict[str, Any]:
    return manifests.new_template(STABLE, IMAGE, "v0.9.0", "r1", RENAMED)


def canary() -> dict[str, Any]:
    return manifests.canary_deployment(STABLE, template(), "backend-canary", 2, OWN)


def test_the_canary_differs_in_track_image_version_secrets_and_count_alone() -> None:
    spec = copy.deepcopy(canary()["spec"])
    assert (spec["replicas"], spec["selector"]["matchLabels"]) == (2, {"app": "backend", "track": "canary"})
    labels = spec["template"]["metadata"]["labels"]
    assert labels == {"app": "backend", "track": "canary", "version": "v0.9.0", "team": "core"}
    containers = spec["template"]["spec"]["containers"]
    assert [each["image"] for each in containers] == [f"{IMAGE}:v0.9.0", "envoy:1.30"]
    assert spec["template"]["spec"]["initContainers"][0]["image"] == f"{IMAGE}:v0.9.0"
    assert spec["strategy"] == STABLE["spec"]["strategy"]


def test_only_references_of_the_kind_are_renamed() -> None:
    spec = template()["spec"]
    assert names_in(template(), "Secret") == {"jwt-new", "tls"}
    assert names_in(template(), "ConfigMap") == {"jwt-old", "settings-2"}
    assert spec["containers"][0]["envFrom"][1]["configMapRef"]["name"] == "jwt-old"
    assert spec["containers"][0]["env"][1]["value"] == "jwt-old"
    assert names_in(STABLE["spec"]["template"], "Secret") == {"jwt-old", "tls"}
    assert names_in(STABLE["spec"]["template"], "ConfigMap") == {"jwt-old", "settings"}


def test_an_object_of_ours_says_whose_it_is_and_takes_no_identity_over() -> None:
    metadata = canary()["metadata"]
    assert set(metadata) == {"name", "labels", "annotations"}
    assert metadata["labels"][manifests.RELEASE] == "r1" and metadata["labels"]["team"] == "core"
    assert manifests.epoch_of(canary(), "backend") == 4
    assert manifests.epoch_of(canary(), "bot") == 0
    assert manifests.template_release(canary()) == "r1" and manifests.template_release(STABLE) == ""


def test_the_canarys_service_has_stables_ports_and_nothing_that_the_apiserver_assigned() -> None:
    front = manifests.canary_service(FRONT, "backend-canary", OWN)
    assert front["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "backend", "track": "canary"},
        "ports": [{"port": 8000, "targetPort": "http"}],
    }


def test_nothing_is_shared_with_what_was_read() -> None:
    before = copy.deepcopy((STABLE, FRONT))
    made = [canary(), manifests.canary_service(FRONT, "backend-canary", OWN), template()]
    for each in made:
        scribble(each)
    assert before == (STABLE, FRONT)
    assert manifests.own_metadata("r1", "backend", 4) == OWN


def scribble(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            scribble(inner)
    value.clear()


def test_a_version_label_that_the_selector_needs_is_left_alone() -> None:
    coloured = copy.deepcopy(STABLE)
    coloured["spec"]["selector"]["matchLabels"]["version"] = "v0.8.0"
    made = manifests.new_template(coloured, IMAGE, "v0.9.0", "r1", {})
    assert made["metadata"]["labels"]["version"] == "v0.8.0"


def test_a_pod_template_without_a_version_label_gets_none() -> None:
    plain = copy.deepcopy(STABLE)
    del plain["spec"]["template"]["metadata"]["labels"]["version"]
    assert "version" not in manifests.new_template(plain, IMAGE, "v0.9.0", "r1", {})["metadata"]["labels"]


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (f"{IMAGE}:v1", True),
        (IMAGE, True),
        (f"{IMAGE}@sha256:abc", True),
        (f"{IMAGE}:v1@sha256:abc", True),
        (f"{IMAGE}-next:v1", False),
        ("registry:5000/backend", False),
    ],
)
def test_an_image_is_known_by_its_repository_with_or_without_tag_and_digest(image: str, found: bool) -> None:
    deployment = copy.deepcopy(STABLE)
    deployment["spec"]["template"]["spec"]["containers"] = [{"name": "api", "image": image}]
    assert manifests.image_of(deployment, IMAGE) == (image if found else "")


def test_a_registry_with_a_port_is_no_tag() -> None:
    deployment = copy.deepcopy(STABLE)
    deployment["spec"]["template"]["spec"]["containers"] = [{"name": "api", "image": "registry:5000/backend"}]
    assert manifests.image_of(deployment, "registry:5000/backend") == "registry:5000/backend"


@pytest.mark.parametrize("annotations", [None, {}, {"kubectl.kubernetes.io/x": "1"}])
def test_an_annotation_is_added_to_those_that_are_there(annotations: dict[str, str] | None) -> None:
    live: dict[str, Any] = {"metadata": {"name": "x", **({} if annotations is None else {"annotations": annotations})}}
    after = jsonpatch.apply_patch(live, manifests.metadata_patch(live, lambda notes: notes.update(a="b")))
    assert after["metadata"]["annotations"] == {**(annotations or {}), "a": "b"}


def test_a_fingerprint_is_of_the_value_and_not_of_its_order() -> None:
    assert manifests.fingerprint({"a": 1, "b": 2}) == manifests.fingerprint({"b": 2, "a": 1})
    assert manifests.fingerprint({"a": 1}) != manifests.fingerprint({"a": 2})
    assert len(manifests.fingerprint("")) == 10


def test_a_migration_job_runs_once_and_says_which_plan_it_carries_out() -> None:
    job = manifests.migration_job("migration-v090", "migrate:v1", ["run"], [], "abc", OWN)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["metadata"]["annotations"][f"{manifests.PREFIX}/plan"] == "abc"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert manifests.epoch_of(job, "backend") == 4
