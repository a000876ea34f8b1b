"""A Deployment of a chart on real servers: Helm brings it forward and back, whoever dies."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from onlyvips import wiring
from onlyvips.core.manifests import RELEASE, template_release
from onlyvips.core.record import Record
from onlyvips.ports import Manifest
from tests.charts import chart, settings
from tests.cluster import remove
from tests.conftest import ROOT
from tests.system.in_place import bot, change, settled, wait
from tests.system.platform import LATE, Platform, kill

pytestmark = pytest.mark.lab
VALUES = {"tag": "v1", "id": "", "jwt": "backend-jwt-v1"}
BOT = {"kind": "bot", "image": "ghcr.io/onlyvips/bot", "strategy": "recreate", "deployment": "bot"}


def helm(place: Platform, *arguments: str) -> str:
    """What helm says."""
    env = place.lab.env
    where = ["--namespace", "production", "--kubeconfig", env["ONLYVIPS_LAB_KUBECONFIG"]]
    command = [env["ONLYVIPS_LAB_HELM"], *arguments, *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def statuses(place: Platform, release: str) -> list[str]:
    """Of all revisions, the oldest first."""
    return [one["status"] for one in json.loads(helm(place, "history", release, "--output", "json"))]


def of_chart(live: Manifest, service: str) -> Manifest:
    """The Deployment as a chart's template has it: what is released comes from values, its count from nowhere."""
    template = copy.deepcopy(live["spec"]["template"])
    notes = template["metadata"].get("annotations", {})
    template["metadata"]["annotations"] = {**notes, RELEASE: "{{ .Values.id }}"}
    template["metadata"]["labels"]["version"] = "{{ .Values.tag }}"
    container = template["spec"]["containers"][0]
    container["image"] = f"ghcr.io/onlyvips/{service}:{{{{ .Values.tag }}}}"
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            variable["valueFrom"]["secretKeyRef"]["name"] = "{{ .Values.jwt }}"
    spec = {key: value for key, value in live["spec"].items() if key in ("selector", "strategy")}
    metadata = {"name": service, "labels": live["metadata"].get("labels", {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {**spec, "template": template}}


@contextmanager
def installed(
    place: Platform, release: str, objects: Sequence[Manifest], values: Mapping[str, str], service: Mapping[str, Any]
) -> Iterator[None]:
    """A Helm release that owns them, and environment ``charted`` in which ``service`` is its; nothing of Helm is left,
    the objects are."""
    folder = chart(place.folder / release, release, VALUES, objects)
    path = place.folder / f"{place.environment('charted', ready='25s')}.yaml"
    document = yaml.safe_load(path.read_text())
    document["platform"] |= {"helm_release": release, "helm_program": "env:ONLYVIPS_LAB_HELM"}
    told = {"path": str(folder), "image_value": "tag", "release_value": "id", "secret_values": {"backend-jwt": "jwt"}}
    name = service["deployment"]
    document["services"][name] = {**service, "chart": told}
    path.write_text(yaml.safe_dump(document))
    before = place.cluster.get("Deployment", name)
    given = [part for key, value in values.items() for part in ("--set-string", f"{key}={value}")]
    helm(place, "install", release, str(folder), "--take-ownership", *given)
    if before is not None:
        count = {"op": "replace", "path": "/spec/replicas", "value": before["spec"]["replicas"]}
        change(place.cluster, name, lambda _: [count])
    try:
        wait(lambda: settled(place.cluster, name))
        time.sleep(LATE)  # the pods that went had no preStop: the gateway has to forget them
        yield
    finally:
        for one in place.cluster.list("Secret", {"owner": "helm", "name": release}):
            remove(place.cluster, "Secret", one["metadata"]["name"])
        owner = "/metadata/annotations/meta.helm.sh~1release-name"
        change(place.cluster, name, lambda _: [{"op": "remove", "path": owner}])


@contextmanager
def removed_after(place: Platform, *objects: tuple[str, str]) -> Iterator[None]:
    """Nothing of them is left for the tests that come after, whatever happens."""
    try:
        yield
    finally:
        for kind, name in objects:
            remove(place.cluster, kind, name)


def start(place: Platform, service: str, version: str) -> Any:
    where = ["--environment", "charted", "--service", service, "--version", version]
    return place.process("release", "start", "--local", *where)


def newest(service: str) -> Record:
    return wiring.status("charted", service)[-1][0]


def deployment(place: Platform, name: str) -> Manifest:
    found = place.cluster.get("Deployment", name)
    assert found is not None
    return found


def test_a_bot_of_a_chart_goes_forward_by_an_upgrade_and_back_by_a_rollback_when_its_driver_dies(
    module_platform: Platform,
) -> None:
    place = module_platform
    objects = [settings("of-the-chart", note="kept"), of_chart(bot(place.folder / "polls"), "bot")]
    with (
        removed_after(place, ("Deployment", "bot"), ("ConfigMap", "of-the-chart")),
        installed(place, "onlyvips", objects, {}, BOT),
    ):
        process = start(place, "bot", "v3")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        live = deployment(place, "bot")
        assert template_release(live) == newest("bot").id
        assert statuses(place, "onlyvips") == ["superseded", "deployed"]

        process = start(place, "bot", "v4")
        wait(lambda: newest("bot").version == "v4" and newest("bot").replaced)
        kill(process)
        wait(lambda: place.onlyvips("release", "reconcile", "-e", "charted", "-s", "bot").returncode == 0)
        back = newest("bot")
        assert (back.result, back.chart_revision) == ("rolled-back", 2), back.reason
        assert deployment(place, "bot")["spec"]["template"] == live["spec"]["template"]
        assert statuses(place, "onlyvips") == ["superseded", "superseded", "superseded", "deployed"]


@pytest.mark.soak
def test_a_canary_beside_a_stable_of_a_chart_there_and_back_loses_no_request(platform: Platform) -> None:
    place = platform
    manifests = list(yaml.safe_load_all((ROOT / "deployments/lab/manifests/backend.yaml").read_text()))
    scaler = next(one for one in manifests if one["kind"] == "HorizontalPodAutoscaler")
    live = deployment(place, "backend")
    jwt = live["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"]
    values = {"tag": place.image().rpartition(":")[2], "id": template_release(live), "jwt": jwt}
    service = yaml.safe_load((ROOT / "deployments/environments/lab.yaml").read_text())["services"]["backend"]
    with installed(place, "backend", [of_chart(manifests[0], "backend"), scaler], values, service):
        version = place.other_version()
        with place.traffic() as counts:
            process = start(place, "backend", version)
            output, _ = process.communicate(timeout=400)
            assert process.returncode == 0, output
            old = deployment(place, "backend")
            assert place.image().endswith(f":{version}")

            process = start(place, "backend", "v4")
            wait(lambda: newest("backend").version == "v4" and newest("backend").replaced, limit=300)
            done = place.onlyvips("release", "abort", "-e", "charted", "-s", "backend", "--reason", "to see it go back")
            assert done.returncode == 0, done.stdout + done.stderr
            process.communicate(timeout=400)
            assert newest("backend").result == "rolled-back", newest("backend").reason
            seen = counts()
        assert seen["lost"] == {}, seen["losses"]
        assert deployment(place, "backend")["spec"]["template"] == old["spec"]["template"]
        assert statuses(place, "backend") == ["superseded", "superseded", "superseded", "deployed"]
