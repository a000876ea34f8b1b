"""Bad input and faults on real servers: one sentence each, and the platform serves on stable with nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from onlyvips import environment as environments
from tests.cluster import remove
from tests.conftest import ROOT, Lab
from tests.system.platform import Platform

pytestmark = pytest.mark.lab

Edit = Callable[[dict[str, Any]], None]


def edited(platform: Platform, edit: Edit) -> str:
    """An environment that differs from the good one by ``edit``."""
    document = yaml.safe_load((platform.folder / "quick.yaml").read_text())
    document["name"] = "edited"
    edit(document)
    (platform.folder / "edited.yaml").write_text(yaml.safe_dump(document))
    return "edited"


def backend(document: dict[str, Any]) -> dict[str, Any]:
    """The service in an environment."""
    service: dict[str, Any] = document["services"]["backend"]
    return service


REFUSALS: dict[str, tuple[Edit, str]] = {
    "a Deployment that is not there": (
        lambda document: backend(document).update(deployment="nobody"),
        "Deployment nobody does not exist in namespace production: nothing was changed",
    ),
    "a Service that is not there": (
        lambda document: backend(document).update(service="nobody"),
        "Service nobody does not exist in namespace production: nothing was changed",
    ),
    "an HTTPRoute that is not there": (
        lambda document: backend(document)["route"].update(name="nobody"),
        "HTTPRoute nobody does not exist in namespace production: nothing was changed",
    ),
    "a rule that is not in the route": (
        lambda document: backend(document)["route"].update(rule="nobody"),
        "HTTPRoute onlyvips has no rule nobody: nothing was changed",
    ),
    "an image that no container runs": (
        lambda document: backend(document).update(image="ghcr.io/onlyvips/nobody"),
        "No container of Deployment backend runs an image of ghcr.io/onlyvips/nobody: nothing was changed",
    ),
    "a bucket that is not there": (
        lambda document: document["backup"]["destinations"]["s3-a"].update(bucket="no-such-bucket"),
        "nothing was changed: s3-a: bucket no-such-bucket",
    ),
    "a bucket that refuses the write": (
        lambda document: document["backup"]["destinations"]["s3-a"].update(secret_key="env:ONLYVIPS_LAB_JWT_SECRET"),
        "cannot write it (403 SignatureDoesNotMatch): correct the secret key",
    ),
    "a Prometheus that is down": (
        lambda document: document["endpoints"].update(prometheus="http://127.0.0.1:1"),
        "Prometheus at http://127.0.0.1:1 did not answer",
    ),
}


@pytest.mark.parametrize(("edit", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_is_refused_in_one_sentence_before_anything_changes(platform: Platform, edit: Edit, sentence: str) -> None:
    before, records = platform.image(), len(platform.cluster.list("ConfigMap", {"onlyvips.com/kind": "release"}))
    done = start(platform, platform.other_version(), edited(platform, edit))
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert platform.image() == before
    assert len(platform.cluster.list("ConfigMap", {"onlyvips.com/kind": "release"})) == records


def start(platform: Platform, version: str, environment: str) -> subprocess.CompletedProcess[str]:
    """``release start`` in its own process."""
    return platform.onlyvips("release", "start", "-e", environment, "-s", "backend", "-v", version, "--local")


def test_a_service_that_nobody_declared_is_refused_with_the_nearest_name(platform: Platform) -> None:
    done = platform.onlyvips("release", "start", "-e", "quick", "-s", "backnd", "-v", "v2", "--local")
    assert done.returncode == 2
    assert "backend" in done.stderr


def test_a_deployment_without_track_is_refused_with_the_way_out(platform: Platform) -> None:
    live = platform.cluster.get("Service", "backend")
    assert live is not None
    untracked = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "untracked"},
        "spec": {"selector": {"app": "backend"}, "ports": [{"port": 80}]},
    }
    platform.cluster.create(untracked)
    try:
        environment = edited(platform, lambda document: backend(document).update(service="untracked"))
        done = start(platform, platform.other_version(), environment)
        assert done.returncode == 2
        assert "needs `track: stable` in the selector of Service untracked" in done.stderr
    finally:
        remove(platform.cluster, "Service", "untracked")


def test_duplicates_that_would_break_the_unique_index_are_found_first(platform: Platform) -> None:
    version = "v2"  # the release of the environment: only it has a migration
    if platform.other_version() != version:
        with platform.traffic():
            code, output = platform.release("v3")
        assert code == 0, output
    with MongoClient[dict[str, Any]](platform.lab.env["ONLYVIPS_LAB_MONGODB_URI"]) as client:
        users = client["copies"]["users"]
        users.drop()
        users.insert_many([{"telegramId": 7}, {"telegramId": 8}, {"telegramId": 7}])
    environment = edited(platform, lambda document: document["platform"]["mongodb"].update(database="copies"))
    done = start(platform, version, environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "copies.users has several documents with the same telegramId" in done.stderr


@contextmanager
def stopped(lab: Lab, part: str) -> Iterator[None]:
    """The part's process does not answer while the block runs."""
    process = json.loads(lab.command("status", "--json", check=False).stdout)["parts"][part]["pid"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_when_prometheus_goes_away_in_mid_canary_the_release_goes_back_as_inconclusive(platform: Platform) -> None:
    before, environment = platform.image(), platform.environment("unpatient", maximum_hold="8s")
    with platform.traffic() as counts:
        process = platform.begin(platform.other_version(), environment)
        platform.wait_for(lambda record: record.open and record.weight == 10)
        with stopped(platform.lab, "prometheus"):
            output, _ = process.communicate(timeout=200)
        seen = counts()
    assert process.returncode == 1
    assert "inconclusive, no data" in output
    assert platform.image() == before
    assert seen["lost"] == {}, seen["losses"]


def test_when_the_apiserver_is_away_for_longer_than_the_lease_nothing_is_decided_and_the_release_goes_on(
    platform: Platform,
) -> None:
    version = platform.other_version()
    with platform.traffic(watched=False) as counts:
        process = platform.begin(version)
        platform.wait_for(lambda record: record.open and record.weight == 10)
        with stopped(platform.lab, "apiserver"):
            time.sleep(2 * environments.load("quick").waits.lease)
        output, _ = process.communicate(timeout=200)
        seen = counts()
    assert process.returncode == 0, output
    assert platform.image().endswith(f":{version}")
    record = platform.newest()
    assert record is not None and len(record.holders) == 1
    assert seen["lost"] == {}, seen["losses"]


@pytest.mark.soak
def test_a_driver_that_was_frozen_and_taken_over_writes_nothing_when_it_wakes(platform: Platform) -> None:
    before = platform.image()
    with platform.traffic() as counts:
        process = platform.begin(platform.other_version())
        platform.wait_for(lambda record: record.open and record.weight == 10)
        os.killpg(process.pid, signal.SIGSTOP)
        try:
            done = platform.onlyvips("release", "reconcile", "-e", "quick", "-s", "backend", "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            left = versions(platform)
        finally:
            os.killpg(process.pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=200)
        seen = counts()
    assert process.returncode == 1, output
    assert versions(platform) == left
    assert (platform.image(), platform.weight()) == (before, 0)
    assert seen["lost"] == {}, seen["losses"]


def versions(platform: Platform) -> dict[str, tuple[int, str]]:
    """What a driver writes to: the generation of each, and the epoch that it carries."""
    record = platform.newest()
    assert record is not None
    found = {}
    for kind, name in (
        ("HTTPRoute", "onlyvips"),
        ("Deployment", "backend"),
        ("HorizontalPodAutoscaler", "backend"),
        ("ConfigMap", f"onlyvips-release-{record.id}"),
        ("Lease", "onlyvips-release-backend"),
    ):
        live = platform.cluster.get(kind, name)
        assert live is not None
        notes = live["metadata"].get("annotations", {})
        found[kind] = live["metadata"].get("generation", 0), f"{notes} {live.get('data')} {live.get('spec')}"
    return found


def test_a_full_disk_at_one_destination_stops_the_release_before_anything_changes(
    platform: Platform, tmp_path: Path
) -> None:
    """A tiny tmpfs in a mount namespace of its own: needs no root."""
    if shutil.which("unshare") is None:
        pytest.fail("unshare (util-linux) is needed for a tiny disk")
    before, folder = platform.image(), tmp_path / "tiny"
    folder.mkdir()
    environment = edited(
        platform, lambda document: document["backup"]["destinations"]["directory"].update(path=str(folder))
    )
    command = [str(Path(sys.executable).parent / "onlyvips"), "release", "start", "--local", "-e", environment]
    script = 'mount -t tmpfs -o size=64k tiny "$0" && exec "$@"'
    run = [
        "unshare",
        "-Urm",
        "sh",
        "-c",
        script,
        str(folder),
        *command,
        "-s",
        "backend",
        "-v",
        platform.other_version(),
    ]
    with platform.traffic() as counts:
        done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        seen = counts()
    assert seen["lost"] == {}, seen["losses"]
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is degraded (directory:" in done.stdout
    assert platform.image() == before
    assert platform.cluster.get("Deployment", "backend-canary") is None
