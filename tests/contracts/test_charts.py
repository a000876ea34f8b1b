"""Charts' contract: one suite for the simulated Helm and for the program itself on the lab's apiserver."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from onlyvips.adapters.charts_helm import HelmCharts
from onlyvips.core.manifests import template_release
from onlyvips.core.plan import ChartPlan
from onlyvips.errors import Conflict, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.ports import Manifest
from onlyvips.ports.charts import Charts
from tests.charts import chart, deployment, settings
from tests.contracts.test_cluster import Place, place
from tests.simulators.charts import SimHelm, Write
from tests.system.in_place import change

__all__ = ["place"]
IMAGE = "ghcr.io/onlyvips/backend"
VALUES = {"tag": "v1", "id": "", "note": "first"}


@dataclass
class Stage:
    """One Helm release with a Deployment of no pods and a ConfigMap; ``dying`` is Helm that is cut off in its work."""

    place: Place
    charts: Charts
    dying: Charts
    name: str

    def live(self) -> Manifest:
        found = self.place.cluster.get("Deployment", self.name)
        assert found is not None
        return found

    def image(self) -> str:
        return str(self.live()["spec"]["template"]["spec"]["containers"][0]["image"])

    def told(self) -> tuple[int, str]:
        newest = self.charts.newest()
        assert newest is not None
        return newest.number, newest.status


def objects(name: str, values: Mapping[str, str]) -> Sequence[Manifest]:
    own = deployment(name, IMAGE, values["tag"], values["id"], replicas=0)
    return [settings(name, note=values["note"]), own]


@pytest.fixture
def stage(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    name = f"{place.mark}-web"
    if "simulator" in request.node.callspec.id:
        helm = SimHelm(place.cluster, lambda values: objects(name, values), VALUES)  # type: ignore[arg-type]
        yield Stage(place, helm.by(lambda _, write: write()), helm.by(cut_off_at("ConfigMap")), name)
        return
    env = request.getfixturevalue("lab").env
    quoted = deployment(name, IMAGE, "{{ .Values.tag }}", "{{ .Values.id }}", replicas=0)
    chart(tmp_path / "chart", "web", VALUES, [settings(name, note="{{ .Values.note }}"), quoted])
    slow = {"helm.sh/hook": "pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation"}
    job = {"restartPolicy": "Never", "containers": [{"name": "wait", "image": f"{IMAGE}:v1"}]}
    hook = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": slow}}
    hook |= {"spec": {"template": {"spec": job}}}
    chart(tmp_path / "slow", "web", VALUES, [settings(name, note="{{ .Values.note }}"), quoted, hook])
    plan = ChartPlan(name, "tag", "id", (), 60.0, path=str(tmp_path / "chart"))
    kubeconfig, program = Path(env["ONLYVIPS_LAB_KUBECONFIG"]), env["ONLYVIPS_LAB_HELM"]
    where = ["--namespace", "production", "--kubeconfig", str(kubeconfig)]
    subprocess.run([program, "install", name, plan.path, *where], check=True, capture_output=True, timeout=60)
    try:
        slower = replace(plan, path=str(tmp_path / "slow"), timeout=3.0)
        real = HelmCharts(program, kubeconfig, "production", plan)
        yield Stage(place, real, HelmCharts(program, kubeconfig, "production", slower), name)
    finally:
        subprocess.run([program, "uninstall", name, *where], check=True, capture_output=True, timeout=60)
        subprocess.run(
            [env["ONLYVIPS_LAB_BIN"] + "/kubectl", "delete", "job", name, "--ignore-not-found", *where], check=True
        )


def cut_off_at(kind: str) -> Write:
    def write(what: str, do: Callable[[], None]) -> None:
        if what == kind:
            raise UnknownOutcome("helm upgrade did not end in time and was ended")
        do()

    return write


def cut_off(stage: Stage, version: str) -> None:
    """An upgrade that dies in its middle; one that was too slow even to begin dies once more."""
    before = stage.told()
    for _ in range(5):
        with pytest.raises(UnknownOutcome):
            stage.dying.upgrade({"tag": version, "id": "one"})
        if stage.told() != before:
            return


def test_a_revision_says_what_is_deployed_and_a_rendering_what_would_be_and_changes_nothing(stage: Stage) -> None:
    before, generation = stage.charts.newest(), stage.live()["metadata"]["generation"]
    assert before is not None and (before.number, before.status, before.hooks) == (1, "deployed", ())
    own = before.own(stage.name)
    assert own is not None and template_release(own) == ""
    assert set(before.others(stage.name)) == {("ConfigMap", stage.name)}
    then = stage.charts.render({"tag": "v2", "id": "one"})
    mine, was = then.own(stage.name), before.own(stage.name)
    assert mine is not None and was is not None
    assert template_release(mine) == "one" and mine["spec"]["template"] != was["spec"]["template"]
    assert then.others(stage.name) == before.others(stage.name)
    assert stage.told() == (1, "deployed") and stage.live()["metadata"]["generation"] == generation


def test_upgrades_keep_values_and_a_rollback_brings_a_revision_back_as_a_new_one(stage: Stage) -> None:
    stage.charts.upgrade({"note": "second"})
    stage.charts.upgrade({"tag": "v2", "id": "one"})
    assert stage.told() == (3, "deployed") and stage.image() == f"{IMAGE}:v2"
    assert template_release(stage.live()) == "one"
    assert stage.place.live("ConfigMap", "web")["data"] == {"note": "second"}
    stage.charts.rollback(2)
    assert stage.told() == (4, "deployed") and stage.image() == f"{IMAGE}:v1"
    assert template_release(stage.live()) == "" and stage.place.live("ConfigMap", "web")["data"] == {"note": "second"}
    with pytest.raises(Permanent):
        stage.charts.rollback(99)
    assert stage.told() == (4, "deployed")


def test_what_is_no_business_of_the_chart_stays_and_a_hand_edit_of_what_is_goes(stage: Stage) -> None:
    add = [{"op": "add", "path": "/metadata/annotations/ours", "value": "kept"}]
    add += [{"op": "add", "path": "/spec/template/spec/terminationGracePeriodSeconds", "value": 7}]
    change(stage.place.cluster, stage.name, lambda _: add)
    stage.charts.upgrade({"tag": "v2", "id": "one"})
    assert stage.live()["metadata"]["annotations"]["ours"] == "kept"
    assert stage.live()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 1


def test_an_upgrade_that_was_cut_off_is_told_blocks_the_next_and_ends_by_a_rollback_to_it_or_to_another(
    stage: Stage,
) -> None:
    for version, to, expected in (("v2", 2, "v2"), ("v3", 1, "v1")):
        at, _ = stage.told()
        before = stage.image()
        cut_off(stage, version)
        assert stage.told() == (at + 1, "pending-upgrade") and stage.image() == before
        with pytest.raises(Conflict):
            stage.charts.upgrade({"tag": version, "id": "one"})
        stage.charts.rollback(to)
        assert stage.told() == (at + 2, "deployed") and stage.image() == f"{IMAGE}:{expected}"


@pytest.mark.lab
def test_no_program_no_cluster_no_release_and_no_chart_are_told_apart(
    lab: object, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    env = request.getfixturevalue("lab").env
    plan = ChartPlan("none-such", "tag", "id", (), 60.0, path=str(tmp_path / "none"))
    config = Path(env["ONLYVIPS_LAB_KUBECONFIG"])
    assert HelmCharts(env["ONLYVIPS_LAB_HELM"], config, "production", plan).newest() is None
    with pytest.raises(Refused, match="not found"):
        HelmCharts(env["ONLYVIPS_LAB_HELM"], config, "production", plan).render({"tag": "v2"})
    with pytest.raises(Refused, match="There is no program helm-of-nobody"):
        HelmCharts("helm-of-nobody", config, "production", plan).newest()
    away = tmp_path / "away"
    away.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}"
        "], contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}"
    )
    with pytest.raises(Transient):
        HelmCharts(env["ONLYVIPS_LAB_HELM"], away, "production", plan).newest()
    with pytest.raises(UnknownOutcome):
        HelmCharts(env["ONLYVIPS_LAB_HELM"], away, "production", plan).rollback(1)
