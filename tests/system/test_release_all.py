"""Two services as one release on real servers under traffic of both: promoted together, back as one, none lost."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import yaml

from onlyvips.core import group as groups
from onlyvips.wiring import several
from tests.system.platform import LATE, RATE, Platform, kill

pytestmark = pytest.mark.lab
TARGETS = [
    {"name": "backend", "path": "/api/tasks", "rate": RATE},
    {"name": "miniapp", "path": "/", "rate": RATE},
]


@contextmanager
def traffic(platform: Platform) -> Iterator[dict[str, Any]]:
    """Open-loop load of both while the block runs; afterwards the value says what became of it, by service."""
    httpx.post(f"{platform.load}/start", json={"targets": TARGETS}, trust_env=False).raise_for_status()
    seen: dict[str, Any] = {}
    try:
        yield seen
        time.sleep(LATE)
    finally:
        stats = httpx.post(f"{platform.load}/stop", timeout=30, trust_env=False).raise_for_status().json()
        seen.update(stats["targets"], losses=stats["losses"])


def images(platform: Platform) -> dict[str, str]:
    """What stable of each runs, by its tag."""
    found = {name: platform.cluster.get("Deployment", name) for name in ("backend", "miniapp")}
    return {
        name: one["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]
        for name, one in found.items()
        if one is not None
    }


def assert_none_lost(platform: Platform, seen: dict[str, Any]) -> None:
    for name in ("backend", "miniapp"):
        assert seen[name]["unsent"] == 0 and seen[name]["total"] > 1000
        assert seen[name]["lost"] == {}, (name, seen["losses"])
        assert platform.cluster.get("Deployment", f"{name}-canary") is None
        assert platform.cluster.get("Service", f"{name}-canary") is None


@pytest.fixture
def version(platform: Platform) -> Iterator[str]:
    """Another one than both run."""
    chosen = next(one for one in ("v2", "v3") if one not in images(platform).values())
    yield chosen
    platform.lab.command("fault", "miniapp", chosen, "--clear")


def give_configuration(platform: Platform, version: str) -> str:
    """Backend reads a ConfigMap and miniapp a Secret by names that no release gave them; ``version`` brings another
    ConfigMap. Returns the environment that says so."""
    cluster, reads = platform.cluster, {"backend": "configMapRef", "miniapp": "secretRef"}
    cluster.create(object_of("ConfigMap", "backend-settings", data={"LEVEL": "info"}))
    cluster.create(object_of("Secret", "miniapp-settings", stringData={"KEY": "first"}))
    for name, how in reads.items():
        found, path = cluster.get("Deployment", name), "/spec/template/spec/containers/0/envFrom"
        assert found is not None
        change = {"op": "add", "path": path, "value": [{how: {"name": f"{name}-settings"}}]}
        cluster.patch("Deployment", name, found["metadata"]["resourceVersion"], [change])
    until = time.monotonic() + 60
    while not all(map(settled, (cluster.get("Deployment", name) for name in reads))):
        assert time.monotonic() < until, "the Deployments did not roll out"
        time.sleep(0.5)
    time.sleep(LATE)  # the gateway forgets the pods of before
    file = platform.folder / f"{platform.environment('configs')}.yaml"
    document = yaml.safe_load(file.read_text())
    config = {"name": "backend-settings", "replaces": "backend-settings", "values": {"LEVEL": "debug"}}
    document["release"] |= {"version": version, "configs": {"backend": [config]}}
    file.write_text(yaml.safe_dump(document))
    return "configs"


def object_of(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


def settled(deployment: dict[str, Any] | None) -> bool:
    """Whether all of its pods have its template, and are ready."""
    assert deployment is not None
    spec, status = deployment["spec"], deployment["status"]
    counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")}
    return bool(counts == {spec["replicas"]} and status["observedGeneration"] == deployment["metadata"]["generation"])


def reads(platform: Platform, name: str) -> Any:
    found = platform.cluster.get("Deployment", name)
    assert found is not None
    return found["spec"]["template"]["spec"]["containers"][0]["envFrom"]


def test_when_the_second_fails_both_are_back_with_their_configuration_but_for_a_secret_that_somebody_changed(
    platform: Platform, version: str
) -> None:
    environment, before, cluster = give_configuration(platform, version), images(platform), platform.cluster
    was = {name: reads(platform, name) for name in before}
    platform.lab.command("fault", "miniapp", version, "--error-rate", "0.2")
    with traffic(platform) as seen:
        start = platform.process("release", "start", "-e", environment, "--all", "-v", version, "--local")
        platform.wait_for(lambda record: record.version == version and record.phase == "together")
        (now,) = reads(platform, "backend")
        found = cluster.get("Secret", "miniapp-settings") or {}
        value = {"op": "replace", "path": "/data/KEY", "value": b64encode(b"second").decode()}
        cluster.patch("Secret", "miniapp-settings", found["metadata"]["resourceVersion"], [value])
        output, _ = start.communicate(timeout=400)
    assert start.returncode == 1, output
    group = several.status("quick")[-1]
    assert group.result == "rolled-back" and "miniapp went back" in group.reason
    assert group.left == ("Secret/miniapp-settings",) and "Secret miniapp-settings" in groups.headline(group)
    assert now["configMapRef"]["name"].startswith("backend-settings-"), "backend had read the new one by then"
    assert {name: reads(platform, name) for name in before} == was and images(platform) == before
    made = [one["metadata"]["name"] for one in cluster.list("ConfigMap", {"onlyvips.com/kind": "generation"})]
    assert made == [], "nothing refers to it any more"
    left, (kept,) = cluster.get("Secret", "miniapp-settings"), miniapps_secrets(platform)
    assert left is not None and left["data"] == {"KEY": b64encode(b"second").decode()}
    assert kept["data"] == {"KEY": b64encode(b"first").decode()}, "what it held is kept for who was told"
    assert seen["backend"]["versions"][version]["total"] > 500, "backend ran the new version before it went back"
    assert_none_lost(platform, seen)


def miniapps_secrets(platform: Platform) -> list[dict[str, Any]]:
    """Copies of Secrets that a release of miniapp made."""
    return platform.cluster.list("Secret", {"onlyvips.com/service": "miniapp"})


def test_killed_while_the_first_waits_for_the_second_nobody_comes_and_both_are_back(
    platform: Platform, version: str
) -> None:
    before = images(platform)
    with traffic(platform) as seen:
        process = platform.process("release", "start", "-e", "quick", "--all", "-v", version, "--local")
        waiting = platform.wait_for(lambda record: record.version == version and record.phase == "together")
        kill(process)
        done = platform.onlyvips("release", "reconcile", "-e", "quick", "--json")
    assert waiting.service == "backend"
    assert done.returncode == 0, done.stdout + done.stderr
    assert images(platform) == before
    assert_none_lost(platform, seen)


@pytest.mark.soak
def test_both_are_promoted_as_one_and_no_request_of_either_is_lost(platform: Platform, version: str) -> None:
    with traffic(platform) as seen:
        done = platform.onlyvips("release", "start", "-e", "quick", "--all", "-v", version, "--local", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(images(platform).values()) == {version}
    assert_none_lost(platform, seen)
