"""Adopt a Deployment: look, decide, write under the service's lease, look again. The twin carries what must come back.

Killed anywhere, users are served by what the Service selects; run again it goes on from what is there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import ceil
from typing import Any

from onlyvips.core.adoption import STABLE, TWIN, Next, Scene, Standing, next_step
from onlyvips.core.manifests import MANAGED, PREFIX, annotations_of, epoch_key
from onlyvips.core.plan import ReleasePlan
from onlyvips.errors import Conflict, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster, Manifest
from onlyvips.steps import records
from onlyvips.steps.acting import hold, let_go
from onlyvips.steps.deployed import NOTHING, healthy, there
from onlyvips.steps.fence import Fence
from onlyvips.steps.observe import HELD_MINIMUM, SCALER, Observer, scaler_of

KEPT = f"{PREFIX}/adopts"
"""The annotation of the twin that holds what the Deployment and the Service were."""
_PATIENCE = 120.0
_DERIVED = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


def twin_of(name: str) -> str:
    """The twin's name."""
    return f"{name}-twin"


def check(cluster: Cluster, plan: ReleasePlan) -> None:
    """Raise Refused, with nothing changed, for what cannot be adopted; one that is on its way or done is not."""
    service = plan.service
    if (found := records.find_open(cluster, service.name)) is not None:
        raise Refused(f"Release {found.id} of {service.name} is open: {NOTHING}; let it end first.")
    if not service.service:
        raise Refused(
            f"{service.name} has no Service, so there is no traffic to move: {NOTHING}; it needs no adoption."
        )
    if cluster.get("Deployment", twin_of(service.deployment)) is not None:
        return
    deployment, front = (
        there(cluster, plan, "Deployment", service.deployment),
        there(cluster, plan, "Service", service.service),
    )
    _check_objects(deployment, front)
    healthy(deployment, plan)


def _check_objects(deployment: Manifest, front: Manifest) -> None:
    name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"].get("labels") or {}
    if owners := deployment["metadata"].get("ownerReferences"):
        raise Refused(
            f"Deployment {name} is made by {owners[0]['kind']} {owners[0]['name']}: {NOTHING}; adopt it there."
        )
    if deployment["spec"].get("paused"):
        raise Refused(f"Deployment {name} is paused: {NOTHING}; `kubectl rollout resume` it first.")
    if deployment["spec"]["selector"].get("matchExpressions"):
        raise Refused(f"The selector of Deployment {name} has matchExpressions: {NOTHING}; adopt it by hand.")
    selector = front["spec"].get("selector") or {}
    if not selector or not selector.items() <= labels.items():
        raise Refused(
            f"Service {front['metadata']['name']} does not select the pods of Deployment {name}: {NOTHING}; correct "
            "`service` in the environment."
        )


