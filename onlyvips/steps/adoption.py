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

from onlyvips.core.adoption import KEPT, STABLE, TWIN, Next, Scene, Standing, next_step, twin_of
from onlyvips.core.manifests import MANAGED, annotations_of, epoch_key
from onlyvips.core.plan import ReleasePlan
from onlyvips.errors import Conflict, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster, Manifest
from onlyvips.steps import records
from onlyvips.steps.acting import hold, let_go, replicas
from onlyvips.steps.deployed import NOTHING, healthy, there
from onlyvips.steps.fence import Fence
from onlyvips.steps.observe import HELD_MINIMUM, SCALER, Observer, scaler_of

_PATIENCE = 120.0
_DERIVED = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/revision")


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
        self._whole: float | None = None
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
        scaler, own = scaler_of(self._cluster, name), _own(stable)
        capacity = int((twin or stable or {"spec": {"replicas": 0}})["spec"]["replicas"])
        return Scene(
            capacity=capacity,
            stable=self._standing(stable),
            twin=self._standing(twin),
            front=track,
            settled=self._clock.monotonic() - self._front[1],
            own=own,
            whole=self._since_whole(own >= max([capacity, *([stable["spec"]["replicas"]] if stable else [])])),
            held=scaler is not None and HELD_MINIMUM in annotations_of(scaler),
        )

    def _since_whole(self, whole: bool) -> float:
        now = self._clock.monotonic()
        self._whole = None if not whole else now if self._whole is None else self._whole
        return -1.0 if self._whole is None else now - self._whole

    def _standing(self, deployment: Manifest | None) -> Standing | None:
        found = self._observer.workload(deployment)
        if deployment is None or found is None:
            return None
        tracked = deployment["spec"]["selector"]["matchLabels"].get("track") == STABLE
        wanted = int(deployment["spec"]["replicas"])
        return Standing(tracked, wanted, found.ready, found.visible, found.quiet, found.complete, found.trouble)

    def next(self, *, back: bool = False) -> Next:
        """The next step."""
        return next_step(self.scene(), self._plan.waits.propagation, back=back)

    def run(self, tell: Callable[[str], None], *, back: bool = False) -> None:
        """To the end. Raises Permanent when pods do not get ready within ``waits.ready``: run it again, or go back."""
        told, since, asked, claimed = "", self._clock.monotonic(), self._clock.monotonic(), False
        while True:
            try:
                step = self.next(back=back)
                if step.kind == "done":
                    tell(step.reason)
                    return
                if not claimed:
                    self._claim()
                    claimed = True
                    continue
                if (line := _line(step)) != told:
                    told, since = line, self._clock.monotonic()
                    tell(line)
                self._limit(step, self._clock.monotonic() - since)
                if step.kind != "wait":
                    self.perform(step)
                asked = self._clock.monotonic()
            except (Transient, UnknownOutcome):
                if self._clock.monotonic() - asked > _PATIENCE:
                    raise
            else:
                self._progress()
            self._clock.sleep(self._plan.waits.poll)

    def _claim(self) -> None:
        """Our epoch on all that is there, so that an earlier process which wakes up finds itself overtaken."""
        name, front = self._names
        if self._cluster.get("Deployment", twin_of(name)) is not None:
            self._twin()
        for kind, each in (("Deployment", name), ("Deployment", twin_of(name)), ("Service", front)):
            self.fence.stamp(kind, each)

    def _limit(self, step: Next, waited: float) -> None:
        if waited > self._plan.waits.ready + 2 * self._plan.waits.propagation:
            raise Permanent(
                f"{step.reason}: not so for {self._plan.waits.ready:.0f} s. Nothing more was removed; put it right and "
                "run `onlyvips release adopt` again, or go back with --back while the old Deployment is there."
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

    def grow_twin(self) -> None:
        """The twin gets as many pods as the Deployment has by now, and the autoscaler leaves them."""
        name = self._names[0]
        self._twin()
        if (live := self._cluster.get("Deployment", name)) is None:
            return
        count = replicas(live)
        hold(self._cluster, self.fence, name, count)
        operation = {"op": "replace", "path": "/spec/replicas", "value": count}
        self.fence.patch("Deployment", twin_of(name), lambda now: () if replicas(now) >= count else (operation,))

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
        """The Service selects one track. Raises Permanent where the twin no longer is what the Deployment is."""
        kept, live = self._kept(), self._cluster.get("Deployment", self._names[0])
        if track == TWIN and live is not None:
            _check_unchanged(live, kept)
        self._set_selector(kept, _selecting(kept, track))

    def select_all(self) -> None:
        """The Service selects what it did."""
        kept = self._kept()
        self._set_selector(kept, kept["selector"])

    def _set_selector(self, kept: Manifest, wanted: Mapping[str, str]) -> None:
        def change(live: Manifest) -> Sequence[Manifest]:
            _check_known(live, kept)
            if live["spec"]["selector"] == wanted:
                return ()
            return ({"op": "replace", "path": "/spec/selector", "value": dict(wanted)},)

        self.fence.patch("Service", self._names[1], change)

    def remove_old(self) -> None:
        """The Deployment without ``track``, as the twin keeps it; never one that has it."""
        live, kept = self._cluster.get("Deployment", self._names[0]), self._kept()
        if live is not None and live["spec"]["selector"]["matchLabels"].get("track") != STABLE:
            self._check_front(kept)
            self.fence.delete("Deployment", self._names[0], lambda now: _check_unchanged(now, kept))

    def remove_twin(self) -> None:
        """The twin."""
        self._check_front(self._kept())
        self.fence.delete("Deployment", twin_of(self._names[0]))

    def _check_front(self, kept: Manifest) -> None:
        if (front := self._cluster.get("Service", self._names[1])) is not None:
            _check_known(front, kept)

    def let_go(self) -> None:
        """The autoscaler gets its minimum back."""
        if (scaler := scaler_of(self._cluster, self._names[0])) is not None:
            self.fence.patch(SCALER, scaler["metadata"]["name"], let_go)


_ACTS: Mapping[str, Callable[[Adoption], None]] = {
    "create-twin": Adoption.create_twin,
    "grow-twin": Adoption.grow_twin,
    "select-twin": lambda it: it.select(TWIN),
    "remove-old": Adoption.remove_old,
    "create-stable": Adoption.create_stable,
    "select-stable": lambda it: it.select(STABLE),
    "select-all": Adoption.select_all,
    "remove-twin": Adoption.remove_twin,
    "let-go": Adoption.let_go,
}


def _line(step: Next) -> str:
    return f"{'waiting' if step.kind == 'wait' else step.kind.replace('-', ' ')}: {step.reason}"


def _own(deployment: Manifest | None) -> int:
    """How many of its pods a Deployment says are ready, in the state that is asked for now."""
    status = (deployment or {}).get("status") or {}
    if deployment is None or int(status.get("observedGeneration", 0)) < int(
        deployment["metadata"].get("generation", 0)
    ):
        return 0
    return int(status.get("readyReplicas", 0))


def _check_unchanged(live: Manifest, kept: Manifest) -> None:
    """Raise Permanent where the Deployment is no more what the twin keeps, its count aside."""
    if {**live["spec"], "replicas": 0} != {**kept["deployment"]["spec"], "replicas": 0}:
        raise Permanent(
            f"Deployment {live['metadata']['name']} was changed since its twin was made: nothing was removed; go back "
            "with --back, then adopt again."
        )


def _selecting(kept: Manifest, track: str) -> dict[str, str]:
    """The version is not part of it, for releases change it."""
    return {key: value for key, value in kept["selector"].items() if key != "version"} | {"track": track}


def _check_known(front: Manifest, kept: Manifest) -> None:
    """Raise Permanent where the Service selects what no adoption made it select."""
    found = front["spec"].get("selector") or {}
    if found not in (kept["selector"], _selecting(kept, TWIN), _selecting(kept, STABLE)):
        raise Permanent(
            f"Service {front['metadata']['name']} selects {_text(found)}, which no adoption set: it was left alone and "
            f"nothing was removed; set it to {_text(kept['selector'])} (or the `track` that serves), then adopt again."
        )


def _text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in sorted(labels.items())) or "nothing"


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
