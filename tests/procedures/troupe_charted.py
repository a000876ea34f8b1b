"""Two services released as one, where a Helm release owns one of them, or both."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onlyvips.core import charts
from onlyvips.core.group import Group
from onlyvips.core.manifests import RELEASE
from onlyvips.core.plan import ChartPlan, ManyPlan, ReleasePlan
from onlyvips.ports import Manifest
from onlyvips.steps import charted
from onlyvips.steps.deployed import Facts
from onlyvips.steps.tools import Tools
from tests.charts import settings
from tests.procedures.theatre import IMAGE, OLD
from tests.procedures.troupe import MANY, PLANS, Actor, Troupe
from tests.simulators.charts import SimCharts, SimHelm

HELM = "onlyvips"
JWT = "backend-jwt-0000000000"


def owned(service: str) -> ReleasePlan:
    """The plan of one that the chart owns."""
    names = (("backend-jwt", "backend.jwt"),) if service == "backend" else ()
    chart = ChartPlan(HELM, f"{service}.tag", f"{service}.id", names, 60.0, path="/chart")
    return replace(PLANS[service], helm=HELM, chart=chart, configs=())


class CharteredTroupe(Troupe):
    """The chart owns the Deployments of ``services``, and a ConfigMap."""

    def __init__(self, *services: str, plan: ManyPlan = MANY) -> None:
        self.services = services
        self.plans = {name: owned(name) if name in services else plan for name, plan in PLANS.items()}
        super().__init__(plan)
        self.settle(60)
        self.broken_rules.clear()  # to be installed over what stands there rolls pods, before any release
        for platform in (self.platform, self.second):
            platform.lost.clear()

    def _furnish_miniapp(self) -> None:
        super()._furnish_miniapp()
        self.bases = {name: self._base(name) for name in self.services}
        values = {f"{name}.{key}": value for name in self.services for key, value in (("tag", OLD), ("id", ""))}
        self.helm = SimHelm(self.cluster, self.chart, {**values, "backend.jwt": JWT, "note": "first"})

    def _base(self, name: str) -> Manifest:
        found = self.cluster.get("Deployment", name)
        assert found is not None
        found["spec"].pop("replicas")
        return {key: found[key] for key in ("kind", "spec")} | {"metadata": {"name": name}}

    def chart(self, values: Mapping[str, str]) -> Sequence[Manifest]:
        """What the chart makes of its values."""
        return [settings("settings", note=values["note"]), *(self._own(name, values) for name in self.services)]

    def _own(self, name: str, values: Mapping[str, str]) -> Manifest:
        own = copy.deepcopy(self.bases[name])
        template = own["spec"]["template"]
        template["metadata"]["annotations"] = {RELEASE: values[f"{name}.id"]}
        template["metadata"]["labels"]["version"] = values[f"{name}.tag"]
        container = template["spec"]["containers"][0]
        container["image"] = f"{IMAGE}:{values[f'{name}.tag']}"
        if name == "backend":
            container["envFrom"][0]["secretRef"]["name"] = values["backend.jwt"]
        return own

    def actor(self, holder: str, run: str = "run-1") -> Actor:
        """A new process, with Helm."""
        return _WithHelm(self, holder, run)

    def assert_all(self, result: str) -> Group:
        """Helm is done, too, and what runs is as its newest revision says."""
        group = super().assert_all(result)
        newest = self.helm.revisions[-1]
        assert newest.status == "deployed" and [one.status for one in self.helm.revisions].count("deployed") == 1
        for name in self.services:
            own, live = newest.own(name), self.cluster.see("Deployment", name)
            assert own is not None and live is not None
            assert charts.edited(own, live) == "" and own["spec"]["template"] == live["spec"]["template"]
        return group


class _WithHelm(Actor):
    """Helm's writes are the process's own: it may die at each."""

    @property
    def charts(self) -> SimCharts:
        """Its Helm."""
        assert isinstance(self.theatre, CharteredTroupe)
        return self.theatre.helm.by(lambda kind, do: self._write("helm", kind, lambda _: do()))

    def _tools_of(self, plan: ReleasePlan, fence: Any) -> Tools:
        return replace(super()._tools_of(plan, fence), charts=self.charts if plan.chart else None)

    def _look(self, service: str) -> Facts:
        facts = super()._look(service)
        if (plan := self.troupe.plans[service]).chart is not None:
            charted.check(self.charts, self, plan, self.version)
        return facts
