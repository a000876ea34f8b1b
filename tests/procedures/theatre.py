"""A platform with one service on it, and processes that release it: everything a procedure's test needs.

A process dies, freezes or is lied to at its own writes; the platform goes on without it. After each event the
invariants of a release are checked on what is really there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from onlyvips.adapters.lease_kubernetes import KubernetesCell
from onlyvips.core.action import Action
from onlyvips.core.phases import Phase
from onlyvips.core.plan import (
    ConfigPlan,
    Guardrail,
    Index,
    MigrationPlan,
    ReleasePlan,
    RouteRef,
    SecretPlan,
    ServicePlan,
    Stage,
    Waits,
)
from onlyvips.core.record import Command, Record
from onlyvips.core.world import weight_for
from onlyvips.errors import Transient, UnknownOutcome
from onlyvips.ports import Manifest
from onlyvips.steps import opening, preflight, records
from onlyvips.steps.deployed import Facts
from onlyvips.steps.evidence import Kept
from onlyvips.steps.herald import SILENT, Herald
from onlyvips.steps.lease import CellLease
from onlyvips.steps.opening import Site, Start
from onlyvips.steps.rollout import Rollout
from onlyvips.steps.tools import Tools
from tests.simulators.cluster import SimCluster
from tests.simulators.controllers import ready
from tests.simulators.platform import Platform, Version

IMAGE = "ghcr.io/onlyvips/backend"
GOOD, BAD, SLOW, OLD = "v0.9.0", "v0.9.0-bad", "v0.9.0-slow", "v0.8.0"
CAPACITY = 4
OTHER_RULES = [
    {"name": "miniapp", "backendRefs": [{"name": "main-app", "port": 8080, "weight": 1}]},
    {"name": "panel", "matches": [{"path": {"value": "/panel"}}], "backendRefs": [{"name": "main-app", "port": 8081}]},
]
CANARY_OBJECTS = (("Deployment", "backend-canary"), ("Service", "backend-canary"))

_I = (Index("users", (("email", 1),), True),)
JOB = MigrationPlan("migration-v090", "ghcr.io/onlyvips/migrate:v0.9.0", ("migrate",), "onlyvips", "mongodb", "uri", _I)
PLAN = ReleasePlan(
    environment="simulated",
    namespace="production",
    service=ServicePlan("backend", IMAGE, "canary", "backend", "backend", RouteRef("onlyvips", "backend")),
    stages=(Stage(10, 20.0), Stage(25, 20.0), Stage(50, 20.0)),
    waits=Waits(propagation=6.0, poll=2.0, look=10.0, ready=60.0, job=60.0, maximum_hold=60.0),
    guardrails=(Guardrail("api-errors", "errors", 0.05), Guardrail("api-latency", "latency", 0.05, bound=0.5)),
    alpha=0.05,
    lease_duration=15.0,
    migration=JOB,
    secrets=(SecretPlan("backend-jwt", "backend-jwt", (("JWT_SECRET", "env:JWT_SECRET"),)),),
    automatic_managers=("argocd-controller",),
    configs=(ConfigPlan("backend-settings", "backend-settings", ("LEVEL",)),),
)


class Killed(BaseException):
    """kill -9: nothing of the process runs any more."""


class Process:
    """One process that drives releases: its view of the cluster, its lease, its tools.

    ``at_write`` is called before each write with its number from 1, the verb and the kind; ``after_write`` likewise.
    """

    def __init__(self, theatre: Theatre, holder: str, run: str = "run-1") -> None:
        self.theatre, self.holder, self.run = theatre, holder, run
        self.alive, self.frozen = True, False
        self.writes = 0
        self.at_write: Callable[[int, str, str], None] = lambda *_: None
        self.after_write: Callable[[int, str, str], None] = lambda *_: None
        self.written: list[tuple[str, str]] = []
        self._beating = False
        plan, clock = theatre.plan, theatre.clock
        patience = max(3 * plan.waits.look, 4 * plan.lease_duration)
        name = f"onlyvips-release-{plan.service.name}"
        self.lease = CellLease(KubernetesCell(self, name), clock, plan.lease_duration, patience, heart=self._heart)
        self.site = Site(
            cluster=self,
            clock=clock,
            lease=self.lease,
            plan=plan,
            tools=self._tools,
            preflight=lambda: self._preflight(GOOD),
            suffix=lambda: f"{next(theatre.suffixes):03d}",
        )

    def _tools(self, fence: Any) -> Tools:
        theatre = self.theatre
        return Tools(
            cluster=self,
            metrics=theatre.platform.metrics,
            clock=theatre.clock,
            fence=fence,
            plan=theatre.plan,
            back_up=theatre.back_up,
            resolve=lambda reference: f"value of {reference}",
            config=lambda config: theatre.texts[config.name],
            keep_evidence=theatre.keep_evidence,
            herald=theatre.herald(self),
            prober=theatre.platform,
        )

    def _preflight(self, version: str) -> Facts:
        facts = preflight.check_platform(self, self.theatre.plan, version)
        preflight.check_metrics(self.theatre.platform.metrics)
        return preflight.seen(self.theatre.platform.metrics, self.theatre.plan, facts)

    def _heart(self, interval: float, stop: threading.Event, beat: Callable[[], bool]) -> None:
        def once() -> bool:
            if stop.is_set() or not self.alive:
                return True
            if self.frozen or self.lease._guard.locked():
                return False  # a thread of its own would wait its turn
            self._beating = True
            try:
                return not beat()
            finally:
                self._beating = False

        self.theatre.clock.every(interval, once)

    def die(self) -> None:
        """Now."""
        self.alive = False
        raise Killed

    # ports.Cluster, as this process reaches it.

    def get(self, kind: str, name: str) -> Manifest | None:
        self._must_live()
        return self.theatre.cluster.get(kind, name)

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        self._must_live()
        return self.theatre.cluster.list(kind, labels)

    def create(self, manifest: Manifest) -> Manifest:
        return self._write("create", manifest["kind"], lambda cluster: cluster.create(manifest))

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        return self._write("patch", kind, lambda cluster: cluster.patch(kind, name, version, operations))

    def delete(self, kind: str, name: str, version: str) -> None:
        self._write("delete", kind, lambda cluster: cluster.delete(kind, name, version))

    def _write(self, verb: str, kind: str, write: Callable[[SimCluster], Any]) -> Any:
        self._must_live()
        if self._beating:
            return write(self.theatre.cluster)
        self.writes += 1
        number = self.writes
        self.at_write(number, verb, kind)
        result = write(self.theatre.cluster)
        self.written.append((verb, kind))
        self.after_write(number, verb, kind)
        return result

    def _must_live(self) -> None:
        if not self.alive:
            raise Killed

    # What the process does.

    def release(self, version: str, at_action: Callable[[Rollout, Action], None] = lambda *_: None) -> Record:
        """What the flow does: begin or go on, decide, act, until the record is closed; retried like its tasks."""
        closed = self._patiently(lambda: opening.already_closed(self, self.run))
        if closed is not None:
            return closed
        self.site = replace(self.site, preflight=lambda: self._preflight(version))
        start = Start(version, "somebody", self.run, self.holder)
        rollout = self._patiently(lambda: opening.open_release(self.site, start))
        try:
            return self._drive(rollout, at_action)
        finally:
            if self.alive:
                self.lease.release()

    def _drive(self, rollout: Rollout, at_action: Callable[[Rollout, Action], None]) -> Record:
        def once() -> Record:
            record = rollout.record()
            if record.open:
                action = rollout.next()
                at_action(rollout, action)
                rollout.perform(action)
            return record

        for _ in range(2000):
            if not (record := self._patiently(once)).open:
                return record
        raise AssertionError(f"still {record.phase} after 2000 actions: {record.steps[-1]}")

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """The retry policy of the flow's tasks."""
        for delay in (0.5, 1, 2, 5, 10, 15, 20, 30, 30):
            try:
                return ask()
            except (Transient, UnknownOutcome):
                self.theatre.clock.sleep(delay)
        return ask()

    def reconcile(self, *, attended: bool = False) -> Record | None:
        """What the reconciler does: finish the open release, if there is one, and remove orphans."""
        found = records.find_open(self, self.theatre.plan.service.name)
        if found is None:
            opening.remove_orphans(self.site, self.holder)
            return None
        limit = self.theatre.plan.waits.ready + self.theatre.plan.waits.propagation
        return opening.finish(self.site, found.id, self.holder, attended=attended, limit=limit)


