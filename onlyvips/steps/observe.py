"""Look at the world: the Deployments, their pods, and the route's rule, as ``core.world`` wants to know them.

What changed is timed with this process's own monotonic clock, so that a driver which has just started has seen nothing
for long enough and waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from onlyvips.core.images import other_image
from onlyvips.core.manifests import (
    PREFIX,
    RELEASE,
    annotations_of,
    canary_name,
    fingerprint,
    image_of,
    template_release,
)
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import Split, Workload, World
from onlyvips.ports import Clock, Cluster, Manifest
from onlyvips.ports.router import Router
from onlyvips.steps.generations import unused
from onlyvips.steps.routers import canary_router

SCALER = "HorizontalPodAutoscaler"
HELD_MINIMUM = f"{PREFIX}/held-minimum"

_Key = tuple[str, str]
"""A pod's uid, and since when it says that it is ready."""


def scaler_of(cluster: Cluster, deployment: str) -> Manifest | None:
    """The HorizontalPodAutoscaler of a Deployment, by what it scales and not by its name."""
    targets = ((found, found["spec"].get("scaleTargetRef") or {}) for found in cluster.list(SCALER, {}))
    return next((found for found, target in targets if target.get("name") == deployment), None)


class Observer:
    """What one process has seen so far of one service."""

    def __init__(self, cluster: Cluster, clock: Clock, plan: ReleasePlan) -> None:
        self._cluster, self._clock, self._plan = cluster, clock, plan
        self._ready_since: dict[str, dict[_Key, float]] = {}
        self._left: dict[str, float] = {}
        self._leads: tuple[object, float] | None = None

    def world(self, record: Record, waiting: str = "", waited: float = 0.0) -> World:
        """One observation, now."""
        name = self._plan.service.deployment
        router = canary_router(self._cluster, self._plan, record)
        stable, split = self._cluster.get("Deployment", name), self.split(router)
        return World(
            stable=self.workload(stable, record),
            canary=self.workload(self._cluster.get("Deployment", canary_name(name)), record),
            split=split,
            leftovers=self._leftovers(record, stable),
            waiting=waiting,
            waited=waited,
        )

    def split(self, router: Router | None) -> Split | None:
        """What the router says, and for how long; None when it cannot be told."""
        if router is None or (share := router.read()) is None:
            return None
        settled = self._settled((share.weight, share.leads))
        return Split(share.weight, settled, share.listed, share.sticky, share.strayed, share.refused)

    def _settled(self, leads: object) -> float:
        """For how long this process has seen traffic led where it is led now."""
        if self._leads is None or self._leads[0] != leads:
            self._leads = (leads, self._clock.monotonic())
        return self._clock.monotonic() - self._leads[1]

    def workload(self, deployment: Manifest | None, record: Record | None = None) -> Workload | None:
        """A Deployment and its pods as they are now; None where there is none, or it is being deleted.

        A pod of the release in ``record`` that runs another image than was asked for is not ready for anything.
        """
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return None
        spec, status = deployment["spec"], deployment.get("status") or {}
        release = template_release(deployment)
        every = self._cluster.list("Pod", spec["selector"]["matchLabels"])
        pods = [pod for pod in every if not _leaving(pod)]
        current = [pod for pod in pods if annotations_of(pod).get(RELEASE, "") == release]
        wrong = self._wrong(current, record) if record is not None and record.id == release else {}
        ready = {key for pod in current if (key := _ready_key(pod)) is not None and key[0] not in wrong}
        others = {key for pod in pods if pod not in current and (key := _ready_key(pod)) is not None}
        visible, quiet = self._seen(deployment["metadata"]["uid"], ready, others)
        observed = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
        complete = observed and len(current) == len(pods) and int(status.get("updatedReplicas", 0)) >= spec["replicas"]
        image = image_of(deployment, self._plan.service.image)
        trouble = "its Deployment is paused" if spec.get("paused") else _trouble(current, wrong)
        return Workload(
            image,
            release,
            spec["replicas"],
            len(ready),
            visible,
            quiet,
            complete,
            trouble,
            fingerprint(spec["template"]),
            others=len(pods) - len(current),
            running=max(sum(map(may_run, every)), int(status.get("replicas", 0))),
            ending=tuple(pod["metadata"]["name"] for pod in every if may_run(pod) and _leaving(pod)),
        )

    def _wrong(self, pods: list[Manifest], record: Record) -> dict[str, str]:
        """By uid, the digest that a pod's node says it runs, where that is not the one that was asked for."""
        found = {pod["metadata"]["uid"]: self._digest(pod, record) for pod in pods if record.digest}
        return {uid: digest for uid, digest in found.items() if digest}

    def _digest(self, pod: Manifest, record: Record) -> str:
        return other_image(pod, self._plan.service.image, record.digest)

    def _seen(self, uid: str, ready: set[_Key], others: set[_Key]) -> tuple[int, float]:
        """How many of the ``ready`` pods the router can see, and for how long no pod, of ``others`` too, has left."""
        now, before = self._clock.monotonic(), self._ready_since.get(uid)
        if before is None or before.keys() - ready - others:
            self._left[uid] = now
        since = {key: (before or {}).get(key, now) for key in ready | others}
        self._ready_since[uid] = since
        visible = sum(1 for key in ready if now - since[key] >= self._plan.waits.propagation)
        return visible, now - self._left[uid]

    def _leftovers(self, record: Record, stable: Manifest | None) -> tuple[str, ...]:
        """Objects of this release that have to go on the way it ends."""
        made = self._cluster.list("Service", {RELEASE: record.id})
        services = [f"Service/{each['metadata']['name']}" for each in made]
        held = scaler_of(self._cluster, self._plan.service.deployment)
        scalers = [f"{SCALER}/{held['metadata']['name']}"] if held and is_held(held) else []
        return (*services, *scalers, *unused(self._cluster, record, stable))


def is_held(scaler: Manifest) -> bool:
    """Whether a release holds its minimum."""
    return HELD_MINIMUM in annotations_of(scaler)


def _leaving(pod: Manifest) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) or (pod.get("status") or {}).get("phase") in (
        "Succeeded",
        "Failed",
    )


def may_run(pod: Manifest) -> bool:
    """Whether a process of the pod may live: one that is ending runs until the node says otherwise."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _ready_key(pod: Manifest) -> _Key | None:
    """Which pod, and since when it says it is ready: a pod that flapped unseen counts anew."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return pod["metadata"]["uid"], str(condition.get("lastTransitionTime", ""))
    return None


def _trouble(pods: list[Manifest], wrong: Mapping[str, str]) -> str:
    """What most of the pods that are not ready complain of, the image of one that runs a ``wrong`` one before all."""
    for pod in pods:
        if digest := wrong.get(pod["metadata"]["uid"]):
            return f"{pod['metadata']['name']} runs {digest}, which is not the image that was asked for"
    complaints = Counter(text for pod in pods if _ready_key(pod) is None and (text := _complaint(pod)))
    return complaints.most_common(1)[0][0] if complaints else ""


def _complaint(pod: Manifest) -> str:
    statuses: list[dict[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or []
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', status.get('image', ''))}"
        if not status.get("ready"):
            again = f", restarted {status['restartCount']} times" if status.get("restartCount") else ""
            return f"running but not ready{again}"
    return f"{(pod.get('status') or {}).get('phase', 'Pending')}"
