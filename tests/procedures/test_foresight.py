"""What the stages of a plan will see at today's traffic, read from stable's counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.plan import Margins, ReleasePlan, Stage
from onlyvips.steps.foresight import StageSight, foresight
from tests.core.decisions import PLAN as WITHOUT
from tests.simulators.clock import SimClock
from tests.simulators.metrics import SimMetrics

MARGINS = Margins(errors=0.0025, latency=0.05, minimum_requests=100, warm_up=60.0)
STAGES = (Stage(10, 1800.0), Stage(50, 7200.0))
PLAN = replace(WITHOUT, margins=MARGINS, stages=STAGES, waits=replace(WITHOUT.waits, look=300.0))
LABELS = {"app": "backend", "track": "stable", "version": "v1"}


def scraped(rate: int, errors: int = 0, seconds: int = 1200, before: int = 10**6) -> SimMetrics:
    """Three pods that had counted much ``before``, with requests and errors a minute each."""
    clock = SimClock()
    metrics = SimMetrics(clock)
    for minute in range(seconds // 60 + 1):
        for pod in range(3):
            labels = {**LABELS, "pod": f"backend-{pod}"}
            count = before + rate * minute
            metrics.scraped("api_request_total", labels, count)
            metrics.scraped("api_errors_total", labels, before / 2 + errors * minute)
            for bound, upto in (("0.1", 0.5), ("0.5", 1.0), ("+Inf", 1.0)):
                metrics.scraped("api_request_duration_seconds_bucket", {**labels, "le": bound}, upto * count)
        clock.sleep(60)
    return metrics


def seen(metrics: SimMetrics, plan: ReleasePlan = PLAN) -> tuple[StageSight, ...]:
    return foresight(metrics, plan)


def test_a_stage_with_enough_traffic_has_no_warning() -> None:
    told = seen(scraped(rate=2000, errors=10))
    assert [(one.number, one.warning) for one in told] == [(1, ""), (2, "")]
    assert told[0].sight is not None and told[0].sight.requests == pytest.approx(10.0, rel=0.1)


def test_a_blind_stage_is_told_with_its_power_and_what_to_do() -> None:
    first = seen(scraped(rate=60, errors=0))[0]
    assert first.warning.startswith(
        "Stage 1 (10 % for 30 min): at today's traffic it gets about 0.28 requests/s, too few to be sure; of canaries "
    )
    assert "errors of 1 % against none it finds " in first.warning
    assert first.warning.endswith(
        "points more errors than today's; lengthen its hold or raise its weight, or watch it yourself."
    )


def test_no_request_of_stable_is_a_warning_for_each_stage() -> None:
    for told in (seen(SimMetrics(SimClock())), seen(scraped(rate=0))):
        assert [one.sight for one in told] == [None, None]
        assert "backend's stable counted no request in the last 15 min" in told[1].warning


def test_a_metrics_system_that_is_away_is_a_warning_and_no_failure() -> None:
    metrics = scraped(rate=2000)
    metrics.prometheus_away()
    told = seen(metrics)
    assert "today's traffic is not known (Prometheus did not answer: ConnectError)" in told[0].warning


def test_a_stage_shorter_than_the_window_of_a_guardrail_is_told() -> None:
    rails = tuple(replace(rail, recent=300.0) for rail in PLAN.guardrails)
    short = replace(PLAN, guardrails=rails, stages=(Stage(50, 240.0),), waits=replace(PLAN.waits, look=60.0))
    assert f"it is shorter than the 5 min of {rails[0].name}" in seen(scraped(rate=20000), short)[0].warning


def test_without_margins_it_says_that_nothing_is_compared() -> None:
    told = seen(scraped(rate=2000), replace(PLAN, margins=None))
    assert told[0].warning == "Stage 1 (10 % for 30 min): it is judged by its guardrails alone, not beside stable."
