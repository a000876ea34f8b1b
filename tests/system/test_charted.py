"""A Deployment of a chart on real servers: Helm brings it forward and back, whoever dies."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from onlyvips import wiring
from onlyvips.core.manifests import RELEASE, template_release
from onlyvips.ports import Manifest
from tests.charts import chart, settings
from tests.conftest import ROOT
from tests.system.in_place import bot, settled, wait
from tests.system.platform import LATE, Platform, kill

pytestmark = pytest.mark.lab
VALUES = {"botTag": "v1", "botId": "", "backendTag": "v1", "backendId": "", "jwt": "backend-jwt-v1"}


def helm(place: Platform, *arguments: str) -> str:
    """What helm says."""
    env = place.lab.env
    where = ["--namespace", "production", "--kubeconfig", env["ONLYVIPS_LAB_KUBECONFIG"]]
    done = subprocess.run(
        [env["ONLYVIPS_LAB_HELM"], *arguments, *where], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def statuses(place: Platform) -> list[str]:
    """Of all revisions, the oldest first."""
    return [one["status"] for one in json.loads(helm(place, "history", "onlyvips", "--output", "json"))]


def of_chart(live: Manifest, service: str) -> Manifest:
    """The Deployment as a chart's template has it: what is released comes from values."""
    template = copy.deepcopy(live["spec"]["template"])
    template["metadata"]["annotations"] = {
        **template["metadata"].get("annotations", {}),
        RELEASE: f"{{{{ .Values.{service}Id }}}}",
    }
    template["metadata"]["labels"]["version"] = f"{{{{ .Values.{service}Tag }}}}"
    container = template["spec"]["containers"][0]
    container["image"] = f"ghcr.io/onlyvips/{service}:{{{{ .Values.{service}Tag }}}}"
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            variable["valueFrom"]["secretKeyRef"]["name"] = "{{ .Values.jwt }}"
    spec = {key: value for key, value in live["spec"].items() if key in ("selector", "strategy")}
    metadata = {"name": service, "labels": live["metadata"].get("labels", {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {**spec, "template": template}}


def documents() -> list[Manifest]:
    """The lab's own manifests of backend."""
    return list(yaml.safe_load_all((ROOT / "deployments/lab/manifests/backend.yaml").read_text()))


@pytest.fixture(scope="module")
def place(module_platform: Platform) -> Iterator[Platform]:
    """The lab with a bot and ``backend`` in one Helm release; the environment is called ``charted``."""
    platform = module_platform
    path = platform.folder / f"{platform.environment('charted', ready='25s')}.yaml"
    document = yaml.safe_load(path.read_text())
    mine = chart(
        platform.folder / "chart",
        "onlyvips",
        VALUES,
        [
            settings("of-the-chart", note="kept"),
            of_chart(bot(platform.folder / "polls"), "bot"),
            of_chart(documents()[0], "backend"),
            next(one for one in documents() if one["kind"] == "HorizontalPodAutoscaler"),
        ],
    )
    document["platform"] |= {"helm_release": "onlyvips", "helm_program": "env:ONLYVIPS_LAB_HELM"}
    told = {"path": str(mine), "image_value": "botTag", "release_value": "botId"}
    values = {"image_value": "backendTag", "release_value": "backendId", "secret_values": {"backend-jwt": "jwt"}}
    document["services"]["bot"] = {
        "kind": "bot",
        "image": "ghcr.io/onlyvips/bot",
        "strategy": "recreate",
        "deployment": "bot",
        "chart": told,
    }
    document["services"]["backend"]["chart"] = told | values
    path.write_text(yaml.safe_dump(document))
    live = platform.cluster.get("Deployment", "backend")
    assert live is not None
    tag = platform.image().rpartition(":")[2]
    pod = live["spec"]["template"]
    jwt = pod["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"]
    as_it_is = [f"backendTag={tag}", f"backendId={template_release(live)}", f"jwt={jwt}"]
    told_values = [part for value in as_it_is for part in ("--set-string", value)]
    helm(platform, "install", "onlyvips", str(mine), "--take-ownership", *told_values)
    for name in ("bot", "backend"):
        wait(lambda name=name: settled(platform.cluster, name))  # type: ignore[misc]
    yield platform
    for kind, name in (("Deployment", "backend"), ("HorizontalPodAutoscaler", "backend")):
        subprocess.run(
            [f"{platform.lab.bin}/kubectl", "--kubeconfig", platform.lab.env["ONLYVIPS_LAB_KUBECONFIG"], "-n"]
            + ["production", "annotate", kind, name, "helm.sh/resource-policy=keep", "meta.helm.sh/release-name-"],
            check=True,
        )
    for secret in platform.cluster.list("Secret", {"owner": "helm", "name": "onlyvips"}):
        platform.cluster.delete("Secret", secret["metadata"]["name"], secret["metadata"]["resourceVersion"])
    for kind, name in (("Deployment", "bot"), ("ConfigMap", "of-the-chart")):
        found = platform.cluster.get(kind, name)
        assert found is not None
        platform.cluster.delete(kind, name, found["metadata"]["resourceVersion"])


def start(place: Platform, service: str, version: str) -> Any:
    where = ["--environment", "charted", "--service", service, "--version", version]
    return place.process("release", "start", "--local", *where)


def test_a_bot_of_a_chart_goes_forward_by_an_upgrade_and_back_by_a_rollback_when_its_driver_dies(
    place: Platform,
) -> None:
    process = start(place, "bot", "v3")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    record = wiring.status("charted", "bot")[-1][0]
    live = place.cluster.get("Deployment", "bot")
    assert live is not None and template_release(live) == record.id
    assert statuses(place) == ["superseded", "deployed"]

    process = start(place, "bot", "v4")
    wait(lambda: wiring.status("charted", "bot")[-1][0].replaced and wiring.status("charted", "bot")[-1][0].open)
    kill(process)
    wait(lambda: place.onlyvips("release", "reconcile", "-e", "charted", "-s", "bot").returncode == 0)
    back = wiring.status("charted", "bot")[-1][0]
    assert (back.result, back.chart_revision) == ("rolled-back", 2), back.reason
    after = place.cluster.get("Deployment", "bot")
    assert after is not None and after["spec"]["template"] == live["spec"]["template"]
    assert statuses(place) == ["superseded", "superseded", "superseded", "deployed"]
    wait(lambda: settled(place.cluster, "bot"))


@pytest.mark.soak
def test_a_canary_beside_a_stable_of_a_chart_there_and_back_loses_no_request(place: Platform) -> None:
    before = len(statuses(place))
    version = place.other_version()
    with place.traffic() as counts:
        process = start(place, "backend", version)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        assert place.image().endswith(f":{version}")
        assert len(statuses(place)) == before + 1

        old = place.cluster.get("Deployment", "backend")
        process = start(place, "backend", "v4")
        wait(lambda: wiring.status("charted", "backend")[-1][0].replaced, limit=300)
        done = place.onlyvips("release", "abort", "-e", "charted", "-s", "backend", "--reason", "to see it go back")
        assert done.returncode == 0, done.stdout + done.stderr
        process.communicate(timeout=400)
        record = wiring.status("charted", "backend")[-1][0]
        assert record.result == "rolled-back", record.reason
        seen = counts()
    assert seen["lost"] == {}, seen
    live = place.cluster.get("Deployment", "backend")
    assert old is not None and live is not None and live["spec"]["template"] == old["spec"]["template"]
    assert len(statuses(place)) == before + 3 and statuses(place)[-1] == "deployed"
    assert LATE
