"""Kubernetes objects of a blue-green release: the other colour's Deployment, what previews it, the Service's selector.

JSON in, JSON out, nothing shared with the input. The preview is a Service that selects the other colour and an
HTTPRoute that leads to it whoever sends ``HEADER`` with the release's id; each answer says by the same header that it
came by there.
"""

from __future__ import annotations

import copy
from typing import Any

from onlyvips.core.manifests import MANAGED, canary_service

Manifest = dict[str, Any]

HEADER = "X-Onlyvips-Preview"
_OURS = ("matches", "filters", "backendRefs")


def colour_name(deployment: str, colour: str) -> str:
    """The Deployment of a colour."""
    return f"{deployment}-{colour}"


def preview_name(service: str) -> str:
    """The Service and the HTTPRoute that lead to the other colour."""
    return f"{service}-preview"


def selector_of(front: Manifest) -> dict[str, str]:
    """What a Service selects by."""
    return dict(front["spec"].get("selector") or {})


def pod_labels(deployment: Manifest) -> dict[str, str]:
    """Labels of a Deployment's pods."""
    return dict(deployment["spec"]["template"]["metadata"].get("labels") or {})


def selects(front: Manifest, deployment: Manifest) -> bool:
    """Whether the Service selects the pods of the Deployment."""
    selector = selector_of(front)
    return bool(selector) and selector.items() <= pod_labels(deployment).items()


def painted(template: Manifest, label: str, colour: str) -> Manifest:
    """A pod template of the other colour."""
    template = copy.deepcopy(template)
    template["metadata"]["labels"][label] = colour
    return template


def colour_deployment(live: Manifest, template: Manifest, name: str, replicas: int, colour: Manifest) -> Manifest:
    """Deployment ``name``: the live one's spec with ``template``; ``colour`` has ``label`` ({label: colour}) and
    ``own`` metadata."""
    spec = copy.deepcopy(live["spec"])
    spec["replicas"], spec["template"] = replicas, template
    spec["selector"]["matchLabels"] |= colour["label"]
    own = colour["own"]
    labels = {**(live["metadata"].get("labels") or {}), **colour["label"], **MANAGED, **own["labels"]}
    metadata = {"name": name, "labels": labels, "annotations": dict(own["annotations"])}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def preview_service(front: Manifest, name: str, label: str, colour: str, own: Manifest) -> Manifest:
    """Service ``name``: the ports of ``front``, the other colour."""
    made = canary_service(front, name, own)
    made["spec"]["selector"] = {**selector_of(front), label: colour}
    made["metadata"]["labels"].pop("track")
    return made


def preview_route(route: Manifest, index: int, front: str, name: str, own: Manifest) -> Manifest:
    """HTTPRoute ``name``: the rule as it is, with its filters and timeouts, for those who send the header, to the
    Service of the same name."""
    rule, value = route["spec"]["rules"][index], own["labels"]["onlyvips.com/release"]
    header = {"type": "Exact", "name": HEADER, "value": value}
    matches = [{**match, "headers": [*(match.get("headers") or []), header]} for match in rule.get("matches") or [{}]]
    model = next(entry for entry in rule["backendRefs"] if entry["name"] == front)
    backend = {**{key: copy.deepcopy(kept) for key, kept in model.items() if key != "weight"}, "name": name}
    kept = {key: copy.deepcopy(route["spec"][key]) for key in ("parentRefs", "hostnames") if key in route["spec"]}
    same = {key: copy.deepcopy(found) for key, found in rule.items() if key not in (*_OURS, "name")}
    rules = [{**same, "matches": copy.deepcopy(matches), "filters": _filters(rule, value), "backendRefs": [backend]}]
    metadata = {"name": name, "labels": {**MANAGED, **own["labels"]}, "annotations": dict(own["annotations"])}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {**kept, "rules": rules},
    }


def _filters(rule: Manifest, value: str) -> list[Manifest]:
    """The rule's own, and our header on the answer: the Gateway API allows one ResponseHeaderModifier in a rule."""
    filters, header = copy.deepcopy(rule.get("filters") or []), {"name": HEADER, "value": value}
    for one in filters:
        if one["type"] == "ResponseHeaderModifier":
            modifier = one["responseHeaderModifier"]
            modifier["set"] = [*(modifier.get("set") or []), header]
            return filters
    return [*filters, {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header]}}]


def select(front: Manifest, label: str, colour: str) -> list[Manifest]:
    """JSON Patch that makes the Service select ``colour``; it tests what it replaces."""
    found, path = selector_of(front).get(label), f"/spec/selector/{label.replace('~', '~0').replace('/', '~1')}"
    if found == colour:
        return []
    if found is None:
        return [{"op": "add", "path": path, "value": colour}]
    return [{"op": "test", "path": path, "value": found}, {"op": "replace", "path": path, "value": colour}]
