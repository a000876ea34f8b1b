"""The long matrix: a driver killed at a moment drawn by chance, and whoever comes after it. ``make soak``.

``ONLYVIPS_SOAK_SEEDS`` says how many (12 when not set); a seed that failed fails again by its number, as far as a
machine's own timing lets it.
"""

from __future__ import annotations

import os
import time
from random import Random

import pytest

from tests.system.platform import Platform, kill

pytestmark = [pytest.mark.lab, pytest.mark.soak]
SEEDS = int(os.environ.get("ONLYVIPS_SOAK_SEEDS", "12"))
LONGEST = 40.0
"""Seconds that a good release takes here, about."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_release_that_is_killed_at_any_moment_ends_and_loses_nothing(platform: Platform, seed: int) -> None:
    random = Random(seed)
    version, before = platform.other_version(), platform.image()
    moment, comes = random.uniform(0.0, LONGEST), random.choice(["the same run", "reconcile", "abort"])
    if random.random() < 0.3:
        platform.fault(version, "--error-rate", "0.2")
    with platform.traffic() as counts:
        process = platform.begin(version)
        begun = platform.wait_for(lambda record: record.version == version and record.open)
        time.sleep(moment)
        if process.poll() is None:
            kill(process)
        else:
            process.communicate()
        record = platform.newest()
        assert record is not None and record.id == begun.id
        told = come_after(platform, version, comes) if record.open else ""
        record = platform.newest()
        assert record is not None and record.id == begun.id and not record.open, told
        seen = counts()
    assert platform.image() == (record.to_image if record.result == "promoted" else before)
    assert platform.weight() == 0
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert platform.cluster.get("Service", "backend-canary") is None
    assert seen["lost"] == {}, seen["losses"]


def come_after(platform: Platform, version: str, who: str) -> str:
    """Whoever comes after the driver's death; returns what was said."""
    if who == "the same run":
        return platform.release(version)[1]
    done = platform.onlyvips("release", who, "-e", "quick", "-s", "backend")
    return done.stdout + done.stderr
