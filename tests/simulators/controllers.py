"""What reacts to the objects of a ``SimCluster``: Deployments make pods, pods start and end, Jobs finish."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
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
    """How things go here: images that cannot be pulled, never get ready or never end, what is pulled in place of an
    image, and what becomes of Jobs."""

    broken: set[str] = field(default_factory=set)
    unready: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    pulls: dict[str, str] = field(default_factory=dict)
    jobs: Literal["Complete", "Failed", ""] = "Complete"


class Controllers:
    """Deployment and Job controllers and the kubelet, driven by the clock.

    A pod that ends stops serving at once, or after the sleep of its preStop hook, and is gone after its grace.
    """

    def __init__(self, clock: SimClock, cluster: SimCluster, random: Random, nature: Nature) -> None:
        self._clock, self._cluster, self._random, self.nature = clock, cluster, random, nature
        self._pods: dict[str, list[str]] = {}
        self._due: set[str] = set()
        self._since: dict[str, float] = {}
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
        pods = [pod for each in self._pods.get(name, []) if (pod := self._cluster.see("Pod", each)) is not None]
        ending = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        pods = [pod for pod in pods if pod not in ending]
        template, paused = _digest(deployment["spec"]["template"]), deployment["spec"].get("paused", False)
        new = [pod for pod in pods if pod["metadata"]["labels"][_HASH] == template]
        old = [pod for pod in pods if pod not in new]
        if not paused:
            self._update(deployment, new, old, ending)
        self._report(
            deployment, len(pods), len(new), sum(map(ready, pods)), sum(map(self._available(deployment), pods))
        )

    def _update(self, deployment: Manifest, new: list[Manifest], old: list[Manifest], ending: list[Manifest]) -> None:
        """Take away and start what the Deployment's strategy allows now."""
        wanted, template = deployment["spec"]["replicas"], _digest(deployment["spec"]["template"])
        recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
        surge, unavailable = _limits(deployment)
        available = self._available(deployment)
        removable = old if recreate else _removable(new, old, wanted - unavailable, available)
        for pod in sorted(new, key=ready)[: max(0, len(new) - wanted)] + removable:
            self.terminate(pod["metadata"]["name"])
        if recreate and (old or any(pod["metadata"]["labels"][_HASH] != template for pod in ending)):
            return
        most = wanted + (surge if old else 0)
        for _ in range(min(wanted - len(new), most - len(new) - len(old))):
            self._start(deployment, template)

    def _available(self, deployment: Manifest) -> Callable[[Manifest], bool]:
        """Whether a pod was ready for ``minReadySeconds``; one that is not yet is looked at again when it may be."""
        least, name = float(deployment["spec"].get("minReadySeconds", 0)), deployment["metadata"]["name"]

        def available(pod: Manifest) -> bool:
            if not ready(pod) or (left := self._since[pod["metadata"]["uid"]] + least - self._clock.monotonic()) <= 0:
                return ready(pod)
            self._clock.after(left + 0.01, lambda: self._soon(name))
            return False

        return available

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
        live = self._cluster.see("Pod", pod)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            status = {"phase": "Running", "conditions": [condition], "containerStatuses": self._running(live)}
            self._since[live["metadata"]["uid"]] = self._clock.monotonic()
            self._cluster.change("Pod", pod, lambda it: it.update(status=status))

    def _running(self, pod: Manifest) -> list[Manifest]:
        """As a kubelet says it: which image was pulled, by its digest where one was asked for."""
        pulled = [(one.get("name", ""), one["image"]) for one in pod["spec"]["containers"]]
        known = ((name, image, self.nature.pulls.get(image, image)) for name, image in pulled)
        return [{"name": name, "image": image, "imageID": found, "ready": True} for name, image, found in known]

    def terminate(self, pod: str) -> None:
        """preStop, then SIGTERM, gone after the grace; one that hangs is never gone."""
        live = self._cluster.see("Pod", pod)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return
        pause, uid = pause_of(live), live["metadata"]["uid"]
        self._cluster.change("Pod", pod, lambda it: it["metadata"].update(deletionTimestamp=self._cluster.timestamp()))
        if pause:
            self._clock.after(pause, lambda: self._stop(pod, uid))
        if live["spec"]["containers"][0]["image"] not in self.nature.hanging:
            self._clock.after(pause + _GRACE, lambda: self._drop(pod, uid))

    def _stop(self, pod: str, uid: str) -> None:
        """SIGTERM: from now on it serves nobody."""
        live = self._cluster.see("Pod", pod)
        if live is not None and live["metadata"]["uid"] == uid:
            self._cluster.change("Pod", pod, lambda it: it["status"].update(conditions=[]))

    def _drop(self, pod: str, uid: str) -> None:
        live = self._cluster.see("Pod", pod)
        if live is not None and live["metadata"]["uid"] == uid:
            self._cluster.drop("Pod", pod)

    def _report(self, deployment: Manifest, replicas: int, updated: int, ready: int, available: int) -> None:
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": ready,
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


def serves(pod: Manifest) -> bool:
    """Whether it answers requests: also while its preStop hook sleeps."""
    conditions = pod["status"].get("conditions", [])
    up = any(each["type"] == "Ready" for each in conditions)
    return up and ("deletionTimestamp" not in pod["metadata"] or pause_of(pod) > 0)


def pause_of(pod: Manifest) -> float:
    """Seconds for which its preStop hook sleeps."""
    hook = (pod["spec"]["containers"][0].get("lifecycle") or {}).get("preStop") or {}
    return float(hook.get("sleep", {}).get("seconds", 0))


def _limits(deployment: Manifest) -> tuple[int, int]:
    """maxSurge, rounded up, and maxUnavailable, rounded down; where both came to 0, one may be unavailable."""
    wanted = deployment["spec"]["replicas"]
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {"maxUnavailable": 0}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return surge, unavailable or (0 if surge else 1)


def _share(value: int | str, wanted: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * wanted
    return -(-share // 100) if up else share // 100


def _removable(
    new: list[Manifest], old: list[Manifest], least: int, available: Callable[[Manifest], bool]
) -> list[Manifest]:
    """Old pods that may go while ``least`` stay available."""
    spare = sum(map(available, new)) + sum(map(available, old)) - least
    idle = [pod for pod in old if not available(pod)]
    return idle + [pod for pod in old if pod not in idle][: max(0, spare)]


def _pending() -> Manifest:
    return {"phase": "Pending", "conditions": []}


def _digest(template: Manifest) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:6]
