"""Helm, where it owns a service's Deployment."""

from __future__ import annotations

from dataclasses import replace

from onlyvips import environment as environments
from onlyvips.adapters.charts_helm import HelmCharts
from onlyvips.core.plan import ReleasePlan
from onlyvips.environment import Environment
from onlyvips.ports import Cluster
from onlyvips.ports.charts import Charts
from onlyvips.steps import charted, preflight
from onlyvips.steps.deployed import Facts
from onlyvips.wiring.places import kubeconfig_of


def charts_of(loaded: Environment, plan: ReleasePlan) -> Charts | None:
    """The service's Helm release; None where no chart owns the service."""
    if (chart := plan.chart) is None:
        return None
    platform, path = loaded.platform, environments.endpoint(loaded, chart.path) if chart.path else ""
    program = environments.endpoint(loaded, platform.helm_program) if platform.helm_program else "helm"
    return HelmCharts(program, kubeconfig_of(loaded), platform.namespace, replace(chart, path=path))


def check_platform(loaded: Environment, cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """What the cluster has to be like, Helm's release included. Raises Refused."""
    facts = preflight.check_platform(cluster, plan, version, loaded.where)
    if (helm := charts_of(loaded, plan)) is not None:
        charted.check(helm, cluster, plan, version)
    return facts
