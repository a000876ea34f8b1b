"""What reacts to the objects of a ``SimCluster``: Deployments make pods, pods start and end, Jobs finish."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Literal

from onlyvips.ports import Manifest
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster

_SLOWEST_REACTION = 3.0
_GRACE = 2.0
_JOB = 3.0
_HASH = "pod-template-hash"


@dataclass
class Nature:
    """How things go here: images that cannot be pulled or never get ready, and what becomes of Jobs."""

    broken: set[str] = field(default_factory=set)
    unready: set[str] = field(default_factory=set)
    jobs: Literal["Complete", "Failed", ""] = "Complete"


class Controllers:
    """Deployment and Job controllers and the kubelet, driven by the clock. A pod that ends, ends at once."""

    def __init__(self, clock: SimClock, cluster: SimCluster, random: Random, nature: Nature) -> None:
        self._clock, self._cluster, self._random, self.nature = clock, cluster, random, nature
        self._pods: dict[str, list[str]] = {}
        self._due: set[str] = set()
        self._numbers = count(1)
        cluster.watchers.append(self._changed)

    def _changed(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if kind == "Deployment":
            if after is None and before is not None:
                for pod in self._pods.pop(before["metadata"]["name"], []):
                    self.terminate(pod)
            elif after is not None:
                self._soon(after["metadata"]["name"])
        elif kind == "Pod":
            self._soon(((after or before) or {})["metadata"]["ownerReferences"][0]["name"])
        elif kind == "Job" and before is None and after is not None and self.nature.jobs:
            uid = after["metadata"]["uid"]
            self._clock.after(_JOB, lambda: self._finish_job(after["metadata"]["name"], uid))

    def _soon(self, name: str) -> None:
        if name not in self._due:
            self._due.add(name)
            self._clock.after(self._random.uniform(0.05, _SLOWEST_REACTION), lambda: self._reconcile(name))

    def _reconcile(self, name: str) -> None:
        self._due.discard(name)
        deployment = self._cluster.see("Deployment", name)
        if deployment is None:
            return
        wanted, template = deployment["spec"]["replicas"], _digest(deployment["spec"]["template"])
        pods = [pod for each in self._pods.get(name, []) if (pod := self._cluster.see("Pod", each)) is not None]
        pods = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in pods if pod["metadata"]["labels"][_HASH] == template]
        old = [pod for pod in pods if pod not in new]
        for pod in sorted(new, key=ready)[: max(0, len(new) - wanted)] + _removable(new, old, wanted):
            self.terminate(pod["metadata"]["name"])
        surge = max(1, -(-wanted // 4)) if old else 0
        for _ in range(min(wanted - len(new), wanted + surge - len(pods))):
            self._start(deployment, template)
        self._report(deployment, len(pods), len(new), sum(ready(pod) for pod in pods))

    def _start(self, deployment: Manifest, digest: str) -> None:
        name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        pod = f"{name}-{digest}-{next(self._numbers)}"
        metadata = {
            "name": pod,
            "labels": {**template["metadata"]["labels"], _HASH: digest},
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "ownerReferences": [{"name": name}],
        }
        self._pods.setdefault(name, []).append(pod)
        self._cluster.put({"kind": "Pod", "metadata": metadata, "spec": template["spec"], "status": _pending()})
        image = template["spec"]["containers"][0]["image"]
        if image in self.nature.broken:
            self._clock.after(0.5, lambda: self._say(pod, "ErrImagePull", f"{image}: not found"))
        elif image not in self.nature.unready:
            self._clock.after(self._random.uniform(1.0, 4.0), lambda: self._get_ready(pod))

    def _say(self, pod: str, reason: str, message: str) -> None:
        def change(live: Manifest) -> None:
            state = {"waiting": {"reason": reason, "message": message}}
            live["status"]["containerStatuses"] = [{"ready": False, "restartCount": 0, "state": state}]

        if self._cluster.see("Pod", pod) is not None:
            self._cluster.change("Pod", pod, change)

    def _get_ready(self, pod: str) -> None:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": self._cluster.timestamp()}
        status = {"phase": "Running", "conditions": [condition]}
        live = self._cluster.see("Pod", pod)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            self._cluster.change("Pod", pod, lambda it: it.update(status=status))

    def terminate(self, pod: str) -> None:
        """SIGTERM now, gone after the grace."""
        live = self._cluster.see("Pod", pod)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return
        self._cluster.change("Pod", pod, lambda it: it["metadata"].update(deletionTimestamp=self._cluster.timestamp()))
        self._clock.after(_GRACE, lambda: self._cluster.drop("Pod", pod))

    def _report(self, deployment: Manifest, replicas: int, updated: int, available: int) -> None:
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": available,
            "availableReplicas": available,
        }
        if deployment.get("status") != status:
            self._cluster.change("Deployment", deployment["metadata"]["name"], lambda it: it.update(status=status))

    def _finish_job(self, name: str, uid: str) -> None:
        live = self._cluster.see("Job", name)
        if live is not None and live["metadata"]["uid"] == uid:
            condition = {"type": self.nature.jobs, "status": "True", "message": "BackoffLimitExceeded"}
            self._cluster.change("Job", name, lambda it: it.update(status={"conditions": [condition]}))


def ready(pod: Manifest) -> bool:
    """Whether the pod serves: Ready and not ending."""
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(each["type"] == "Ready" for each in conditions)


def _removable(new: list[Manifest], old: list[Manifest], wanted: int) -> list[Manifest]:
    """Old pods that may go while ``wanted`` stay ready (maxUnavailable 0)."""
    spare = sum(map(ready, new)) + sum(map(ready, old)) - wanted
    idle = [pod for pod in old if not ready(pod)]
    return idle + [pod for pod in old if ready(pod)][: max(0, spare)]


def _pending() -> Manifest:
    return {"phase": "Pending", "conditions": []}


def _digest(template: Manifest) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:6]
