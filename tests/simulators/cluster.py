"""An apiserver in memory: ``ports.Cluster`` with resourceVersions, generations, preconditions and JSON Patch.

It stores and refuses; the controllers that react to what is stored are in ``platform``. Faults are in domain words.
"""

from __future__ import annotations

import base64
import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import jsonpatch
import jsonpointer

from onlyvips.errors import Conflict, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Manifest
from tests.simulators.clock import SimClock

KINDS = (
    "ConfigMap",
    "Secret",
    "Service",
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "CronJob",
    "Job",
    "Lease",
    "HorizontalPodAutoscaler",
    "HTTPRoute",
)
_COUNTED = ("Deployment", "Job", "HorizontalPodAutoscaler", "HTTPRoute")
_LATENCY = 0.005

Watcher = Callable[[str, Manifest | None, Manifest | None], None]
"""Told after each change: kind, the object before and after it; None where there is none."""


class SimCluster:
    """One namespace. Objects inside are never shared with callers: what goes in and out is copied."""

    def __init__(self, clock: SimClock) -> None:
        self.clock = clock
        self.watchers: list[Watcher] = []
        self._objects: dict[tuple[str, str], Manifest] = {}
        self._copies: dict[tuple[str, str], bytes] = {}
        self._versions, self._uids = count(1000), count(1)
        self._away_until = 0.0
        self._lost_answers: list[tuple[str, str]] = []
        self._lose_every, self._answers = 0, count(1)

    # Faults.

    def apiserver_away(self, seconds: float) -> None:
        """Nobody answers for that long; what is asked meanwhile is not done."""
        self._away_until = self.clock.monotonic() + seconds

    def answer_lost_on(self, kind: str, verb: str) -> None:
        """The next ``verb`` of a ``kind`` is done, and its answer never comes."""
        self._lost_answers.append((kind, verb))

    def every_answer_lost(self, nth: int) -> None:
        """Of every ``nth`` write from now on the answer is lost."""
        self._lose_every = nth

    @property
    def answers_to_lose(self) -> int:
        """Lost answers that nobody ran into yet."""
        return len(self._lost_answers)

    # The port.

    def get(self, kind: str, name: str) -> Manifest | None:
        """See ``ports.Cluster``."""
        self._asked(kind)
        return self._out(kind, name) if (kind, name) in self._objects else None

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        """See ``ports.Cluster``."""
        self._asked(kind)
        return [self._out(kind, name) for name in sorted(found["metadata"]["name"] for found in self.all(kind, labels))]

    def create(self, manifest: Manifest) -> Manifest:
        """See ``ports.Cluster``."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._asked(kind)
        if (kind, name) in self._objects:
            raise Conflict(f'Kubernetes refused to create {kind} {name} (409): "{name}" already exists')
        self.put(_with_defaults(marshal.loads(marshal.dumps(manifest))))
        return self._answer(kind, name, "create")

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        """See ``ports.Cluster``."""
        self._asked(kind)
        if (kind, name) not in self._objects:
            raise Permanent(f"Kubernetes refused to change {kind} {name} (404): not found")
        live = self._out(kind, name)
        _check_version(kind, live, version)
        try:
            changed = jsonpatch.apply_patch(live, marshal.loads(marshal.dumps(list(operations))), in_place=True)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise Conflict(f"Kubernetes refused to change {kind} {name} (422): {error}") from error
        check_immutable(self._objects[kind, name], changed)
        self.put(changed)
        return self._answer(kind, name, "patch")

    def delete(self, kind: str, name: str, version: str) -> None:
        """See ``ports.Cluster``."""
        self._asked(kind)
        if (kind, name) not in self._objects:
            return
        _check_version(kind, self._objects[kind, name], version)
        if kind == "Pod":
            self.change(kind, name, lambda pod: pod["metadata"].update(deletionTimestamp=self.timestamp()))
        else:
            self.drop(kind, name)
        self._answer(kind, name, "delete")

    def _asked(self, kind: str) -> None:
        if kind not in KINDS:
            raise Permanent(f"Kind {kind} is not one this program handles: {', '.join(sorted(KINDS))}.")
        self.clock.sleep(_LATENCY)
        if self.clock.monotonic() < self._away_until:
            raise Transient("The Kubernetes API did not answer: connection refused")

    def _answer(self, kind: str, name: str, verb: str) -> Manifest:
        named, turn = (kind, verb) in self._lost_answers, next(self._answers)
        if named:
            self._lost_answers.remove((kind, verb))
        if named or (self._lose_every and turn % self._lose_every == 0):
            raise UnknownOutcome(f"The Kubernetes API did not answer {verb} {kind} {name}: read timed out")
        return self._out(kind, name) if (kind, name) in self._objects else {}

    # For the controllers: no latency, no faults.

    def all(self, kind: str, labels: Mapping[str, str]) -> Iterator[Manifest]:
        """Live objects with ``labels``, to read only."""
        for (each, _), manifest in self._objects.items():
            if each == kind and labels.items() <= manifest["metadata"].get("labels", {}).items():
                yield manifest

    def see(self, kind: str, name: str) -> Manifest | None:
        """The live object, to read only."""
        return self._objects.get((kind, name))

    def put(self, manifest: Manifest) -> None:
        """Store it as the apiserver would: identity, version and generation are the server's."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        before, metadata = self._objects.get((kind, name)), manifest["metadata"]
        if before is None:
            metadata |= {"uid": f"uid-{next(self._uids)}", "creationTimestamp": self.timestamp()}
            metadata |= {"generation": 1} if kind in _COUNTED else {}
        else:
            metadata |= {key: before["metadata"][key] for key in ("uid", "creationTimestamp", "resourceVersion")}
            if before == manifest:
                return
            if kind in _COUNTED and before.get("spec") != manifest.get("spec"):
                metadata["generation"] = before["metadata"]["generation"] + 1
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects[kind, name] = manifest
        self._copies.pop((kind, name), None)
        for watcher in self.watchers:
            watcher(kind, before, manifest)

    def change(self, kind: str, name: str, how: Callable[[Manifest], object]) -> None:
        """Change the live object in place of a controller."""
        manifest = self._out(kind, name)
        how(manifest)
        self.put(manifest)

    def drop(self, kind: str, name: str) -> None:
        """Take the object away."""
        self._copies.pop((kind, name), None)
        before = self._objects.pop((kind, name))
        for watcher in self.watchers:
            watcher(kind, before, None)

    def timestamp(self) -> str:
        """Now, as Kubernetes writes it: whole seconds."""
        return datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _out(self, kind: str, name: str) -> Manifest:
        key = kind, name
        if key not in self._copies:
            self._copies[key] = marshal.dumps(self._objects[key])
        found: Manifest = marshal.loads(self._copies[key])
        return found