class Theatre:
    """The platform with ``backend`` OLD on it, at rest, with traffic; and what watches over it."""

    def __init__(self, plan: ReleasePlan = PLAN, *, seed: int = 1, rate: float = 100.0, hpa: bool = True) -> None:
        self.plan = plan
        self.platform = Platform(seed, "onlyvips", rule=1, rate=rate)
        self.clock, self.cluster = self.platform.clock, self.platform.cluster
        self.platform.versions |= {BAD: Version(errors=0.2), SLOW: Version(slow=0.5)}
        self.suffixes = count(1)
        self.texts: dict[str, dict[str, str]] = {"backend-settings": {"LEVEL": "debug"}}
        self.backups = 0
        self.backup_error: Exception | None = None
        self.during_backup: Callable[[], None] = lambda: None
        self.evidence: dict[str, Record] = {}
        self.herald: Callable[[Process], Herald] = lambda _: SILENT
        self.broken_rules: list[str] = []
        self.route_writes: list[int] = []
        self._furnish(hpa)
        self.clock.sleep(15.0)
        self.route_before = self.rules()
        self.cluster.watchers.append(self._check)
        self.platform.open_for_traffic()

    def _furnish(self, hpa: bool) -> None:
        """What stands there before the release."""
        labels = {"app": "backend", "track": "stable"}
        reference = [{"secretRef": {"name": "backend-jwt-0000000000"}}, {"configMapRef": {"name": "backend-settings"}}]
        container = {"name": "api", "image": f"{IMAGE}:{OLD}", "envFrom": reference}
        template = {"metadata": {"labels": {**labels, "version": OLD}}, "spec": {"containers": [container]}}
        spec = {"replicas": CAPACITY, "selector": {"matchLabels": labels}, "template": template}
        front = {"selector": labels, "ports": [{"port": 8000}], "clusterIP": "10.96.0.7"}
        rule = {"name": "backend", "backendRefs": [{"name": "backend", "port": 8000, "weight": 100}]}
        route = {"rules": [OTHER_RULES[0], rule, OTHER_RULES[1]]}
        self._make("Secret", "backend-jwt-0000000000", data={"JWT_SECRET": "b2xk"})
        self._make("ConfigMap", "backend-settings", data={"LEVEL": "info"})
        self._make("Deployment", "backend", labels={"app": "backend"}, spec=spec)
        self._make("Service", "backend", labels={"app": "backend"}, spec=front)
        self._make("HTTPRoute", "onlyvips", spec=route)
        if hpa:
            self._make(
                "HorizontalPodAutoscaler",
                "backend",
                spec={"scaleTargetRef": {"name": "backend"}, "minReplicas": 2, "maxReplicas": 8},
            )

    def _make(self, kind: str, name: str, labels: dict[str, str] | None = None, **content: Any) -> None:
        self.cluster.create({"kind": kind, "metadata": {"name": name, "labels": labels or {}}, **content})

    def process(self, holder: str, run: str = "run-1") -> Process:
        """A new process."""
        return Process(self, holder, run)

    def back_up(self, record: Record, progress: Callable[[], None]) -> str:
        """The backup of a release, or its error."""
        self.during_backup()
        progress()
        if self.backup_error is not None:
            raise self.backup_error
        self.backups += 1
        return f"simulated/mongodb/{record.id}/manifest.json"

    def keep_evidence(self, record: Record) -> Kept:
        """The store of evidence."""
        self.evidence[record.id] = record
        return Kept(f"simulated/evidence/{record.id}.json", ("simulated",), ())

    # What a person sees and does.

    def record(self) -> Record:
        """The newest record."""
        return records.every(self.cluster, self.plan.service.name)[-1]

    def abort(self, by: str = "Ada") -> None:
        """A person aborts the open release."""
        found = records.find_open(self.cluster, self.plan.service.name)
        assert found is not None
        records.command(self.cluster, found.id, Command("abort", by, self.clock.now(), "looks odd"))

    def rules(self) -> list[Manifest]:
        """The rules of the shared route, now."""
        found = self.cluster.get("HTTPRoute", "onlyvips")
        assert found is not None
        rules: list[Manifest] = found["spec"]["rules"]
        return rules

    def weight(self) -> int:
        """The canary's weight in the route."""
        return _canary_weight(self.rules())

    def minimum(self) -> int:
        """The autoscaler's minimum."""
        found = self.cluster.get("HorizontalPodAutoscaler", "backend")
        assert found is not None
        return int(found["spec"]["minReplicas"])

    def stable_image(self) -> str:
        """What stable runs."""
        found = self.cluster.see("Deployment", "backend")
        assert found is not None
        image = str(found["spec"]["template"]["spec"]["containers"][0]["image"])
        return image.partition("@")[0].removeprefix(f"{IMAGE}:")

    def secrets(self) -> list[str]:
        """Secrets that are there."""
        return [each["metadata"]["name"] for each in self.cluster.list("Secret", {})]

    def leftovers(self) -> list[str]:
        """What a release must not leave behind."""
        found = [f"{kind} {name}" for kind, name in CANARY_OBJECTS if self.cluster.see(kind, name) is not None]
        if any(each["name"].endswith("-canary") for rule in self.rules() for each in rule["backendRefs"]):
            found.append("an entry in the route")
        if self.cluster.see("HorizontalPodAutoscaler", "backend") and self.minimum() != 2:
            found.append(f"the autoscaler's minimum of {self.minimum()}")
        return found

    def settle(self, seconds: float = 20.0) -> None:
        """Let the world come to rest, with traffic."""
        self.clock.sleep(seconds)

    def assert_clean(self, image: str) -> None:
        """Nothing lost, nothing left, no rule broken, ``image`` on stable with all its pods, the route as it was."""
        self.settle()
        assert self.platform.lost_requests == 0, self.platform.lost[:5]
        assert self.broken_rules == []
        assert self.leftovers() == []
        assert self.rules() == self.route_before
        assert self.stable_image() == image
        pods = [pod for pod in self.cluster.all("Pod", {}) if ready(pod)]
        assert len(pods) == CAPACITY

    def assert_outcome(self, result: str, phase: Phase = "closed") -> Record:
        """The newest record is closed with ``result``, the evidence kept, stable as the result says."""
        record = self.record()
        assert (record.phase, record.result) == (phase, result), record.reason
        assert record.id in self.evidence
        self.assert_clean(OLD if result == "rolled-back" else record.version)
        return record

    # Rules that hold after every event.

    def _check(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if before is None or after is None:
            return
        name = after["metadata"]["name"]
        if kind == "HTTPRoute" and name == "onlyvips":
            self._check_route(_canary_weight(before["spec"]["rules"]), _canary_weight(after["spec"]["rules"]), after)
        if kind == "Service" and name == "backend" and before["spec"] != after["spec"]:
            self.broken_rules.append("stable's Service was changed")
        changed = kind == "Deployment" and name == "backend" and before["spec"]["template"] != after["spec"]["template"]
        if changed and self.platform.share("backend") > 0:
            self.broken_rules.append(f"stable was replaced while the router gave it {self.platform.share('backend')}")

    def _check_route(self, before: int, after: int, route: Manifest) -> None:
        if [route["spec"]["rules"][0], route["spec"]["rules"][2]] != [self.route_before[0], self.route_before[2]]:
            self.broken_rules.append("another rule of the shared route changed")
        if after == before:
            return
        self.route_writes.append(after)
        side, share = ("canary", after) if after > before else ("stable", 100 - after)
        others = "stable" if side == "canary" else "canary"
        if share > weight_for(self.ready(side), CAPACITY) and self.ready(others):
            self.broken_rules.append(f"{side} got {share} % with {self.ready(side)} of {CAPACITY} pods ready")

    def ready(self, track: str) -> int:
        """Ready pods of ``stable`` or ``canary``."""
        return sum(1 for pod in self.cluster.all("Pod", {"app": "backend", "track": track}) if ready(pod))


def _canary_weight(rules: Sequence[Manifest]) -> int:
    weights = {each["name"]: each.get("weight", 1) for each in rules[1]["backendRefs"]}
    return round(100 * weights.get("backend-canary", 0) / max(1, sum(weights.values())))
