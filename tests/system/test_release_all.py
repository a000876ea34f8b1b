"""Two services as one release on real servers under traffic of both: promoted together, back as one, none lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

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


def test_when_the_second_service_fails_both_are_back_and_no_request_of_either_is_lost(
    platform: Platform, version: str
) -> None:
    before = images(platform)
    platform.lab.command("fault", "miniapp", version, "--error-rate", "0.2")
    with traffic(platform) as seen:
        done = platform.onlyvips("release", "start", "-e", "quick", "--all", "-v", version, "--local", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["result"] == "rolled-back" and "miniapp went back" in told["reason"]
    assert seen["backend"]["versions"][version]["total"] > 500, "backend ran the new version before it went back"
    assert images(platform) == before
    assert_none_lost(platform, seen)


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