def _check_version(kind: str, live: Manifest, version: str) -> None:
    if (found := live["metadata"]["resourceVersion"]) != version:
        raise Conflict(f"Kubernetes refused to write {kind} {live['metadata']['name']} (409): {found} is not {version}")


def check_immutable(before: Manifest, after: Manifest) -> None:
    """Raise what the apiserver does where a field that is set once would change."""
    kind, name = before["kind"], before["metadata"]["name"]
    fixed: Any = None
    if kind == "Deployment":
        fixed = before["spec"]["selector"] == after["spec"]["selector"]
    elif before.get("immutable"):
        fixed = (before.get("data"), True) == (after.get("data"), after.get("immutable"))
    if fixed is False or before["metadata"]["name"] != after["metadata"]["name"]:
        raise Permanent(f"Kubernetes refused to change {kind} {name} (422): field is immutable")


def _with_defaults(manifest: Manifest) -> Manifest:
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind == "Secret":
        texts = manifest.pop("stringData", {})
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        manifest["data"] = {**manifest.get("data", {}), **encoded}
    elif kind == "Deployment":
        spec.setdefault("replicas", 1)
    elif kind == "HTTPRoute":
        for rule in spec.get("rules", []):
            for reference in rule.get("backendRefs", []):
                for key, value in (("group", ""), ("kind", "Service"), ("weight", 1)):
                    reference.setdefault(key, value)
    return manifest
