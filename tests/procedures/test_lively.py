"""While a backup is taken the driver is alive, and hears what people ask, whatever is waited for."""

from __future__ import annotations

import time
from typing import cast

import pytest

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.environment import Environment
from onlyvips.errors import Fenced, OnlyVipsError, Permanent, Transient
from onlyvips.steps.evidence import Kept
from onlyvips.steps.fence import Fence
from onlyvips.steps.herald import SILENT
from onlyvips.wiring import evidence, living
from onlyvips.wiring.living import alive_while, lively
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(living, "_SIGN_OF_LIFE", 0.01)


@pytest.mark.parametrize("error", [Permanent("Ada asked for an abort: looks odd"), Fenced("Bob took it over.")])
def test_an_abort_and_a_lost_lease_end_the_backup_at_its_next_sign(error: OnlyVipsError) -> None:
    def progress() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)), lively(progress) as alive:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            alive()
            time.sleep(0.001)


def test_the_driver_says_that_it_lives_while_nothing_is_read() -> None:
    said: list[float] = []
    with lively(lambda: said.append(time.monotonic())) as alive:
        until = time.monotonic() + 20
        while len(said) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        alive()
    assert len(said) >= 3
    time.sleep(0.05)
    before = len(said)
    time.sleep(0.05)
    assert len(said) == before


def test_an_api_that_is_away_for_a_moment_does_not_end_the_signs_of_life() -> None:
    said: list[float] = []

    def progress() -> None:
        said.append(time.monotonic())
        raise Transient("the API did not answer")

    def enough() -> bool:
        until = time.monotonic() + 20
        while len(said) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        return len(said) >= 3

    assert alive_while(progress, enough)


def test_a_driver_says_that_it_lives_while_its_evidence_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    said, kept = list[str](), Kept("key", ("s3-a",), ())

    def slow(_: Environment, __: ReleasePlan, ___: Record) -> Kept:
        until = time.monotonic() + 20
        while len(said) < 3 and time.monotonic() < until:
            time.sleep(0.001)
        return kept

    monkeypatch.setattr(evidence, "keep", slow)
    monkeypatch.setattr(wiring, "herald_of", lambda *_: SILENT)
    monkeypatch.setattr(wiring, "metrics_of", lambda _: None)
    loaded = environments.load("production")
    fence = Fence(SimCluster(SimClock()), "backend", 1, lambda: said.append("alive"))
    plan, nowhere = (
        environments.release_plan(loaded, "backend", "v0.9.0"),
        cast(KubernetesCluster, SimCluster(SimClock())),
    )
    tools = wiring._tools(loaded, plan, nowhere, fence)
    record = Record("r", "production", "backend", "v0.9.0", "a:1", "a:2", "", "Ada", "hash", 2, 0.0)
    assert tools.keep_evidence(record) is kept
    assert len(said) >= 3
