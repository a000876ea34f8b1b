"""The platform with a front-end behind one Service and two colours of it, for the tests of blue-green."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onlyvips.core.manifests import Manifest
from onlyvips.core.phases import Phase
from onlyvips.core.plan import BlueGreen, ReleasePlan, RouteRef, ServicePlan, SmokeTest, Stage
from onlyvips.core.record import Record
from tests.procedures import theatre
from tests.procedures.theatre import BAD, CAPACITY, GOOD, IMAGE, OLD, OTHER_RULES, Killed, Theatre
from tests.simulators.controllers import ready

__all__ = ["BAD", "COLOURS", "GOOD", "OLD", "PLAN", "Colours", "Killed"]

COLOURS = ("blue", "green")
PLAN = replace(
    theatre.PLAN,
    service=ServicePlan("panel", IMAGE, "blue-green", "panel", "main-app", RouteRef("onlyvips", "backend")),
    stages=(Stage(100, 30.0),),
    migration=None,
    blue_green=BlueGreen("version", COLOURS, (SmokeTest("/"), SmokeTest("/panel", 200, "<html>"))),
)


class Colours(Theatre):
    """Blue serves OLD; green is not there, or, ``asleep``, is there without pods."""

    def __init__(self, plan: ReleasePlan = PLAN, *, asleep: bool = False, hpa: bool = True, **more: Any) -> None:
        self.asleep, self.selections = asleep, list[str]()
        super().__init__(plan, hpa=hpa, **more)
        self.asleep_before = self.cluster.get("Deployment", "panel-green")
        self.front_before = self.cluster.get("Service", "main-app")

    def _furnish(self, hpa: bool) -> None:
        self._make("Secret", "backend-jwt-0000000000", data={"JWT_SECRET": "b2xk"})
        self._make("ConfigMap", "backend-settings", data={"LEVEL": "info"})
        self._make("Deployment", "panel-blue", labels={"app": "panel"}, spec=self._spec("blue", OLD, CAPACITY))
        if self.asleep:
            self._make("Deployment", "panel-green", labels={"app": "panel"}, spec=self._spec("green", "v0.7.0", 0))
        front = {"selector": {"app": "panel", "version": "blue"}, "ports": [{"port": 8000}], "clusterIP": "10.96.0.8"}
        self._make("Service", "main-app", labels={"app": "panel"}, spec=front)
        rule = {"name": "backend", "backendRefs": [{"name": "main-app", "port": 8000, "weight": 100}]}
        self._make("HTTPRoute", "onlyvips", spec={"rules": [OTHER_RULES[0], rule, OTHER_RULES[1]]})
        if hpa:
            scaled = {"scaleTargetRef": {"name": "panel-blue"}, "minReplicas": 2, "maxReplicas": 8}
            self._make("HorizontalPodAutoscaler", "panel", spec=scaled)

    def _spec(self, colour: str, version: str, replicas: int) -> Manifest:
        labels = {"app": "panel", "version": colour}
        reference = [{"secretRef": {"name": "backend-jwt-0000000000"}}, {"configMapRef": {"name": "backend-settings"}}]
        container = {"name": "web", "image": f"{IMAGE}:{version}", "envFrom": reference}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        return {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}

    # What a person sees and does.

    def selected(self) -> str:
        """The colour that users are on."""
        found = self.cluster.see("Service", "main-app")
        assert found is not None
        return str(found["spec"]["selector"].get("version", ""))

    def select_by_hand(self, **labels: str) -> None:
        """Somebody edits the Service's selector with kubectl."""
        self.cluster.change("Service", "main-app", lambda it: it["spec"]["selector"].update(labels))

    def image_of(self, colour: str) -> str:
        """The version that a colour has."""
        found = self.cluster.see("Deployment", f"panel-{colour}")
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).removeprefix(f"{IMAGE}:")

    def pods_of(self, colour: str) -> list[Manifest]:
        """Pods of a colour that are ready."""
        return [pod for pod in self.cluster.all("Pod", {"version": colour}) if ready(pod)]

    def leftovers(self) -> list[str]:
        """What a release must not leave behind."""
        found = [
            f"{kind} panel-preview" for kind in ("Service", "HTTPRoute") if self.cluster.see(kind, "panel-preview")
        ]
        other = COLOURS[self.selected() == "blue"]
        if self.pods_of(other):
            found.append(f"pods of {other}")
        if scaler := self.cluster.see("HorizontalPodAutoscaler", "panel"):
            if scaler["spec"]["minReplicas"] != 2:
                found.append("the autoscaler's minimum")
            if scaler["spec"]["scaleTargetRef"]["name"] != f"panel-{self.selected()}":
                found.append(f"an autoscaler of {scaler['spec']['scaleTargetRef']['name']}")
        return found

    def assert_home(self, colour: str, image: str) -> None:
        """Nothing lost, nothing left, no rule broken, users on ``colour``, which runs ``image`` with all its pods."""
        self.settle()
        assert self.platform.lost_requests == 0, self.platform.lost[:5]
        assert self.broken_rules == []
        assert self.selected() == colour
        assert self.leftovers() == []
        assert self.rules() == self.route_before
        assert self.image_of(colour) == image
        assert len(self.pods_of(colour)) == CAPACITY

    def assert_outcome(self, result: str, phase: Phase = "closed") -> Record:
        """The newest record is closed with ``result``, the evidence kept, users on the colour that the result says."""
        record = self.record()
        assert (record.phase, record.result) == (phase, result), record.reason
        assert record.id in self.evidence
        if result == "promoted":
            self.assert_home("green", record.version)
            assert self.image_of("blue") == OLD
        else:
            self.assert_home("blue", OLD)
            self.assert_green_as_before()
        return record

    def assert_green_as_before(self) -> None:
        """Green is what it was: not there, or asleep with its own template."""
        found, before = self.cluster.get("Deployment", "panel-green"), self.asleep_before
        assert (found is None) == (before is None)
        if found is not None and before is not None:
            assert found["spec"] == before["spec"]

    # Rules that hold after every event.

    def _check(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if kind == "Service" and before and after and after["metadata"]["name"] == "main-app":
            self._check_selection(before["spec"]["selector"], after["spec"]["selector"])
        if kind == "Deployment" and before is not None:
            self._check_pods(before, after)
        if kind == "HTTPRoute" and self.rules() != self.route_before:
            self.broken_rules.append("the shared route changed")

    def _check_selection(self, before: dict[str, str], after: dict[str, str]) -> None:
        if before == after:
            return
        old, new = before.get("version", ""), after.get("version", "")
        self.selections.append(new)
        if len(self.pods_of(new)) < CAPACITY and len(self.pods_of(old)) >= len(self.pods_of(new)):
            self.broken_rules.append(f"users got {new} with {len(self.pods_of(new))} of {CAPACITY} pods ready")

    def _check_pods(self, before: Manifest, after: Manifest | None) -> None:
        """Fewer pods, or others, only where the router sends no request."""
        name, spec = before["metadata"]["name"], before["spec"]
        if after and after["spec"]["replicas"] >= spec["replicas"] and after["spec"]["template"] == spec["template"]:
            return
        mine = {
            pod["metadata"]["uid"]
            for pod in self.cluster.all("Pod", {})
            if pod["metadata"]["ownerReferences"][0]["name"] == name
        }
        if mine & self.platform.view.pods.get("main-app", frozenset()):
            self.broken_rules.append(f"{name} lost pods that users were sent to")
