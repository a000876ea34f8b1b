"""The judge: counters with restarts, confidence bounds, alpha that is spent once, and false alarms counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from onlyvips.core.judge import alpha_of_look, increase, judge, lower_bound, overall, planned_looks
from onlyvips.core.plan import Guardrail, Stage

ERRORS = Guardrail("api-errors", "errors", 0.05)
LATENCY = Guardrail("api-latency", "latency", 0.05, bound=0.5)
STAGES = (Stage(10, 1800.0), Stage(25, 3600.0), Stage(50, 7200.0))


@pytest.mark.parametrize(("bad", "total"), [(1, 100), (5, 100), (20, 100), (99, 100), (100, 100), (7, 123456), (1, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.0001])
def test_the_lower_bound_is_clopper_and_pearsons(bad: int, total: int, alpha: float) -> None:
    reference = binomtest(bad, total, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    assert lower_bound(bad, total, alpha) == pytest.approx(reference, rel=1e-9)


def test_the_lower_bound_of_nothing_is_zero() -> None:
    assert lower_bound(0, 100, 0.05) == lower_bound(0, 0, 0.05) == 0.0


@pytest.mark.parametrize(
    ("points", "since", "grown"),
    [
        ([(1, 10), (2, 15), (3, 15)], 0, 15),
        ([(1, 10), (2, 15), (3, 18)], 1, 8),
        ([(1, 10), (2, 15), (3, 4), (4, 6)], 1, 11),
        ([(5, 3)], 4, 3),
        ([(5, 3)], 5, 0),
        ([], 0, 0),
        ([(1, 10), (2, 0), (3, 0)], 1, 0),
    ],
    ids=["born in sight", "since a moment", "restarted", "first increment", "not after", "no points", "restarted idle"],
)
def test_a_counter_grows_by_its_raw_samples(points: list[tuple[float, float]], since: float, grown: float) -> None:
    assert increase(points, since) == grown


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 30),
)
def test_a_counter_grows_by_what_happened_between_the_samples(events: list[tuple[int, bool]], since: int) -> None:
    value, points, expected = 0, [], 0
    for at, (more, restarts) in enumerate(events, start=1):
        # A restart is only visible when the new value is below the old one: what came before its scrape is not known.
        restarts = restarts and more < value
        value = more if restarts else value + more
        points.append((float(at), float(value)))
        expected += more if at > since else 0
    assert increase(points, float(since)) == expected


@pytest.mark.parametrize("looks", [1, 5, 210, 1000])
@pytest.mark.parametrize("guardrails", [1, 2, 5])
def test_all_looks_together_spend_less_than_alpha_however_many_there_are(looks: int, guardrails: int) -> None:
    planned = 210
    spent = sum(alpha_of_look(number, planned, guardrails, 0.05) for number in range(1, looks + 1)) * guardrails
    assert 0 < spent <= 0.05 * (1 + 1e-12)


def test_the_planned_looks_share_alike_and_later_ones_still_have_something() -> None:
    shares = [alpha_of_look(number, 3, 1, 0.06) for number in range(1, 6)]
    assert shares[:3] == [pytest.approx(0.01)] * 3
    assert shares[3] == pytest.approx(0.015) and shares[4] == pytest.approx(0.0075)


def test_the_plans_stages_need_210_looks_of_a_minute() -> None:
    assert planned_looks(STAGES, 60.0) == 30 + 60 + 120
    assert planned_looks((Stage(10, 5.0),), 60.0) == 1


def test_no_series_is_no_data_and_never_a_pass() -> None:
    assert judge(ERRORS, None, 0.01).verdict == "no-data"


@pytest.mark.parametrize("bad", [0, 50, 99])
def test_too_few_requests_decide_nothing(bad: int) -> None:
    value = judge(ERRORS, (bad, 99), 0.01)
    assert value.verdict == "too-few" and value.reason.startswith("99 of ")


@pytest.mark.parametrize(("bad", "verdict"), [(0, "pass"), (50, "pass"), (60, "pass"), (90, "fail"), (1000, "fail")])
def test_a_share_fails_only_when_it_is_surely_beyond_the_limit(bad: int, verdict: str) -> None:
    assert judge(ERRORS, (bad, 1000), 0.001).verdict == verdict


def test_more_bad_than_all_is_all() -> None:
    """Two counters of one pod are not scraped in the same instant."""
    value = judge(ERRORS, (105, 100), 0.01)
    assert (value.bad, value.total, value.share) == (100, 100, 1.0)


def test_every_value_carries_its_numbers_and_a_sentence() -> None:
    value = judge(LATENCY, (200, 1000), 0.01)
    assert (value.share, value.threshold, value.alpha) == (0.2, 0.05, 0.01)
    assert value.lower_bound == lower_bound(200, 1000, 0.01)
    assert value.reason.startswith("200 of 1000 requests slower than 500 ms")


def test_the_worst_guardrail_speaks_for_the_look() -> None:
    good, few = judge(ERRORS, (0, 1000), 0.01), judge(LATENCY, (0, 10), 0.01)
    none, bad = judge(LATENCY, None, 0.01), judge(ERRORS, (900, 1000), 0.01)
    assert overall([good, good])[0] == "pass"
    assert overall([good, few])[0] == "too-few"
    assert overall([good, few, none])[0] == "no-data"
    assert overall([none, bad])[0] == "fail" and "api-errors" in overall([none, bad])[1]
    assert overall([])[0] == "no-data"


def whole_canaries(share: float, canaries: int, seed: int) -> int:
    """How many of ``canaries`` fail at some look, each look judging its stage so far, 10 requests/s at 10 %."""
    random, planned, failed = np.random.default_rng(seed), planned_looks(STAGES, 300.0), 0
    for _ in range(canaries):
        number, fails = 0, False
        for stage in STAGES:
            bad = total = 0
            for _ in range(int(stage.hold // 300)):
                number += 1
                requests = 30 * stage.weight
                bad, total = bad + int(random.binomial(requests, share)), total + requests
                fails |= judge(ERRORS, (bad, total), alpha_of_look(number, planned, 2, 0.05)).verdict == "fail"
        failed += fails
    return failed


def test_a_version_well_inside_the_limit_raises_no_false_alarm() -> None:
    assert whole_canaries(0.01, canaries=100, seed=1) == 0


def test_a_version_exactly_at_the_limit_raises_fewer_false_alarms_than_alpha() -> None:
    canaries = 300
    alarms = whole_canaries(0.05, canaries, seed=2)
    upper = binomtest(alarms, canaries).proportion_ci(0.95, method="exact").high
    assert upper <= 0.05, f"{alarms} of {canaries}"


def test_a_version_with_twice_the_limit_is_always_found() -> None:
    assert whole_canaries(0.10, canaries=50, seed=3) == 50


def test_without_spending_alpha_by_looks_the_false_alarms_are_more_than_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "alpha_of_look", lambda *_: 0.05)
    assert whole_canaries(0.05, canaries=100, seed=2) > 10


def test_an_alpha_of_next_to_nothing_leaves_nothing_sure() -> None:
    assert lower_bound(5, 100, 1e-300) == 0.0
