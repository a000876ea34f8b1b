"""A hook after the promotion fails when nobody drives any more: the reconciler takes all back under real traffic."""

from __future__ import annotations

import time

import pytest
import yaml

from onlyvips.core.record import Record
from tests.system.platform import Platform, kill

pytestmark = pytest.mark.lab


def hooked(platform: Platform, version: str) -> str:
    """An environment whose release ``version`` runs a hook after the promotion, which fails after some seconds."""
    name = platform.environment("hooked")
    file = platform.folder / f"{name}.yaml"
    document = yaml.safe_load(file.read_text())
    document["strategies"]["canary"]["stages"] = [{"weight": "50%", "hold": "6s"}]
    command = ["sh", "-c", "sleep 5; exit 1"]
    smoke = {"name": "smoke", "image": "ghcr.io/onlyvips/migrate:v1", "command": command, "timeout": "1m"}
    document["release"] |= {"version": version, "hooks": {"after": [smoke]}}
    file.write_text(yaml.safe_dump(document))
    return name


def hook_runs(platform: Platform, record: Record) -> bool:
    """Whether the cluster has the Job of the hook of this release."""
    jobs = platform.cluster.list("Job", {"onlyvips.com/release": record.id})
    return any(one["metadata"]["name"].startswith("smoke") for one in jobs)


def finish(platform: Platform, environment: str) -> Record:
    """Reconcile until the release is closed: its dead driver's lease runs out first."""
    until = time.monotonic() + 200
    while (record := platform.newest()) is None or record.open:
        assert time.monotonic() < until, record
        platform.onlyvips("release", "reconcile", "-e", environment, "-s", "backend")
    return record


def test_a_hook_that_fails_after_its_driver_died_brings_the_old_version_back_and_no_request_is_lost(
    platform: Platform,
) -> None:
    before, version = platform.image(), platform.other_version()
    name = hooked(platform, version)
    with platform.traffic() as counts:
        process = platform.begin(version, name)
        running = platform.wait_for(lambda record: record.version == version and hook_runs(platform, record))
        promoted = platform.image()
        kill(process)
        record = finish(platform, name)
        seen = counts()
    assert promoted.endswith(f":{version}") and running.open
    assert record.result == "rolled-back" and "hook smoke failed" in record.reason, record.reason
    assert len(record.holders) > 1
    made = [step.action for step in record.steps if step.action.startswith("create canary")]
    assert len(made) == 2, "stable went back where it stands, not behind a canary of the old version"
    assert (platform.image(), platform.weight()) == (before, 0)
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert seen["lost"] == {}, seen["losses"]
    assert set(seen["versions"]) == {before.rpartition(":")[2], version}
