"""The judge's queries before a release: one that gives no series, or those of several places, is refused by its key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips.core.plan import BlueGreen, MetricNames, ReleasePlan
from onlyvips.errors import Refused
from onlyvips.steps.queries import check_queries
from tests.core.broken_environments import PRODUCTION
from tests.procedures.theatre import PLAN
from tests.simulators.clock import SimClock
from tests.simulators.metrics import SimMetrics

LABELS = {"app": "backend", "track": "stable", "version": "v1", "job": "pods"}
LOADED = environments.from_text(PRODUCTION, "production", "production.yaml")
REQUESTS, ERRORS, LATENCY = "api_request_total", "api_errors_total", "api_request_duration_seconds_bucket"


def line(key: str) -> int:
    return PRODUCTION[: PRODUCTION.index(f"\n    {key}: ") + 1].count("\n") + 1


def scraped(
    but: str = "", labels: dict[str, str] = LABELS, bound: str = "0.5", metrics: SimMetrics | None = None
) -> SimMetrics:
    """Two pods, scraped a minute ago; without one metric."""
    clock = SimClock()
    metrics = metrics or SimMetrics(clock)
    for pod in ("backend-1", "backend-2"):
        for metric in {REQUESTS, ERRORS, LATENCY} - {but}:
            more = {"le": bound} if metric == LATENCY else {}
            metrics.scraped(metric, {**labels, **more, "pod": pod}, 7.0)
    return metrics


def refused(metrics: SimMetrics, plan: ReleasePlan = PLAN) -> str:
    with pytest.raises(Refused) as told:
        check_queries(metrics, plan, LOADED.where)
    assert "nothing was changed" in str(told.value)
    return str(told.value)


def test_counters_of_every_metric_are_enough() -> None:
    check_queries(scraped(), PLAN, LOADED.where)


@pytest.mark.parametrize(
    ("metric", "key"), [(REQUESTS, "requests"), (ERRORS, "errors"), (LATENCY, "latency")], ids=lambda name: str(name)
)
def test_a_metric_without_series_is_refused_with_its_line_and_the_query(metric: str, key: str) -> None:
    (sentence,) = refused(scraped(but=metric)).splitlines()
    assert sentence.startswith(
        f"production.yaml:{line(key)}: monitoring.metrics.{key}: the judge's query "
        f'`{metric}{{app="backend",track="stable"}}` gave no series in the last 5 min'
    )


def test_a_name_of_the_environment_is_the_one_that_is_asked_for() -> None:
    names = MetricNames(errors="http_failures_total")
    assert "`http_failures_total{" in refused(scraped(), replace(PLAN, metrics=names))
    text = PRODUCTION.replace("errors: api_errors_total", "errors: http_failures_total")
    loaded = environments.from_text(text, "production", "production.yaml")
    assert environments.release_plan(loaded, "backend", "v1.0.0").metrics == names


def test_no_counter_of_errors_is_no_error_where_the_environment_says_so() -> None:
    plan = replace(PLAN, metrics=MetricNames(errors_may_be_absent=True))
    check_queries(scraped(but=ERRORS), plan, LOADED.where)
    assert "monitoring.metrics.requests" in refused(scraped(but=REQUESTS), plan)


def test_series_that_lack_the_label_are_told_with_two_of_them() -> None:
    labels = {name: value for name, value in LABELS.items() if name != "track"}
    first = refused(scraped(labels=labels)).splitlines()[0]
    assert (
        'and without more than `app` 2 series, such as {app="backend",job="pods",pod="backend-1",version="v1"} and {'
        in first
    )
    assert "have its pods scraped with it" in first


def test_series_of_several_places_are_refused_with_how_many_and_two_that_differ() -> None:
    metrics = scraped()
    twice = refused(scraped(labels={**LABELS, "job": "services"}, metrics=metrics))
    assert "gave series of several places (`job` is pods, services), which would be counted as one: 4 series" in twice
    assert 'job="pods",' in twice and 'job="services",' in twice and "scrape each pod once" in twice
    other = scraped(labels={**LABELS, "namespace": "staging"}, metrics=scraped())
    assert "(`namespace` is absent, staging)" in refused(other)


def test_series_by_which_no_canary_could_be_found_are_refused() -> None:
    labels = {name: value for name, value in LABELS.items() if name != "version"}
    assert "gave series without `version`, by which the canary's are found" in refused(scraped(labels=labels))


def test_a_limit_of_latency_between_two_buckets_is_refused_at_the_alert() -> None:
    sentence = refused(scraped(bound="0.25"))
    assert sentence.startswith(f"production.yaml:{line('api-latency')}: monitoring.alerts.api-latency.above: ")
    assert "has no bucket that ends at 0.5 s (it has 0.25), so api-latency could never be judged" in sentence


def test_a_metrics_system_that_is_away_has_a_sentence_of_its_own() -> None:
    metrics = scraped()
    metrics.prometheus_away()
    assert refused(metrics).endswith("Without it nobody can judge a release: nothing was changed; bring it back first.")


def test_a_colour_is_found_by_its_label() -> None:
    colours = BlueGreen("version", ("blue", "green"), ())
    service = replace(PLAN.service, strategy="blue-green")
    plan = replace(PLAN, blue_green=colours, service=service)
    check_queries(scraped(labels={"app": "backend", "version": "blue"}), plan, LOADED.where)
    assert "with `version` of blue or green, and without more than" in refused(scraped(), plan)


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_in_place_a_service_without_metrics_is_no_mistake_and_half_of_them_is(strategy: Any) -> None:
    plan = replace(PLAN, service=replace(PLAN.service, strategy=strategy))
    check_queries(SimMetrics(SimClock()), plan, LOADED.where)
    assert "monitoring.metrics.errors" in refused(scraped(but=ERRORS), plan)
