"""The configuration on a real apiserver: wrecked, compared by the server, restored by the command a person types."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.inventory_kubernetes import KubernetesInventory
from onlyvips.core.configuration import keep
from onlyvips.core.kinds import parse_kind
from onlyvips.steps.configuration import MANIFESTS
from tests.cluster import remove
from tests.system.platform import Platform, told
from tests.system.test_configuration import place

__all__ = ["place"]
pytestmark = pytest.mark.lab
HERE = ("-e", "config", "--json")
RESTORE = ("--kind", "configuration", "--target", "live", *HERE)
KINDS = ("ServiceAccount", "ConfigMap", "Service", "Deployment", "HorizontalPodAutoscaler", "Gateway", "HTTPRoute")


@pytest.fixture
def name(place: Platform) -> Iterator[str]:
    """Objects of our own, of four kinds, removed at the end."""
    name = f"restored-{os.urandom(3).hex()}"
    labels = {"app": name}
    container = {"name": "api", "image": "ghcr.io/onlyvips/backend:v1", "env": [{"name": "LEVEL", "value": "info"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    rules = [{"name": name, "backendRefs": [{"name": name, "port": 8080}]}]
    for api, kind, content in (
        ("v1", "ConfigMap", {"data": {"LEVEL": "info"}}),
        ("v1", "Service", {"spec": {"selector": labels, "ports": [{"port": 8080}]}}),
        ("apps/v1", "Deployment", {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", {"spec": {"rules": rules}}),
    ):
        place.cluster.create({"apiVersion": api, "kind": kind, "metadata": {"name": name}, **content})
    yield name
    for kind in ("ConfigMap", "Service", "Deployment", "HTTPRoute"):
        for one in (name, f"{name}-since"):
            remove(place.cluster, kind, one)


def live(place: Platform) -> dict[str, Any]:
    """All that is declared in the namespace, by name."""
    inventory = KubernetesInventory(Path(place.lab.env["ONLYVIPS_LAB_KUBECONFIG"]), "production")
    every = (one for kind in inventory.served([parse_kind(kind) for kind in KINDS]) for one in inventory.objects(kind))
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in keep(every).manifests}


def change(place: Platform, kind: str, name: str, path: str, value: Any) -> None:
    found = place.cluster.get(kind, name)
    assert found is not None
    operation = {"op": "add", "path": path, "value": value}
    place.cluster.patch(kind, name, found["metadata"]["resourceVersion"], [operation])


def test_a_wrecked_configuration_is_as_it_was_and_nothing_else_changes(place: Platform, name: str) -> None:
    backup = told(place.onlyvips("backup", "run", "--kind", "configuration", "--local", *HERE))["backup"]
    before, cluster = live(place), place.cluster
    for kind in ("Service", "HTTPRoute"):
        remove(cluster, kind, name)
    change(place, "ConfigMap", name, "/data/EXTRA", "1")
    env = [{"name": "LEVEL", "value": "debug"}, {"name": "ADDED", "value": "by hand"}]
    change(place, "Deployment", name, "/spec/template/spec/containers/0/env", env)
    since = {"metadata": {"name": f"{name}-since"}, "data": {}}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", **since})
    stored = Path(place.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "config/configuration" / backup / MANIFESTS
    data = stored.read_bytes()
    stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    plan = told(place.onlyvips("restore", "plan", "--at", backup, *RESTORE))
    changed = [f"ConfigMap/{name}", f"Deployment/{name}"]
    assert plan["created"] == [f"Service/{name}", f"HTTPRoute/{name}"]
    assert plan["changed"] == plan["overwritten"] == changed and plan["refusals"] == []
    assert f"ConfigMap/{name}-since" in plan["others"] and plan["secrets"] == []
    difference = "\n".join(plan["diffs"][f"Deployment/{name}"])
    assert '"value": "debug"' in difference and '"value": "info"' in difference and "ADDED" in difference
    (fields,) = plan["owners"][f"Deployment/{name}"].values()
    assert fields == ['.spec.template.spec.containers[name="api"].env[name="LEVEL"].value']
    assert len(plan["revision"]) == 40

    over = [option for one in changed for option in ("--overwrite", one)]
    done = place.onlyvips("restore", "run", "--local", "--at", backup, *over, *RESTORE)
    assert done.returncode == 0, done.stdout + done.stderr
    result = told(done)
    assert (result["created"], result["changed"]) == (plan["created"], changed)
    assert any(f"directory: config/configuration/{backup}/{MANIFESTS} has SHA-256" in one for one in result["flaws"])
    assert any(line.startswith("Safety backup: 2") for line in result["told"])
    now = live(place)
    assert now.pop(f"ConfigMap/{name}-since") and now == before
