"""Metrics' contract: counters of pods under traffic, simulated and scraped by a real Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.metrics_prometheus import PrometheusMetrics
from onlyvips.errors import Transient
from onlyvips.ports import Clock, Metrics
from tests.procedures.theatre import Theatre

REQUESTS = "api_request_total"
STABLE = {"app": "backend", "track": "stable"}


@dataclass
class Watched:
    """A metrics system that watches ``backend`` under traffic, and the time of its world."""

    metrics: Metrics
    clock: Clock
    traffic: Callable[[], object] = lambda: None

    def wait(self, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        until = self.clock.monotonic() + seconds
        while not (answer := condition()):
            assert self.clock.monotonic() < until, "this did not come about in time"
            self.clock.sleep(0.5)
        return answer

    def recent(self, metric: str = REQUESTS, seconds: float = 30.0, **labels: str) -> Any:
        now = self.metrics.now()
        return self.metrics.samples(metric, {**STABLE, **labels}, now - seconds, now)


@pytest.fixture(params=["simulator", pytest.param("prometheus", marks=pytest.mark.lab)])
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    if request.param == "simulator":
        theatre = Theatre()
        theatre.settle(30.0)
        yield Watched(theatre.platform.metrics, theatre.clock)
        return
    env = request.getfixturevalue("lab").env
    metrics, gateway = PrometheusMetrics(env["ONLYVIPS_LAB_PROMETHEUS_URL"]), env["ONLYVIPS_LAB_GATEWAY_URL"]
    found = Watched(metrics, SystemClock(), lambda: httpx.get(f"{gateway}/api/tasks", trust_env=False))
    found.traffic()
    found.wait(lambda: any(len(sample.points) > 3 for sample in found.recent()))
    yield found
    metrics._client.close()


def test_every_pod_has_its_own_series_with_the_labels_that_the_judge_asks_for(watched: Watched) -> None:
    found = watched.recent()
    for sample in found:
        labels = dict(sample.labels)
        assert STABLE.items() <= labels.items() and {"version", "pod"} <= labels.keys()
    assert len({dict(sample.labels)["pod"] for sample in found}) > 1
    assert len({sample.labels for sample in found}) == len(found)


def test_samples_are_raw_counts_in_order_of_time(watched: Watched) -> None:
    for sample in watched.recent():
        times, values = zip(*sample.points, strict=True)
        assert list(times) == sorted(times)
        assert list(values) == sorted(values) and all(value == int(value) for value in values)


def test_counters_grow_under_traffic(watched: Watched) -> None:
    def counted() -> float:
        return sum(float(sample.points[-1][1]) for sample in watched.recent())

    before = counted()
    watched.traffic()
    watched.wait(lambda: counted() > before)


def test_samples_lie_after_the_start_and_up_to_the_end(watched: Watched) -> None:
    whole = watched.wait(lambda: next((each for each in watched.recent() if len(each.points) > 3), None))
    start, end = whole.points[0][0], whole.points[2][0]
    labels = {key: value for key, value in whole.labels if key != "__name__"}
    (inside,) = watched.metrics.samples(REQUESTS, labels, start, end)
    assert inside.points == whole.points[1:3]
    assert watched.metrics.samples(REQUESTS, labels, start - 0.01, start)[0].points == whole.points[:1]


def test_the_same_question_about_the_past_has_the_same_answer(watched: Watched) -> None:
    now = watched.metrics.now()
    first = watched.metrics.samples(REQUESTS, STABLE, now - 20, now - 5)
    watched.clock.sleep(2.5)
    again = watched.metrics.samples(REQUESTS, STABLE, now - 20, now - 5)
    assert {each.labels: each.points for each in again} == {each.labels: each.points for each in first}


def test_all_labels_must_match(watched: Watched) -> None:
    assert watched.recent(version="no such version") == []
    assert watched.recent("no_such_metric") == []
    assert watched.recent(version='a"b\\c') == []


def test_the_buckets_of_durations_are_there_by_their_upper_bound(watched: Watched) -> None:
    metric = "api_request_duration_seconds"
    counts, quick = watched.recent(f"{metric}_count"), watched.recent(f"{metric}_bucket", le="0.5")
    assert counts and quick
    assert all(dict(sample.labels)["le"] == "0.5" for sample in quick)


def test_the_whole_histogram_of_stables_pods_is_had_by_one_question(watched: Watched) -> None:
    """What the judge compares a canary's with: each pod's buckets, the last of which has every request."""
    found = watched.recent("api_request_duration_seconds_bucket")
    bounds = {dict(sample.labels)["le"] for sample in found}
    assert "+Inf" in bounds and all(float(bound) > 0 for bound in bounds)
    assert {dict(each.labels)["pod"] for each in found} == {dict(each.labels)["pod"] for each in watched.recent()}


def test_a_counter_of_errors_that_never_happened_is_absent_or_zero(watched: Watched) -> None:
    assert all(value >= 0 for sample in watched.recent("api_errors_total") for _, value in sample.points)


def test_its_clock_goes_on(watched: Watched) -> None:
    before = watched.metrics.now()
    watched.clock.sleep(1.0)
    assert watched.metrics.now() > before


def test_nobody_answering_is_transient_and_not_no_data() -> None:
    metrics = PrometheusMetrics("http://127.0.0.1:1")
    with pytest.raises(Transient):
        metrics.now()
    with pytest.raises(Transient):
        metrics.samples(REQUESTS, STABLE, 0.0, 1.0)
    metrics._client.close()


def test_the_simulator_away_is_transient_and_scrapes_nothing() -> None:
    theatre = Theatre()
    theatre.settle(10.0)
    theatre.platform.metrics.prometheus_away(10.0)
    with pytest.raises(Transient):
        theatre.platform.metrics.now()
    with pytest.raises(Transient):
        theatre.platform.metrics.samples(REQUESTS, STABLE, 0.0, 1.0)
    theatre.settle(10.0)
    now = theatre.platform.metrics.now()
    assert theatre.platform.metrics.samples(REQUESTS, STABLE, now - 9.9, now - 0.1) == []
