"""Deployments that change where they are: made fit for it, changed by hand, and a bot that tells its own life."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onlyvips.errors import Conflict
from onlyvips.ports import Cluster, Manifest
from tests.system.platform import is_ready

POLLING = """
trap 'ending=1' TERM
left=25
while [ $left -gt 0 ]; do
  echo "$(date +%s%N) $POD_NAME" >> "$POLLS"
  sleep 0.1
  [ -n "$ending" ] && left=$((left - 1))
done
"""
"""A bot that goes on polling for some 2.5 s after it was asked to end."""


def loses_nothing(live: Manifest) -> list[Manifest]:
    """What the refusal of the release asks for."""
    at = "/spec/template/spec"
    return [
        {"op": "add", "path": "/spec/minReadySeconds", "value": 6},
        {"op": "add", "path": f"{at}/terminationGracePeriodSeconds", "value": 20},
        {"op": "add", "path": f"{at}/containers/0/lifecycle", "value": {"preStop": {"sleep": {"seconds": 6}}}},
    ]


def as_before(live: Manifest) -> list[Manifest]:
    """As the lab's manifests have it."""
    at = "/spec/template/spec"
    return [
        {"op": "remove", "path": "/spec/minReadySeconds"},
        {"op": "replace", "path": f"{at}/terminationGracePeriodSeconds", "value": 5},
        {"op": "remove", "path": f"{at}/containers/0/lifecycle"},
    ]


def bot(polls: Path) -> Manifest:
    """A Deployment whose process writes down when it polls."""
    labels = {"app": "bot"}
    container = {
        "name": "bot",
        "image": "ghcr.io/onlyvips/bot:v1",
        "command": ["sh", "-c", POLLING],
        "env": [{"name": "POLLS", "value": str(polls)}],
    }
    template = {
        "metadata": {"labels": {**labels, "version": "v1"}},
        "spec": {"terminationGracePeriodSeconds": 15, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bot"}, "spec": spec}


def change(cluster: Cluster, name: str, how: Callable[[Manifest], list[Manifest]]) -> None:
    """Change a Deployment as a person would."""
    while True:
        live = cluster.get("Deployment", name)
        assert live is not None
        try:
            cluster.patch("Deployment", name, live["metadata"]["resourceVersion"], how(live))
            return
        except Conflict:
            continue


def settled(cluster: Cluster, name: str) -> bool:
    """Every pod is of the newest template and ready, and no other is left."""
    live = cluster.get("Deployment", name)
    assert live is not None
    pods = cluster.list("Pod", {"app": name})
    status, wanted = live["status"], live["spec"]["replicas"]
    updated = status.get("updatedReplicas") == wanted and status.get("availableReplicas") == wanted
    current = status.get("observedGeneration") == live["metadata"]["generation"]
    return updated and current and len(pods) == wanted and all(map(is_ready, pods))


def wait(condition: Callable[[], Any], limit: float = 120) -> Any:
    """The first true answer."""
    until = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < until, "this did not come about in time"
        time.sleep(0.2)
    return found


def lives(polls: Path) -> list[tuple[int, int, str]]:
    """When each pod of the bot polled first and last, by its own account, in order."""
    seen: dict[str, list[int]] = {}
    for line in polls.read_text().splitlines():
        at, pod = line.split()
        seen.setdefault(pod, []).append(int(at))
    return sorted((min(times), max(times), pod) for pod, times in seen.items())


def overlaps(found: list[tuple[int, int, str]]) -> list[str]:
    """Pods of which two polled at a time."""
    pairs = zip(found, found[1:], strict=False)
    return [f"{pod} and {other}" for (_, end, pod), (begun, _, other) in pairs if begun <= end]
