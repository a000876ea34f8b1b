"""What a stage sees before it begins: as many canaries as the judge finds by chance, and the least excess it finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binomtest

from onlyvips.core.plan import Stage
from onlyvips.core.power import ERRORS_1, ERRORS_5, TWICE, Judging, Sight, Traffic, sights, twice
from tests.canaries import ALPHA, BOUNDS, FAULTS, MARGINS, METRICS, Version, World, failed

STAGE = Stage(10, 1800.0)
JUDGING = Judging((STAGE,), 300.0, MARGINS, ALPHA, METRICS)


def buckets(median: float) -> np.ndarray:
    return np.diff(ndtr((np.log(BOUNDS) - np.log(median)) / 0.6), prepend=0.0)


def traffic(rate: float, errors: float = 0.005) -> Traffic:
    return Traffic(rate, errors, 9, BOUNDS, tuple(buckets(0.06)))


def sight(rate: float, errors: float = 0.005, judging: Judging = JUDGING) -> Sight:
    return sights(judging, traffic(rate, errors), np.random.default_rng(1))[0]


@pytest.mark.parametrize(("fault", "rate"), [(ERRORS_5, 1.5), (ERRORS_1, 4.0), (ERRORS_1, 9.0), (TWICE, 0.9)])
def test_the_power_is_that_of_whole_canaries_by_chance(fault: str, rate: float) -> None:
    """Rates at which the judge finds some and misses some."""
    versions = dict(zip((ERRORS_5, TWICE, ERRORS_1), FAULTS.values(), strict=True))[fault]
    told = dict(sight(rate).powers)[fault]
    found = failed(*versions, World(rate=rate, stages=(STAGE,)), runs=100)
    both = [binomtest(round(count), 100).proportion_ci(0.99, method="exact") for count in (100 * told, float(found))]
    # Earlier looks find some that the last one does not.
    assert both[0].low - 0.1 <= both[1].high and both[1].low - 0.1 <= both[0].high, (told, found)


def test_ten_requests_a_second_of_its_own_see_each_reference_fault() -> None:
    assert all(power >= 0.95 for _, power in sight(100.0).powers)
    assert sight(100.0).requests == pytest.approx(10.0)


def test_a_stage_with_few_requests_is_blind_and_says_how_blind() -> None:
    few = sight(1.0)
    assert dict(few.powers)[ERRORS_1] < 0.3
    assert few.smallest is not None and few.smallest > 0.05
    assert sight(0.01).smallest is None


def test_the_least_excess_is_found_and_half_of_its_excess_over_the_margin_is_not() -> None:
    least = sight(10.0).smallest
    assert least is not None
    world = World(rate=10.0, stages=(STAGE,))
    assert failed(Version(0.005 + least), Version(0.005), world, runs=60) >= 54
    half = MARGINS.errors + (least - MARGINS.errors) / 2
    assert failed(Version(0.005 + half), Version(0.005), world, runs=60) < 54


def test_longer_holds_and_higher_weights_see_smaller_excesses() -> None:
    longer = replace(JUDGING, stages=(Stage(10, 7200.0),))
    higher = replace(JUDGING, stages=(Stage(50, 1800.0),))
    here = sight(5.0).smallest or 1.0
    assert (sight(5.0, judging=longer).smallest or 1.0) < here
    assert (sight(5.0, judging=higher).smallest or 1.0) < here


def test_twice_as_slow_moves_what_is_in_the_buckets() -> None:
    bounds = np.array([0.1, 0.2, 0.4, np.inf])
    assert twice(bounds, np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx([0.25, 0.25, 0.5, 0.0])
    assert twice(bounds, np.array([0.0, 0.0, 1.0, 0.0])) == pytest.approx([0.0, 0.0, 0.0, 1.0])
    slower = twice(np.array(BOUNDS), buckets(0.06))
    assert np.cumsum(slower) == pytest.approx(np.cumsum(buckets(0.12)), abs=0.06)


def test_without_a_histogram_nothing_is_said_of_latency() -> None:
    told = sights(JUDGING, Traffic(100.0, 0.0, 9), np.random.default_rng(1))[0]
    assert [name for name, _ in told.powers] == [ERRORS_5, ERRORS_1]
