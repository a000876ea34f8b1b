"""Kubernetes objects of a release, made from the live ones: JSON in, JSON out, nothing shared with the input.

The canary is a copy of stable that differs in ``track``, image, version label and the names of its Secrets and
ConfigMaps; all other labels stay, so that NetworkPolicies and disruption budgets apply to it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

from onlyvips.core.referred import Renamed, rename

Manifest = dict[str, Any]

PREFIX = "onlyvips.com"
RELEASE = f"{PREFIX}/release"
EPOCH = f"{PREFIX}/epoch"
MANAGED = {"app.kubernetes.io/managed-by": "onlyvips-rollout"}


def fingerprint(value: object) -> str:
    """Ten hex digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """The object's annotations, empty when it has none."""
    return dict(manifest.get("metadata", {}).get("annotations") or {})


def epoch_key(service: str) -> str:
    """The annotation that says which epoch of the service's lease may write the object."""
    return f"{EPOCH}-{service}"


def epoch_of(manifest: Manifest, service: str) -> int:
    """The epoch stamped on an object, 0 when none is."""
    return int(annotations_of(manifest).get(epoch_key(service), "0"))


def template_release(deployment: Manifest) -> str:
    """The release whose pod template a Deployment has, empty when it is not one of ours."""
    metadata = deployment["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(RELEASE, ""))


def image_of(deployment: Manifest, repository: str) -> str:
    """The image of the container that runs ``repository``, empty when there is none."""
    images = (container["image"] for container in deployment["spec"]["template"]["spec"]["containers"])
    return next((image for image in images if repository_of(image) == repository), "")


def containers_of(deployment: Manifest, repository: str) -> list[str]:
    """Names of the containers that run ``repository``."""
    return [each["name"] for each in _running(deployment, repository)]


def container_of(deployment: Manifest, repository: str) -> Manifest:
    """The container that runs ``repository``; the caller saw that there is one."""
    return _running(deployment, repository)[0]


def _running(deployment: Manifest, repository: str) -> list[Manifest]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return [each for each in containers if repository_of(each["image"]) == repository]


def repository_of(image: str) -> str:
    """The image without its tag and its digest."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return name if name and "/" not in tag else image.partition("@")[0]


def new_template(stable: Manifest, repository: str, version: str, release: str, renamed: Renamed) -> Manifest:
    """Stable's pod template with the new image, the new names of Secrets and ConfigMaps, and the release's id. The
    ``version`` may name a digest after the tag, by which pods are told apart."""
    template: Manifest = copy.deepcopy(stable["spec"]["template"])
    for container in [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]:
        if repository_of(container["image"]) == repository:
            container["image"] = f"{repository}:{version}"
    rename(template, renamed)
    metadata = template.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RELEASE: release}
    if "version" not in stable["spec"]["selector"]["matchLabels"] and "version" in (metadata.get("labels") or {}):
        metadata["labels"]["version"] = version.partition("@")[0]
    return template


def recorded_template(deployment: Manifest, release: str) -> Manifest:
    """The whole pod template of a recorded Deployment, with the id of the release that brings it again."""
    template: Manifest = copy.deepcopy(deployment["spec"]["template"])
    metadata = template.setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), RELEASE: release}
    return template


def version_of(deployment: Manifest, image: str) -> str:
    """The version that a Deployment's pods say they have, by which their counters are found; else the image's tag."""
    labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return str(labels.get("version") or image.partition("@")[0].rpartition(":")[2])


def canary_name(name: str) -> str:
    """The canary's Deployment or Service of ``name``."""
    return f"{name}-canary"


def canary_deployment(stable: Manifest, template: Manifest, name: str, replicas: int, own: Manifest) -> Manifest:
    """Deployment ``name``: stable's spec with ``track: canary``, ``template``, its own count, ``own`` as metadata."""
    spec = copy.deepcopy(stable["spec"])
    spec["replicas"] = replicas
    spec["selector"]["matchLabels"]["track"] = "canary"
    spec["template"] = copy.deepcopy(template)
    spec["template"]["metadata"]["labels"]["track"] = "canary"
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(stable, name, own), "spec": spec}


_ASSIGNED = (
    "clusterIP",
    "clusterIPs",
    "healthCheckNodePort",
    "externalIPs",
    "externalTrafficPolicy",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
)


def canary_service(stable: Manifest, name: str, own: Manifest) -> Manifest:
    """Service ``name``: stable's ports with a selector that says ``track: canary``; the assigned is left."""
    spec = {key: copy.deepcopy(value) for key, value in stable["spec"].items() if key not in _ASSIGNED}
    spec["type"] = "ClusterIP"
    spec["selector"]["track"] = "canary"
    for port in spec.get("ports", []):
        port.pop("nodePort", None)
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(stable, name, own), "spec": spec}


def _metadata(stable: Manifest, name: str, own: Manifest) -> Manifest:
    labels = {**(stable["metadata"].get("labels") or {}), "track": "canary", **MANAGED, **own["labels"]}
    return {"name": name, "labels": labels, "annotations": dict(own["annotations"])}


def own_metadata(release: str, service: str, epoch: int) -> Manifest:
    """Labels and annotations that say whose an object is."""
    return {"labels": {RELEASE: release}, "annotations": {epoch_key(service): str(epoch)}}


def object_of(kind: str, name: str, own: Manifest, **content: object) -> Manifest:
    """A small object of ours (ConfigMap, Secret)."""
    metadata = {"name": name, "labels": {**MANAGED, **own["labels"]}, "annotations": own["annotations"]}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def migration_job(name: str, image: str, command: list[str], env: list[Manifest], plan: str, own: Manifest) -> Manifest:
    """The Job that migrates once; ``plan`` is the fingerprint of what it does. A failed pod is not tried for ever."""
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "migrate", "image": image, "command": command, "env": env}],
    }
    own = {**own, "annotations": {**own["annotations"], f"{PREFIX}/plan": plan}}
    template = {"metadata": {"labels": {"app": name, **MANAGED}}, "spec": pod}
    manifest = object_of("Job", name, own, spec={"backoffLimit": 2, "template": template})
    return {**manifest, "apiVersion": "batch/v1"}


def hook_job(name: str, image: str, command: list[str], seconds: int, plan: str, own: Manifest) -> Manifest:
    """A Job that is tried once and stopped after ``seconds``; what it says last is kept in its pod's status."""
    manifest = migration_job(name, image, command, [], plan, own)
    spec = manifest["spec"] | {"backoffLimit": 0, "activeDeadlineSeconds": max(1, seconds)}
    (container,) = spec["template"]["spec"]["containers"]
    container |= {"name": "hook", "terminationMessagePolicy": "FallbackToLogsOnError"}
    return {**manifest, "spec": spec}


def metadata_patch(manifest: Manifest, change: Callable[[dict[str, str]], None]) -> list[Manifest]:
    """JSON Patch that changes the annotations of ``manifest`` as ``change`` does."""
    wanted = annotations_of(manifest)
    change(wanted)
    return [{"op": "add", "path": "/metadata/annotations", "value": wanted}]
