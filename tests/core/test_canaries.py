"""Whole canaries by chance: false alarms are fewer than alpha, faults are found in time, and each part of the judge
matters: taken out, a number here is wrong. ``python -m tests.bench judge`` is the same with many more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import judge
from onlyvips.core.plan import Stage
from tests import canaries
from tests.canaries import ALPHA, EVERYTHING, FAULTS, MARGINS, MINUTELY, Version, World, failed, upper_bound

SHORT = (Stage(10, 1800.0), Stage(50, 1800.0))
AT_THE_MARGIN = Version(0.0025), Version(0.0), World(pods=3, stages=SHORT, look=120.0)
"""A canary as bad as it may be: no worse than the margin, and not a bit better."""


def test_equal_versions_raise_fewer_false_alarms_than_alpha_whatever_else_happens() -> None:
    """Drift, bursts, uneven pods, warm-up, restarts: their sizes are in ``tests/canaries.py``."""
    alarms = failed(Version(), Version(), replace(EVERYTHING, pods=4, stages=SHORT), runs=75)
    assert upper_bound(alarms, 75) <= ALPHA, alarms


def test_looks_of_a_minute_and_errors_in_clumps_raise_fewer_false_alarms_than_alpha() -> None:
    """The first looks of a stage, in which stable has had no error yet, beside few pods."""
    alarms = failed(Version(), Version(), replace(MINUTELY, pods=3, stages=SHORT), runs=75)
    assert upper_bound(alarms, 75) <= ALPHA, alarms


def test_a_canary_exactly_at_the_margin_raises_fewer_false_alarms_than_alpha() -> None:
    alarms = failed(*AT_THE_MARGIN, runs=100)
    assert upper_bound(alarms, 100) <= ALPHA, alarms


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "world", [World(), EVERYTHING, replace(EVERYTHING, pods=2)], ids=["calm", "all that happens", "all, 2 pods"]
)
def test_a_fault_is_found_within_the_first_stage(fault: str, world: World) -> None:
    """The canary has 10 requests/s of its own."""
    assert failed(*FAULTS[fault], world, runs=20, stages=1) == 20


def test_without_spending_alpha_by_looks_a_canary_at_the_margin_fails_by_chance(monkeypatch: Any) -> None:
    at_the_margin = Version(0.0075), Version(), World(drift=True, uneven=True, stages=SHORT, look=60.0)
    assert failed(*at_the_margin, runs=20) == 0
    monkeypatch.setattr(canaries, "alpha_of_look", lambda *_: ALPHA)
    assert failed(*at_the_margin, runs=40) > 5


def test_without_a_margin_a_version_that_is_good_enough_fails() -> None:
    slightly = Version(0.002), Version(0.0), World(pods=3, stages=SHORT)
    assert failed(*slightly, runs=10) == 0
    assert failed(*slightly, runs=10, margins=replace(MARGINS, errors=0.0)) == 10


def test_pooled_over_looks_rates_that_drift_with_the_weight_are_a_failure(monkeypatch: Any) -> None:
    from tests.core.test_compare import (
        SIMPSON,
        test_rates_that_drift_while_the_weight_changes_are_not_the_canarys_fault,
    )

    test_rates_that_drift_while_the_weight_changes_are_not_the_canarys_fault()
    original = judge.compare_errors

    def pooled(*sides: Any) -> Any:
        *cells, margin, _ = sides
        return original(*(type(one)(*(n.sum(1, keepdims=True) for n in vars(one).values())) for one in cells), margin)

    good = judge.judge_against(*SIMPSON, MARGINS, 0.001)[0]
    monkeypatch.setattr(judge, "compare_errors", pooled)
    assert (good.verdict, judge.judge_against(*SIMPSON, MARGINS, 0.001)[0].verdict) == ("pass", "fail")


def test_a_judge_that_never_has_enough_finds_nothing() -> None:
    world = World(pods=3, stages=SHORT)
    assert (
        failed(*FAULTS["5 % errors against 0.5 %"], world, runs=5, margins=replace(MARGINS, minimum_requests=10**9))
        == 0
    )


def test_without_the_spread_of_pods_uneven_ones_raise_false_alarms(monkeypatch: Any) -> None:
    from onlyvips.core import compare

    for part in ("_spread_of_errors", "_spread_of_latency"):
        monkeypatch.setattr(compare, part, lambda *_: 1.0)
    assert failed(Version(), Version(), replace(EVERYTHING, pods=2, stages=SHORT), runs=40) > 4


def test_without_leaving_warm_up_out_a_new_pod_is_a_bad_one() -> None:
    world = World(warm_up=True, pods=4, stages=SHORT, look=60.0)
    assert failed(Version(), Version(), world, runs=10) == 0
    assert failed(Version(), Version(), world, runs=10, margins=replace(MARGINS, warm_up=0.0)) > 5
