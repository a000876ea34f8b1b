"""What people do in the middle of a release, on real servers under real traffic: never a lost request."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.conftest import Lab
from tests.system.platform import LATE, Platform

pytestmark = pytest.mark.lab


def kubectl(lab: Lab, *words: str) -> None:
    command = [str(lab.bin / "kubectl"), "--kubeconfig", lab.env["ONLYVIPS_LAB_KUBECONFIG"], "-n", "production", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_stable_that_was_scaled_down_by_hand_has_its_pods_again_before_it_carries_all(
    platform: Platform, lab: Lab
) -> None:
    """Also with pods that start slowly. The scaling itself is done without traffic: its pods have no preStop."""
    version = platform.other_version()
    platform.fault(version, "--slow-start-s", "3")
    process = platform.begin(version)
    platform.wait_for(lambda record: record.open and record.weight == 10)
    kubectl(lab, "scale", "deployment/backend", "--replicas=3")
    time.sleep(LATE)
    with platform.traffic() as counts:
        output, _ = process.communicate(timeout=300)
        seen = counts()
    assert process.returncode == 0, output
    stable = platform.cluster.get("Deployment", "backend")
    assert stable is not None and stable["status"]["readyReplicas"] == 6
    assert seen["lost"] == {}, seen["losses"]


def test_a_rollback_in_the_middle_of_the_promotion_loses_nothing_and_another_version_is_refused(
    platform: Platform,
) -> None:
    before, version = platform.image(), platform.other_version()
    platform.fault(version, "--slow-start-s", "8")
    with platform.traffic() as counts:
        process = platform.begin(version)
        platform.wait_for(lambda record: record.open and record.replaced)
        pushed = platform.onlyvips("release", "start", "--local", "-e", "quick", "-s", "backend", "-v", "v4")
        aborted = platform.onlyvips("release", "abort", "-e", "quick", "-s", "backend", "--reason", "a second thought")
        output, _ = process.communicate(timeout=300)
        seen = counts()
    assert pushed.returncode == 2 and f"{version} is still open" in pushed.stderr, pushed.stdout + pushed.stderr
    assert aborted.returncode == 0, aborted.stdout + aborted.stderr
    assert process.returncode == 1 and "a second thought" in output
    assert platform.image() == before
    assert seen["lost"] == {}, seen["losses"]
