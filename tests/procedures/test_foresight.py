"""What the stages of a plan will see at today's traffic, read from stable's counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.plan import Margins, ReleasePlan, Stage
from onlyvips.steps.foresight import foresight, warnings
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


def seen(metrics: SimMetrics, plan: ReleasePlan = PLAN) -> list[str]:
    return warnings(foresight(metrics, plan), plan)


def test_a_stage_with_enough_traffic_has_no_warning() -> None:
    told = foresight(scraped(rate=2000, errors=10), PLAN)
    assert [(one.number, one.doubts) for one in told] == [(1, ()), (2, ())]
    assert told[0].sight is not None and told[0].sight.requests == pytest.approx(10.0, rel=0.1)


def test_a_blind_stage_is_told_with_its_key_its_power_and_what_to_do() -> None:
    first = seen(scraped(rate=60, errors=0))[0]
    assert first.startswith(
        "strategies.canary.stages.0: stage 1 (10 % for 30 min): at today's traffic it gets about 0.28 requests/s, too "
        "few to be sure: of canaries "
    )
    assert "errors of 1 % against none it finds " in first
    assert first.endswith(
        "points more errors than today's; lengthen its hold or raise its weight, or watch it yourself."
    )


UNKNOWN = "so what would be seen cannot be said."


def test_what_is_so_of_several_stages_is_said_once() -> None:
    many = replace(PLAN, stages=(Stage(10, 1800.0), Stage(25, 3600.0), Stage(50, 7200.0)))
    for metrics in (SimMetrics(SimClock()), scraped(rate=0)):
        assert seen(metrics, many) == [
            "strategies.canary.stages: stages 1, 2 and 3: backend's stable counted no request in the last 15 min, "
            + UNKNOWN
        ]
    assert [one.sight for one in foresight(scraped(rate=0), PLAN)] == [None, None]


def test_a_metrics_system_that_is_away_is_a_warning_and_no_failure() -> None:
    metrics = scraped(rate=2000)
    metrics.prometheus_away()
    away = "today's traffic is not known (Prometheus did not answer: ConnectError), "
    assert seen(metrics) == [f"strategies.canary.stages: stages 1 and 2: {away}{UNKNOWN}"]


def test_a_stage_shorter_than_the_window_of_its_guardrails_is_told_once() -> None:
    rails = tuple(replace(rail, recent=300.0) for rail in PLAN.guardrails)
    short = replace(PLAN, guardrails=rails, stages=(Stage(50, 240.0),), waits=replace(PLAN.waits, look=60.0))
    names = " and ".join(rail.name for rail in rails)
    told = f"stage 1 (50 % for 4 min): shorter than the 5 min of {names}: lengthen its hold."
    assert seen(scraped(rate=20000), short) == [f"strategies.canary.stages.0: {told}"]


WARM = replace(PLAN, margins=None, stages=(Stage(100, 900.0),), service=replace(PLAN.service, strategy="blue-green"))


def test_the_warm_window_of_blue_green_is_called_so_and_a_quiet_one_is_told() -> None:
    assert seen(scraped(rate=2000), WARM) == []
    rails = tuple(replace(rail, minimum_requests=100) for rail in WARM.guardrails)
    (told,) = seen(scraped(rate=1), replace(WARM, guardrails=rails))
    assert told.startswith(
        "strategies.blue_green.keep_warm: the warm window of 15 min: at today's traffic it gets about 42 requests, and "
        "its guardrails need 100: it would be held for more of them, and go back after "
    )


def test_the_traffic_of_colours_is_found_without_a_track() -> None:
    metrics = SimMetrics(clock := SimClock())
    for minute in range(21):
        metrics.scraped("api_request_total", {"app": "backend", "version": "blue", "pod": "a"}, 6000.0 * minute)
        clock.sleep(60)
    assert seen(metrics, WARM) == []
