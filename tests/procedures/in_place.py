"""The platform for strategies that change the Deployment itself: ``backend`` as rolling, or as a bot of one pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from onlyvips.core.manifests import template_release
from onlyvips.core.plan import ReleasePlan, Strategy
from onlyvips.ports import Manifest
from tests.procedures.theatre import CAPACITY, GOOD, OLD, PLAN, Killed, Theatre
from tests.simulators.controllers import ready

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")


def plan_of(strategy: Strategy) -> ReleasePlan:
    """The plan of the theatre, by another strategy: no stages, no route."""
    return replace(PLAN, stages=(), service=replace(PLAN.service, strategy=strategy, route=None))


ROLLING, RECREATE = plan_of("rolling"), plan_of("recreate")


class InPlace(Theatre):
    """A theatre whose Deployment is written to where it is; ``how`` changes it before anything runs."""

    capacity = CAPACITY

    def __init__(self, plan: ReleasePlan, how: Callable[[Manifest], None] = lambda _: None, **more: Any) -> None:
        self.how = how
        self.templates: list[str] = []
        super().__init__(plan, **more)

    def deployment(self) -> Manifest:
        """The live Deployment."""
        found = self.cluster.get("Deployment", "backend")
        assert found is not None
        return found

    def pods(self) -> list[Manifest]:
        """All pods, those that are ending too."""
        return list(self.cluster.all("Pod", {}))

    def edit(self, how: Callable[[Manifest], None]) -> None:
        """Somebody changes the Deployment by hand."""
        self.cluster.change("Deployment", "backend", how)

    def _furnish(self, hpa: bool) -> None:
        super()._furnish(hpa)
        self.edit(self.how)

    def _check(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if kind == "Deployment" and before and after and template_release(before) != template_release(after):
            self.templates.append(template_release(after))
        self._check_pods()

    def _check_pods(self) -> None:
        raise NotImplementedError

    def assert_clean(self, image: str) -> None:
        """Nothing lost, nothing left, no rule broken, ``image`` on all pods, as many as before."""
        self.settle(40.0)
        assert self.platform.lost_requests == 0, self.platform.lost[:5]
        assert self.broken_rules == []
        assert self.leftovers() == []
        assert self.stable_image() == image
        assert self.deployment()["spec"]["replicas"] == self.capacity
        assert [each["metadata"]["labels"]["version"] for each in self.pods()] == [image] * self.capacity
        assert all(map(ready, self.pods()))


def no_loss(live: Manifest) -> None:
    """What the preflight asks of a Deployment that rolls."""
    spec = live["spec"]
    spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    spec["minReadySeconds"] = 6
    pod = spec["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 30
    pod["containers"][0] |= {"readinessProbe": {}, "lifecycle": {"preStop": {"sleep": {"seconds": 6}}}}


class Rolling(InPlace):
    """``backend`` under traffic: never fewer ready pods than it had."""

    def __init__(self, plan: ReleasePlan = ROLLING, how: Callable[[Manifest], None] = no_loss, **more: Any) -> None:
        super().__init__(plan, how, **more)
        self.settle()  # with traffic, so that the metrics know the service

    def _check_pods(self) -> None:
        up = sum(map(ready, self.pods()))
        if up < CAPACITY:
            self.broken_rules.append(f"only {up} pods are ready")


def one_pod(live: Manifest) -> None:
    """A bot: one pod, which Kubernetes itself would update by starting the next one first."""
    live["spec"]["replicas"] = 1


class Bot(InPlace):
    """``backend`` as a bot that takes no requests: never two pods at once, whatever state they are in."""

    capacity = 1

    def __init__(self, plan: ReleasePlan = RECREATE, how: Callable[[Manifest], None] = one_pod, **more: Any) -> None:
        super().__init__(plan, how, **{"hpa": False, "rate": 0.0, **more})

    def _check_pods(self) -> None:
        if len(found := self.pods()) > 1:
            self.broken_rules.append(f"two at once: {', '.join(each['metadata']['name'] for each in found)}")


def writes_of(theatre: InPlace, version: str = GOOD) -> int:
    """How many writes a whole release has."""
    process = theatre.process("first")
    process.release(version)
    return process.writes


def killed_at(theatre: InPlace, version: str, write: int, moment: Moment) -> InPlace:
    """The platform after the driver died ``moment`` its ``write``."""
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    with pytest.raises(Killed):
        process.release(version)
    return theatre


def expected(version: str) -> str:
    """How a release of it ends."""
    return "promoted" if version == GOOD else "rolled-back"


def old_or(version: str, result: str) -> str:
    """What runs in the end."""
    return version if result == "promoted" else OLD
