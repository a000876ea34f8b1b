"""The platform with ``backend`` behind a Service that selects both tracks: a canary by the ratio of pods."""

from __future__ import annotations

from dataclasses import replace

from onlyvips.core.plan import ReleasePlan, Stage
from onlyvips.ports import Manifest
from tests.procedures.theatre import CAPACITY, IMAGE, OLD, PLAN, Theatre
from tests.simulators.controllers import ready

SERVICE = replace(PLAN.service, router="replica-ratio", route=None)
RATIO = replace(PLAN, service=SERVICE, stages=(Stage(25, 20.0), Stage(50, 20.0)))
QUICK = replace(RATIO, stages=(Stage(25, 10.0), Stage(50, 10.0)))
PAUSE = 6


class RatioTheatre(Theatre):
    """``backend`` OLD, at rest, with traffic; what watches over counts of pods instead of weights."""

    def __init__(self, plan: ReleasePlan = RATIO, *, seed: int = 1, rate: float = 100.0, hpa: bool = True) -> None:
        self.counts: list[tuple[int, int]] = []
        super().__init__(plan, seed=seed, rate=rate, hpa=hpa)

    def _furnish(self, hpa: bool) -> None:
        super()._furnish(hpa)
        self.cluster.change("Service", "backend", lambda it: it["spec"]["selector"].pop("track"))
        self.cluster.change("Deployment", "backend", _sleeping)

    def pods(self, name: str) -> int:
        """How many pods a Deployment asks for, 0 where it is not there."""
        found = self.cluster.see("Deployment", name)
        return int(found["spec"]["replicas"]) if found else 0

    def share(self) -> float:
        """The canary's part of all ready pods, in percent."""
        canary, stable = self.ready("canary"), self.ready("stable")
        return 100 * canary / max(1, canary + stable)

    def _check(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        changed = before is not None and after is not None and before.get("spec") != after.get("spec")
        if kind in ("Service", "HTTPRoute") and changed:
            self.broken_rules.append(f"{kind} was changed")
        if kind != "Deployment":
            return
        now = (self.pods("backend"), self.pods("backend-canary"))
        if not self.counts or self.counts[-1] != now:
            self._check_counts(self.counts[-1] if self.counts else (CAPACITY, 0), now)
            self.counts.append(now)
        if changed and before["spec"]["template"] != after["spec"]["template"]:  # type: ignore[index]
            self._check_template(after or {})

    def _check_counts(self, before: tuple[int, int], now: tuple[int, int]) -> None:
        """Whoever loses pods leaves as many as all of the traffic needs, on the other side ready already."""
        for side, other, place in (("stable", "canary", 0), ("canary", "stable", 1)):
            if now[place] >= before[place] or not self.ready(side):
                continue
            if self.ready(other) + now[place] < CAPACITY:
                told = f"{before} became {now} with {self.ready(other)} pods of {other} ready"
                self.broken_rules.append(f"{side} lost pods that are needed: {told}")

    def _check_template(self, after: Manifest) -> None:
        used = after["metadata"]["name"] == "backend" and after["spec"]["replicas"] and self.ready("stable")
        if used and self.ready("canary") < CAPACITY:
            self.broken_rules.append("stable was replaced where users are, without a canary that carries all")


def _sleeping(deployment: Manifest) -> None:
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = PAUSE + 4
    pod["containers"][0] |= {
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
        "lifecycle": {"preStop": {"sleep": {"seconds": PAUSE}}},
    }


__all__ = ["CAPACITY", "IMAGE", "OLD", "QUICK", "RATIO", "RatioTheatre", "ready"]
