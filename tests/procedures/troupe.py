"""A platform with two services on it, and processes that release both as one: the ``theatre`` twice, on one cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.adapters.lease_kubernetes import KubernetesCell
from onlyvips.core.group import Group
from onlyvips.core.many import MEMBERS, Do, arrived
from onlyvips.core.plan import ManyPlan, ReleasePlan, RouteRef, ServicePlan, Stage
from onlyvips.core.record import Command, Record
from onlyvips.core.world import weight_for
from onlyvips.errors import Driven, Fenced, Permanent
from onlyvips.ports import Manifest
from onlyvips.steps import group_records, many, opening, preflight, records
from onlyvips.steps.evidence import Kept
from onlyvips.steps.lease import CellLease
from onlyvips.steps.many import Many, ManySite
from onlyvips.steps.opening import Site, Start
from onlyvips.steps.rollout import Rollout
from onlyvips.steps.tools import Tools
from tests.procedures.theatre import BAD, CAPACITY, GOOD, IMAGE, OLD, PLAN, Killed, Process, Theatre
from tests.simulators.controllers import ready
from tests.simulators.platform import Platform, Version

SERVICES = ("backend", "miniapp")
BRIEF = replace(PLAN, stages=(Stage(50, 10.0),))
MANY = ManyPlan("simulated", SERVICES, BRIEF.waits, BRIEF.lease_duration, migration=BRIEF.migration)
_MINIAPP = ServicePlan("miniapp", IMAGE, "canary", "miniapp", "miniapp", RouteRef("miniapp", "miniapp"))
PLANS = {"backend": BRIEF, "miniapp": replace(BRIEF, service=_MINIAPP, secrets=(), configs=())}


class Actor(Process):
    """One process that releases both services. It dies at its own writes, whichever service they are for."""

    def __init__(self, theatre: Troupe, holder: str, run: str) -> None:
        self.leases: list[CellLease] = []
        super().__init__(theatre, holder, run)
        self.troupe = theatre
        self.whole = self._lease(group_records.LEASE, MANY.lease_duration)
        sites = {name: self._member(plan) for name, plan in theatre.plans.items()}
        self.many = ManySite(
            cluster=self,
            clock=theatre.clock,
            lease=self.whole,
            plan=theatre.many,
            member=lambda service: replace(sites[service], preflight=lambda: self._look(service)),
            preflight=self._check,
            back_up=lambda _, progress: theatre.back_up(theatre.record_of_any(), progress),
            keep_evidence=theatre.keep_evidence_of_all,
            suffix=lambda: f"{next(theatre.suffixes):03d}",
        )
        self.version = GOOD

    def _lease(self, name: str, duration: float) -> CellLease:
        cell = KubernetesCell(self, f"onlyvips-release-{name}")
        patience = max(3 * BRIEF.waits.look, 4 * duration)
        lease = CellLease(cell, self.theatre.clock, duration, patience, heart=self._heart)
        self.leases.append(lease)
        return lease

    def _member(self, plan: ReleasePlan) -> Site:
        lease = self._lease(plan.service.name, plan.lease_duration)
        return replace(self.site, lease=lease, plan=plan, tools=lambda fence: self._tools_of(plan, fence))

    def _tools_of(self, plan: ReleasePlan, fence: Any) -> Tools:
        return replace(self._tools(fence), plan=plan)

    def _look(self, service: str) -> preflight.Facts:
        return preflight.check_platform(self, self.troupe.plans[service], self.version)

    def _check(self) -> None:
        for service in SERVICES:
            self._look(service)

    def _heart(self, interval: float, stop: threading.Event, beat: Callable[[], bool]) -> None:
        def once() -> bool:
            if stop.is_set() or not self.alive:
                return True
            if self.frozen or any(lease._guard.locked() for lease in self.leases):
                return False
            self._beating = True
            try:
                return not beat()
            finally:
                self._beating = False

        self.theatre.clock.every(interval, once)

    def release_all(self, version: str, at_step: Callable[[Do], None] = lambda _: None) -> Group:
        """What the flow does, retried like its tasks."""
        self.version = version
        start = Start(version, "somebody", self.run, self.holder)
        driver = self._patiently(lambda: many.open_many(self.many, start))
        try:
            while (do := self._patiently(driver.next)) is not None:
                at_step(do)
                self._step(driver, do)
            return driver.group()
        finally:
            if self.alive:
                self.whole.release()

    def _step(self, driver: Many, do: Do) -> None:
        if do.kind not in MEMBERS:
            self._patiently(lambda: driver.perform(do))
            return
        with many.driving(driver, do) as rollout:
            while rollout is not None and self._patiently(lambda: self._turn(driver, do, rollout)):
                pass

    def _turn(self, driver: Many, do: Do, rollout: Rollout) -> bool:
        if arrived(do, rollout.record()):
            return False
        try:
            action = rollout.next()
            if do.kind == "back" and not driver.moves(do, action):
                driver.pass_over(do, action.reason)
                return False
            rollout.perform(action)
        except Permanent as error:
            if do.kind != "back" or isinstance(error, (Driven, Fenced)):
                raise
            driver.pass_over(do, str(error), error)
            return False
        return True

    def reconcile_all(self, *, attended: bool = False) -> Group | None:
        """What the reconciler does: finish what is open of all services; then what each has of its own."""
        found = group_records.find_open(self)
        done = many.finish(self.many, found.id, self.holder, attended=attended) if found else None
        for service in SERVICES:
            site = self.many.member(service)
            if (left := records.find_open(self, service)) is not None:
                opening.finish(site, left.id, self.holder, attended=attended, limit=120.0)
            opening.remove_orphans(site, self.holder)
        return done


class Troupe(Theatre):
    """``backend`` and ``miniapp`` OLD, at rest, with traffic of both; what watches over them."""

    plans: Mapping[str, ReleasePlan] = PLANS

    def __init__(self, plan: ManyPlan = MANY, *, seed: int = 1) -> None:
        super().__init__(BRIEF, seed=seed)
        self.many = plan
        self.all_evidence: dict[str, tuple[Group, tuple[str, ...]]] = {}
        self.second = Platform(seed + 1, "miniapp", rule=0, rate=100.0, beside=self.platform)
        self.second.versions |= {BAD: Version(errors=0.2)}
        self._furnish_miniapp()
        self.clock.sleep(15.0)
        self.cluster.watchers.append(self._check_miniapp)
        self.second.open_for_traffic()

    def _furnish_miniapp(self) -> None:
        labels = {"app": "miniapp", "track": "stable"}
        reads = [{"secretRef": {"name": "miniapp-key"}}, {"configMapRef": {"name": "miniapp-settings"}}]
        self._make("Secret", "miniapp-key", data={"KEY": "a2V5"})
        self._make("ConfigMap", "miniapp-settings", data={"PAGES": "10"})
        template = {
            "metadata": {"labels": {**labels, "version": OLD}},
            "spec": {"containers": [{"name": "web", "image": f"{IMAGE}:{OLD}", "envFrom": reads}]},
        }
        spec = {"replicas": CAPACITY, "selector": {"matchLabels": labels}, "template": template}
        rule = {"name": "miniapp", "backendRefs": [{"name": "miniapp", "port": 8080, "weight": 100}]}
        self._make("Deployment", "miniapp", labels={"app": "miniapp"}, spec=spec)
        self._make("Service", "miniapp", spec={"selector": labels, "ports": [{"port": 8080}]})
        self._make("HTTPRoute", "miniapp", spec={"rules": [rule]})

    def actor(self, holder: str, run: str = "run-1") -> Actor:
        """A new process."""
        return Actor(self, holder, run)

    def record_of_any(self) -> Record:
        """A record to name a backup by: none is there yet."""
        return Record("all", "simulated", "all", "", "", "", "", "", "", 0, 0.0)

    def keep_evidence_of_all(self, group: Group, members: Sequence[Record]) -> Kept:
        """The store of evidence."""
        self.all_evidence[group.id] = (group, tuple(one.result for one in members))
        return Kept(f"simulated/evidence/{group.id}.json", ("simulated",), ())

    def group(self) -> Group:
        """The newest release of all services."""
        return group_records.every(self.cluster)[-1]

    def abort_all(self) -> None:
        """A person aborts it."""
        records.command(self.cluster, self.group().id, Command("abort", "Ada", self.clock.now(), "looks odd"))

    def image(self, service: str) -> str:
        """What stable of the service runs."""
        found = self.cluster.see("Deployment", service)
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).removeprefix(f"{IMAGE}:")

    def miniapp_weight(self) -> int:
        """The canary's weight of the second service."""
        found = self.cluster.see("HTTPRoute", "miniapp")
        assert found is not None
        weights = {one["name"]: one.get("weight", 1) for one in found["spec"]["rules"][0]["backendRefs"]}
        return int(weights.get("miniapp-canary", 0))

    def assert_all(self, result: str) -> Group:
        """Closed with ``result``, both services alike, nothing lost or left, evidence of the whole and of each."""
        self.settle()
        group = self.group()
        assert (group.closed, group.result) == (True, result), group
        image = group.version if result == "promoted" else OLD
        assert {self.image(service) for service in SERVICES} == {image}, group.reason
        found = records.every(self.cluster)
        assert {one.phase for one in found} <= {"closed"}
        assert {one.result for one in found if one.group == group.id} <= {result}
        assert group.id in self.all_evidence
        assert all(one.id in self.evidence for one in found)
        self.assert_nothing_lost()
        return group

    def assert_nothing_lost(self) -> None:
        """Of neither service, and nothing of a release is left."""
        assert self.platform.lost_requests == 0, self.platform.lost[:5]
        assert self.second.lost_requests == 0, self.second.lost[:5]
        assert self.broken_rules == []
        assert self.leftovers() == []
        assert [self.cluster.see(kind, "miniapp-canary") for kind in ("Deployment", "Service")] == [None, None]
        assert self.miniapp_weight() == 0
        assert len([pod for pod in self.cluster.all("Pod", {}) if ready(pod)]) == 2 * CAPACITY

    def _check_miniapp(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if before is None or after is None or after["metadata"]["name"] != "miniapp":
            return
        replaced = kind == "Deployment" and before["spec"]["template"] != after["spec"]["template"]
        if replaced and self.second.share("miniapp") > 0:
            self.broken_rules.append("stable of miniapp was replaced under traffic")
        if kind == "HTTPRoute" and before["spec"] != after["spec"]:
            share, up = self.miniapp_weight(), _weight(after) > _weight(before)
            side, carried = ("canary", share) if up else ("stable", 100 - share)
            pods = self.cluster.all("Pod", {"app": "miniapp", "track": side})
            if carried > weight_for(sum(map(ready, pods)), CAPACITY):
                self.broken_rules.append(f"{side} of miniapp got {carried} % without ready pods for it")


def _weight(route: Manifest) -> int:
    weights = {one["name"]: one.get("weight", 1) for one in route["spec"]["rules"][0]["backendRefs"]}
    return int(weights.get("miniapp-canary", 0))


def bad_miniapp(theatre: Troupe, version: str) -> None:
    """``version`` is good in backend and bad in miniapp."""
    theatre.second.versions[version] = Version(errors=0.2)


def kill_after(theatre: Troupe, write: int) -> None:
    """A release of all whose driver dies right after its ``write``: before the next one, nothing else was changed."""
    actor = theatre.actor("first")
    actor.after_write = lambda number, _verb, _kind: actor.die() if number == write else None
    with pytest.raises(Killed):
        actor.release_all(GOOD)