class Adoption:
    """One adoption, under one epoch of the service's lease. ``fence`` is None where nothing is to be written."""

    def __init__(self, cluster: Cluster, clock: Clock, plan: ReleasePlan, fence: Fence | None) -> None:
        self._cluster, self._clock, self._plan, self._fence = cluster, clock, plan, fence
        self._observer = Observer(cluster, clock, plan)
        self._front: tuple[str, float] | None = None
        self._names = plan.service.deployment, plan.service.service

    def scene(self) -> Scene:
        """What is there now."""
        name, front_name = self._names
        front = self._cluster.get("Service", front_name)
        if front is None:
            raise Permanent(f"Service {front_name} is gone: put it back, then adopt again.")
        track = str((front["spec"].get("selector") or {}).get("track", ""))
        if self._front is None or self._front[0] != track:
            self._front = track, self._clock.monotonic()
        stable, twin = (self._cluster.get("Deployment", each) for each in (name, twin_of(name)))
        scaler = scaler_of(self._cluster, name)
        return Scene(
            capacity=int((twin or stable or {"spec": {"replicas": 0}})["spec"]["replicas"]),
            stable=self._standing(stable),
            twin=self._standing(twin),
            front=track,
            settled=self._clock.monotonic() - self._front[1],
            held=scaler is not None and HELD_MINIMUM in annotations_of(scaler),
        )

    def _standing(self, deployment: Manifest | None) -> Standing | None:
        found = self._observer.workload(deployment)
        if deployment is None or found is None:
            return None
        tracked = deployment["spec"]["selector"]["matchLabels"].get("track") == STABLE
        return Standing(tracked, found.ready, found.visible, found.quiet, found.complete, found.trouble)

    def next(self, *, back: bool = False) -> Next:
        """The next step."""
        return next_step(self.scene(), self._plan.waits.propagation, back=back)

    def run(self, tell: Callable[[str], None], *, back: bool = False) -> None:
        """To the end. Raises Permanent when pods do not get ready within ``waits.ready``: run it again, or go back."""
        waiting, since, asked = "", self._clock.monotonic(), self._clock.monotonic()
        while True:
            try:
                step = self.next(back=back)
                if step.kind not in ("wait", "done"):
                    tell(f"{step.kind.replace('-', ' ')}: {step.reason}")
                    self.perform(step)
                asked = self._clock.monotonic()
            except (Transient, UnknownOutcome):
                if self._clock.monotonic() - asked > _PATIENCE:
                    raise
                self._clock.sleep(self._plan.waits.poll)
                continue
            if step.kind == "done":
                tell(step.reason)
                return
            if step.kind != "wait":
                waiting, since = "", self._clock.monotonic()
                continue
            if step.reason != waiting:
                waiting = step.reason
                tell(f"waiting: {step.reason}")
            self._limit(step, self._clock.monotonic() - since)
            self._progress()
            self._clock.sleep(self._plan.waits.poll)

    def _limit(self, step: Next, waited: float) -> None:
        if waited > self._plan.waits.ready + 2 * self._plan.waits.propagation:
            raise Permanent(
                f"{step.reason}: not so for {self._plan.waits.ready:.0f} s. Users are served; put it right and run "
                "`onlyvips release adopt` again, or go back with --back while the old Deployment is there."
            )

    def _progress(self) -> None:
        if self._fence is not None:
            self._fence.progress()

    def perform(self, step: Next) -> None:
        """Do one step; done already, it changes nothing."""
        _ACTS[step.kind](self)

    @property
    def fence(self) -> Fence:
        """What writes."""
        assert self._fence is not None
        return self._fence

    def create_twin(self) -> None:
        """A copy of the Deployment under another track; it keeps what the Deployment and the Service were."""
        name, front_name = self._names
        live, front = self._cluster.get("Deployment", name), self._cluster.get("Service", front_name)
        if live is None or front is None:
            return
        hold(self._cluster, self.fence, name, int(live["spec"]["replicas"]))
        kept = json.dumps({"deployment": _essence(live), "selector": front["spec"]["selector"]}, separators=(",", ":"))
        twin = _deployment(live, twin_of(name), TWIN, {KEPT: kept}, MANAGED)
        self._create(_lingering(twin, ceil(self._plan.waits.propagation) + 1))

    def create_stable(self) -> None:
        """The Deployment anew, from what the twin keeps, with the twin's pods as many."""
        name = self._names[0]
        kept = self._kept()["deployment"]
        kept["spec"]["replicas"] = self._twin()["spec"]["replicas"]
        self._create(_deployment(kept, name, STABLE, {}, {}))

    def _create(self, manifest: Manifest) -> None:
        service = self._plan.service.name
        manifest["metadata"]["annotations"] |= {epoch_key(service): str(self.fence.epoch)}
        self.fence.progress()
        with suppress(Conflict):  # it is there: looked at anew
            self._cluster.create(manifest)

    def _twin(self) -> Manifest:
        found = self._cluster.get("Deployment", twin_of(self._names[0]))
        if found is None or KEPT not in annotations_of(found):
            raise Permanent(
                f"Deployment {twin_of(self._names[0])} was not made by an adoption, or is gone: look at it."
            )
        return found

    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(annotations_of(self._twin())[KEPT])
        return kept

    def select(self, track: str) -> None:
        """The Service selects one track; the version is not part of it, for releases change it."""
        wanted = {key: value for key, value in self._kept()["selector"].items() if key != "version"} | {"track": track}
        self._set_selector(wanted)

    def select_all(self) -> None:
        """The Service selects what it did."""
        self._set_selector(self._kept()["selector"])

    def _set_selector(self, wanted: Mapping[str, str]) -> None:
        def change(live: Manifest) -> Sequence[Manifest]:
            if live["spec"]["selector"] == wanted:
                return ()
            return ({"op": "replace", "path": "/spec/selector", "value": dict(wanted)},)

        self.fence.patch("Service", self._names[1], change)

    def remove_old(self) -> None:
        """The Deployment without ``track``; never one that has it."""
        live = self._cluster.get("Deployment", self._names[0])
        if live is not None and live["spec"]["selector"]["matchLabels"].get("track") != STABLE:
            self._twin()
            self.fence.delete("Deployment", self._names[0])

    def remove_twin(self) -> None:
        """The twin."""
        self._twin()
        self.fence.delete("Deployment", twin_of(self._names[0]))

    def let_go(self) -> None:
        """The autoscaler gets its minimum back."""
        if (scaler := scaler_of(self._cluster, self._names[0])) is not None:
            self.fence.patch(SCALER, scaler["metadata"]["name"], let_go)


_ACTS: Mapping[str, Callable[[Adoption], None]] = {
    "create-twin": Adoption.create_twin,
    "select-twin": lambda it: it.select(TWIN),
    "remove-old": Adoption.remove_old,
    "create-stable": Adoption.create_stable,
    "select-stable": lambda it: it.select(STABLE),
    "select-all": Adoption.select_all,
    "remove-twin": Adoption.remove_twin,
    "let-go": Adoption.let_go,
}


def _essence(live: Manifest) -> Manifest:
    metadata = live["metadata"]
    notes = {key: value for key, value in annotations_of(live).items() if key not in _DERIVED}
    kept = {"labels": dict(metadata.get("labels") or {}), "annotations": notes}
    return {"metadata": kept, "spec": live["spec"]}


def _lingering(twin: Manifest, seconds: int) -> Manifest:
    """Its pods serve on while the router forgets them: going back, the Service selects them until they are gone, for no
    selector can leave out those that have a label more."""
    pod = twin["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = int(pod.get("terminationGracePeriodSeconds", 30)) + seconds
    for container in pod["containers"]:
        container["lifecycle"] = {**(container.get("lifecycle") or {}), "preStop": {"sleep": {"seconds": seconds}}}
    return twin


def _deployment(
    source: Manifest, name: str, track: str, notes: Mapping[str, str], labels: Mapping[str, str]
) -> Manifest:
    """A Deployment like ``source`` that differs in ``track``; its selector has no version, for releases change it."""
    spec, metadata = copy.deepcopy(source["spec"]), source["metadata"]
    matched = {key: value for key, value in spec["selector"]["matchLabels"].items() if key != "version"}
    spec["selector"] = {"matchLabels": {**matched, "track": track}}
    spec["template"]["metadata"]["labels"] = {**(spec["template"]["metadata"].get("labels") or {}), "track": track}
    own = {key: value for key, value in annotations_of(source).items() if key not in _DERIVED}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": {**(metadata.get("labels") or {}), "track": track, **labels},
            "annotations": {**own, **notes},
        },
        "spec": spec,
    }
