"""The canary beside stable: published and scipy's values, strata, margins, spread, counters cut into strata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logit, xlog1py, xlogy
from scipy.stats import barnard_exact, binom, brunnermunzel, mannwhitneyu, norm

from onlyvips.core.compare import _ranks, compare_errors, compare_latency
from onlyvips.core.judge import judge_against
from onlyvips.core.plan import Margins
from onlyvips.core.risk import WIDE, Sides, lugannani_rice, restricted
from onlyvips.core.spread import CLUMP
from onlyvips.core.strata import Cells, Counter, Counters, both_cells, edges

MARGINS = Margins(errors=0.0025, latency=0.05, minimum_requests=100, warm_up=60.0)


def one(*values: float) -> Any:
    return np.array(values, dtype=float)


def cells(requests: Any, errors: Any, buckets: Any = None) -> Cells:
    """One pod a row, one stratum a column."""
    n, x = np.atleast_2d(one(*requests)), np.atleast_2d(one(*errors))
    return Cells(n, x, np.array(buckets, float) if buckets is not None else n[:, :, None])


@pytest.mark.parametrize(
    ("a", "b", "low", "high"), [((56, 70), (48, 80), 0.0528, 0.3382), ((9, 10), (3, 10), 0.1700, 0.8406)]
)
def test_the_interval_is_miettinen_and_nurminens(a: Any, b: Any, low: float, high: float) -> None:
    """Newcombe, Stat. Med. 17 (1998), table II, examples (a) and (b)."""
    found = Sides.of(one(a[1]), one(a[0]), one(b[1]), one(b[0])).interval()
    assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_without_a_margin_the_score_is_the_pooled_one_of_nist_and_scipy() -> None:
    """NIST's Dataplot, "difference of proportion hypothesis test"; Miettinen and Nurminen's differs by N / (N - 1)."""
    score = Sides.of(one(70), one(56), one(80), one(48)).score(0.0)
    pooled = (56 / 70 - 48 / 80) / np.sqrt(104 / 150 * 46 / 150 * (1 / 70 + 1 / 80))
    assert score * np.sqrt(150 / 149) == pytest.approx(pooled, rel=1e-9)
    assert pooled == pytest.approx(barnard_exact([[56, 48], [14, 32]], pooled=True).statistic, rel=1e-9)


@pytest.mark.parametrize("margin", [0.0025, 0.2, -0.1, 0.0])
def test_no_shares_with_that_difference_are_likelier_than_the_restricted_ones(margin: float) -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        n, m = random.integers(1, 500, 2)
        x, y = random.integers(0, min(n, 1 + random.integers(n)) + 1), random.integers(0, min(m, 3) + 1)
        (first,), (second,) = restricted(one(x), one(n), one(y), one(m), margin)
        assert first - second == pytest.approx(margin, abs=1e-9)
        grid = np.append(np.linspace(max(0.0, -margin), min(1.0, 1 - margin), 2001), second)
        p, q = np.clip(grid + margin, 0, 1), grid
        likely = xlogy(x, p) + xlog1py(n - x, -p) + xlogy(y, q) + xlog1py(m - y, -q)
        assert likely[-1] >= likely[:-1].max() - 1e-6


@pytest.mark.parametrize(
    ("n", "x", "share"), [(100, 3, 0.0025), (1000, 12, 0.0025), (18000, 90, 0.0025), (60, 40, 0.5)]
)
def test_the_tail_of_few_errors_is_the_binomials_where_a_normal_is_wrong_by_orders(
    n: int, x: int, share: float
) -> None:
    exact = float(binom.sf(x - 1, n, share))
    assert exact <= lugannani_rice(one(n), logit(one(share)), one(1), x - 0.5) <= 1.35 * exact
    assert Sides.of(one(n), one(x), one(1e9), one(0)).tail(share) == pytest.approx(exact, rel=0.35)


def test_errors_in_clumps_are_as_unlikely_as_that_many_clumps() -> None:
    exact = float(binom.sf(8, 1_000_000, 2e-6))
    assert Sides.of(one(1e6), one(90), one(1e12), one(0)).tail(2e-5, clump=10.0) == pytest.approx(exact, rel=0.2)


def requests_of(counts: Any) -> Any:
    return np.repeat(np.arange(len(counts)), np.array(counts, int))


def test_the_rank_test_is_brunner_and_munzels_or_mann_and_whitneys_with_ties() -> None:
    c, s = [30, 40, 20, 10], [80, 70, 40, 10]
    found = compare_latency(cells([100], [0], [[c]]), cells([200], [0], [[s]]), 0.0)
    reference = mannwhitneyu(requests_of(c), requests_of(s), method="asymptotic", use_continuity=False)
    assert found.canary == pytest.approx(reference.statistic / (100 * 200))
    scale = np.sqrt(found.spread)
    ours = found.effect / ((found.high - found.effect) / WIDE) * scale
    theirs = abs(brunnermunzel(requests_of(c), requests_of(s), distribution="normal").statistic)
    ranks = found.effect / np.sqrt(float(_ranks(one(*c)[None], one(*s)[None])[0]))
    assert ranks == pytest.approx(float(norm.isf(reference.pvalue / 2)), rel=1e-6)
    assert ours == pytest.approx(min(theirs, ranks), rel=1e-6)


def test_strata_are_weighed_as_van_elteren_does_and_not_pooled() -> None:
    c, s = [[10, 90], [90, 10]], [[10, 90], [900, 100]]
    found = compare_latency(cells([100, 100], [0, 0], [c]), cells([100, 1000], [0, 0], [s]), 0.05)
    assert found.canary == pytest.approx(0.5)


SIMPSON = cells([100, 1000], [1, 200]), cells([9000, 1000], [90, 200])
"""1 % of both, then 20 % of both, when the canary has most of its requests in the second look."""


def test_rates_that_drift_while_the_weight_changes_are_not_the_canarys_fault() -> None:
    found = compare_errors(*SIMPSON, 0.0025)
    assert found.effect == pytest.approx(0.0) and found.p == 1.0


def test_pooled_over_looks_the_same_counts_would_be_a_failure() -> None:
    pooled = [
        Cells(*(counts.sum(1, keepdims=True) for counts in (one.requests, one.errors, one.buckets))) for one in SIMPSON
    ]
    assert compare_errors(pooled[0], pooled[1], 0.0025).effect > 0.03


def test_sparse_errors_against_none_are_caught_and_within_the_margin_are_not() -> None:
    def p(errors: int, margin: float, strata: int = 12) -> float:
        return compare_errors(cells([600] * strata, [errors] * strata), cells([20000] * strata, [0] * strata), margin).p

    assert p(6, 0.0025) < 1e-6
    assert p(6, 0.0025, strata=3) > 1e-3
    assert p(1, 0.0025) > 0.5
    assert p(1, 0.0) < 0.01


def test_errors_that_come_all_at_once_are_one_event_until_others_show_that_they_come_singly() -> None:
    """A dozen in one look, beside stable without an error or with one here and there."""
    burst, even = cells([600] * 12, [12] + [0] * 11), cells([600] * 12, [1] * 12)
    none = cells([20000] * 12, [0] * 12)
    singles = Cells(np.full((9, 12), 2000.0), np.eye(9, 12), np.full((9, 12, 1), 2000.0))
    assert compare_errors(burst, none, 0.0).spread == CLUMP > compare_errors(burst, singles, 0.0).spread
    assert compare_errors(even, none, 0.0).spread == 1.0
    assert compare_errors(burst, none, 0.0).p > 1e-4 > 1e-6 > compare_errors(burst, singles, 0.0).p


def test_pods_of_stable_that_differ_widen_what_the_canary_is_allowed() -> None:
    def against(*errors: float) -> float:
        stable = Cells(np.full((4, 6), 6000.0), np.repeat(one(*errors)[:, None], 6, 1), np.full((4, 6, 1), 6000.0))
        return compare_errors(cells([600] * 6, [20] * 6), stable, 0.0025).p

    assert against(30, 30, 30, 30) < 1e-9 < 1e-2 < against(10, 20, 30, 60)


def test_three_errors_in_a_hundred_are_not_yet_a_fault() -> None:
    """A normal's p is 2e-8, the binomial's 2e-3."""
    assert compare_errors(cells([100], [3]), cells([100000], [0]), 0.0025).p > 1e-3


@pytest.mark.parametrize("errors", [[0, 0, 90, 0, 0, 90], [30] * 6], ids=["bursts on one pod", "even"])
def test_bursts_on_pods_of_stable_widen_what_the_canary_is_allowed(errors: list[int]) -> None:
    stable = Cells(
        np.full((2, 6), 6000.0), np.array([errors, errors[1:] + errors[:1]], float), np.full((2, 6, 1), 6000.0)
    )
    found = compare_errors(cells([600] * 6, [30] * 6), stable, 0.0025)
    assert (found.p > 0.001) == (errors[0] == 0)
    assert (found.spread > 20) == (errors[0] == 0)


def test_nothing_to_compare_decides_nothing() -> None:
    nothing = cells([0, 0], [0, 0])
    values = judge_against(nothing, cells([900, 900], [0, 0]), MARGINS, 0.01)
    assert [value.verdict for value in values] == ["too-few", "too-few"]
    assert [value.verdict for value in judge_against(nothing, None, MARGINS, 0.01)] == ["no-data", "no-data"]


@pytest.mark.parametrize(("canary", "stable", "who"), [(99, 5000, "the canary"), (5000, 99, "stable")])
def test_too_few_requests_of_either_side_are_no_pass_and_no_failure(canary: int, stable: int, who: str) -> None:
    errors, latency = judge_against(cells([canary], [canary]), cells([stable], [0]), MARGINS, 0.01)
    assert (errors.verdict, latency.verdict) == ("too-few", "too-few")
    assert errors.reason.startswith(f"99 of the 100 requests of {who}")


def test_a_failure_says_both_values_the_effect_its_interval_p_and_what_p_was_compared_with() -> None:
    canary = cells([50] * 12, [2, 3] * 6, [[[0, 25, 25]] * 12])
    stable = cells([450] * 12, [2, 2, 2, 3] * 3, [[[225, 225, 0]] * 12])
    errors, latency = judge_against(canary, stable, MARGINS, 1e-4)
    assert (errors.verdict, latency.verdict) == ("fail", "fail")
    assert errors.reason.startswith("5.00% of 600 requests errors, 0.50% of 5400 of stable's: +4.50 points (")
    assert "margin 0.25, p " in errors.reason and errors.reason.endswith(
        "below 0.0001; of 1 pod, whose own fault it may be)"
    )
    assert latency.reason.startswith("slower than stable 87.5% of the time (")
    assert errors.against is not None
    assert (errors.bad, errors.total, errors.against.total, errors.against.pods) == (30, 600, 5400, 1)
    assert errors.against.low < errors.against.effect < errors.against.high and errors.against.p < 1e-4


def counter(*points: tuple[float, float], pod: str = "a", bound: float = 0.0) -> Counter:
    return Counter(pod, points, bound)


def cut(requests: list[Counter], errors: list[Counter], buckets: list[Counter], warm_up: float = 0.0) -> Cells:
    side = Counters(requests, errors, buckets)
    return both_cells(side, side, edges(100, 130, 10), warm_up)[0]


def test_strata_are_looks_and_the_last_one_ends_where_time_does() -> None:
    assert list(edges(100, 130, 10)) == [100, 110, 120, 130]
    assert list(edges(100, 125, 10)) == [100, 110, 120, 125]
    assert list(edges(100, 95, 10)) == [100]


def test_counters_are_cut_by_pod_and_look_with_restarts_and_errors_seen_late() -> None:
    requests = [counter((90, 50), (105, 60), (115, 75), (125, 5)), counter((90, 1), (105, 3), pod="b")]
    found = cut(requests, [counter((115, 4), (125, 1))], [])
    assert found.requests.tolist() == [[10, 15, 5], [2, 0, 0]]
    assert found.errors.tolist() == [[0, 4, 1], [0, 0, 0]]


def test_a_pods_first_minute_and_the_one_after_a_restart_do_not_count() -> None:
    requests = [counter((90, 0), (100, 50), (105, 60), (111, 75), (115, 5), (119, 9), (126, 12))]
    found = cut(requests, [counter((104, 9), (111, 10), (119, 2), (126, 3))], [], warm_up=10.0)
    assert found.requests.tolist() == [[0, 15, 3]]
    assert found.errors.tolist() == [[0, 1, 1]]


def test_buckets_are_what_both_histograms_have_each_without_the_ones_below() -> None:
    def histogram(*bounds: float) -> Counters:
        buckets = [counter((90, 0), (105, 10 * place), bound=bound) for place, bound in enumerate(bounds, start=1)]
        return Counters([counter((90, 0), (105, 40))], [], buckets)

    canary, stable = both_cells(histogram(0.1, 0.5, np.inf), histogram(0.1, 0.2, 0.5, np.inf), edges(100, 110, 10), 0.0)
    assert canary.buckets.tolist() == [[[10, 10, 10]]]
    assert stable.buckets.tolist() == [[[10, 20, 10]]]


def test_a_look_needs_requests_of_both_sides_to_count() -> None:
    found = compare_errors(cells([100, 500], [0, 500]), cells([100, 0], [0, 0]), 0.0025)
    assert (found.requests, found.p) == (100, 1.0)
