"""The platform with a Helm release that owns ``backend``, its autoscaler and a ConfigMap."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onlyvips.core import charts
from onlyvips.core.manifests import RELEASE
from onlyvips.core.plan import ChartPlan, ReleasePlan, Stage
from onlyvips.ports import Manifest
from onlyvips.steps import charted
from onlyvips.steps.deployed import Facts
from onlyvips.steps.tools import Tools
from tests.charts import settings
from tests.procedures.in_place import RECREATE, ROLLING, Bot, InPlace, Rolling, no_loss, one_pod
from tests.procedures.theatre import IMAGE, OLD, PLAN, Process, Theatre
from tests.simulators.charts import SimCharts, SimHelm

CHART = ChartPlan("onlyvips", "backend.tag", "backend.id", (("backend-jwt", "backend.jwt"),), 60.0, path="/chart")
VALUES = {"backend.tag": OLD, "backend.id": "", "backend.jwt": "backend-jwt-0000000000", "note": "first"}
SHORT = replace(PLAN, stages=(Stage(50, 10.0),), helm="onlyvips", chart=CHART, configs=())


def owned(plan: ReleasePlan) -> ReleasePlan:
    """The plan of a service that the chart owns."""
    return replace(plan, helm="onlyvips", chart=CHART, configs=())


class _Charted(Theatre):
    helm: SimHelm
    base: Manifest
    more: Sequence[Manifest] = ()

    def own(self) -> None:
        """The chart is installed over what stands there."""
        found = self.cluster.get("Deployment", "backend")
        assert found is not None
        found["spec"].pop("replicas")
        self.base = {key: found[key] for key in ("kind", "spec")} | {"metadata": {"name": "backend"}}
        self.helm = SimHelm(self.cluster, self.chart, VALUES)

    def process(self, holder: str, run: str = "run-1") -> Process:
        """A new process, with Helm."""
        return _WithHelm(self, holder, run)

    def chart(self, values: Mapping[str, str]) -> Sequence[Manifest]:
        """What the chart makes of its values."""
        own = copy.deepcopy(self.base)
        template = own["spec"]["template"]
        template["metadata"]["annotations"] = {RELEASE: values["backend.id"]}
        template["metadata"]["labels"]["version"] = values["backend.tag"]
        container = template["spec"]["containers"][0]
        container |= {"image": f"{IMAGE}:{values['backend.tag']}"}
        container["envFrom"] = [{"secretRef": {"name": values["backend.jwt"]}}]
        scaler = self.cluster.see("HorizontalPodAutoscaler", "backend")
        scalers = [{"kind": "HorizontalPodAutoscaler", "metadata": {"name": "backend"}, "spec": {"minReplicas": 2}}]
        return [settings("settings", note=values["note"]), *(scalers if scaler else ()), own, *self.more]

    def statuses(self) -> list[str]:
        """Of all revisions, the oldest first."""
        return [one.status for one in self.helm.revisions]

    def note(self) -> str:
        """What another part of the chart has."""
        found = self.cluster.see("ConfigMap", "settings")
        assert found is not None
        return str(found["data"]["note"])

    def assert_settled(self) -> None:
        """Helm is done, and the Deployment is as its newest revision says."""
        newest, live = self.helm.revisions[-1], self.cluster.see("Deployment", "backend")
        own = newest.own("backend")
        assert newest.status == "deployed" and own is not None and live is not None
        assert charts.edited(own, live) == "" and own["spec"]["template"] == live["spec"]["template"]
        assert self.statuses().count("deployed") == 1

    def assert_clean(self, image: str) -> None:
        super().assert_clean(image)
        self.assert_settled()


class _WithHelm(Process):
    """Helm's writes are the process's own: it may die at each."""

    @property
    def charts(self) -> SimCharts:
        """Its Helm."""
        assert isinstance(self.theatre, _Charted)
        return self.theatre.helm.by(lambda kind, do: self._write("helm", kind, lambda _: do()))

    def _tools(self, fence: Any) -> Tools:
        return replace(super()._tools(fence), charts=self.charts)

    def _preflight(self, version: str) -> Facts:
        facts = super()._preflight(version)
        charted.check(self.charts, self, self.theatre.plan, version)
        return facts


class Charted(_Charted):
    """A canary."""

    def __init__(self, plan: ReleasePlan = SHORT, **more: Any) -> None:
        super().__init__(plan, **more)

    def _furnish(self, hpa: bool) -> None:
        super()._furnish(hpa)
        self.own()


class ChartedRolling(_Charted, Rolling):
    """A rolling update."""

    def __init__(self) -> None:
        super().__init__(owned(ROLLING), no_loss)

    def _furnish(self, hpa: bool) -> None:
        InPlace._furnish(self, hpa)
        self.own()


class ChartedBot(_Charted, Bot):
    """A bot."""

    def __init__(self) -> None:
        super().__init__(owned(RECREATE), one_pod)

    def _furnish(self, hpa: bool) -> None:
        InPlace._furnish(self, hpa)
        self.own()
