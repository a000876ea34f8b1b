"""A look of the judge: what counts as data, and what does not."""

from __future__ import annotations

from dataclasses import replace

from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Look, Record
from onlyvips.steps.looks import take_look
from tests.core.decisions import IN_CANARY, PLAN
from tests.simulators.clock import SimClock
from tests.simulators.metrics import SimMetrics

LABELS = {"app": "backend", "track": "canary", "version": "v2", "pod": "backend-canary-1"}


class Scraped:
    """A canary's counters, scraped each second while ``run`` lets time go by."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.metrics = SimMetrics(self.clock)
        self.record: Record = replace(IN_CANARY, canary_since=self.metrics.now(), stage_since=self.metrics.now())
        self.requests = self.errors = 0
        self.exports_errors = True

    def run(self, seconds: int, rate: int, errors: int = 0, scraped: bool = True) -> None:
        for _ in range(seconds):
            self.clock.sleep(1)
            self.requests, self.errors = self.requests + rate, self.errors + errors
            if scraped:
                self._scrape()

    def _scrape(self) -> None:
        self.metrics.scraped("api_request_total", LABELS, self.requests)
        if self.exports_errors:
            self.metrics.scraped("api_errors_total", LABELS, self.errors)
        self.metrics.scraped("api_request_duration_seconds_count", LABELS, self.requests)
        for rail in PLAN.guardrails:
            if rail.kind == "latency":
                labels = {**LABELS, "le": f"{rail.bound:g}"}
                self.metrics.scraped("api_request_duration_seconds_bucket", labels, self.requests)

    def look(self, plan: ReleasePlan = PLAN) -> Look:
        look = take_look(self.metrics, plan, self.record, at=self.clock.now(), elapsed=PLAN.waits.look)
        self.record = replace(self.record, looks=(*self.record.looks, look))
        return look


def test_enough_good_requests_pass() -> None:
    scraped = Scraped()
    scraped.run(20, rate=20)
    assert scraped.look().verdict == "pass"


def test_a_version_that_counts_no_errors_any_more_is_no_data_unless_the_environment_allows_it() -> None:
    """A counter that was renamed must not read as no error."""
    scraped = Scraped()
    scraped.exports_errors = False
    scraped.run(20, rate=20, errors=20)
    assert scraped.look().verdict == "no-data"
    allowed = replace(PLAN, metrics=replace(PLAN.metrics, errors_may_be_absent=True))
    assert scraped.look(allowed).verdict == "pass"


def test_counters_that_nobody_scrapes_any_more_are_no_data() -> None:
    """The first good minutes must not vouch for the hours after the target was lost."""
    scraped = Scraped()
    scraped.run(20, rate=20)
    assert scraped.look().verdict == "pass"
    scraped.run(int(3 * PLAN.waits.look) + 1, rate=20, errors=20, scraped=False)
    assert scraped.look().verdict == "no-data"


def test_a_canary_without_new_requests_proves_nothing_new() -> None:
    scraped = Scraped()
    scraped.run(20, rate=20)
    assert scraped.look().verdict == "pass"
    scraped.run(20, rate=0)
    look = scraped.look()
    assert look.verdict == "too-few"
    assert "no request since the last look" in look.reason


def test_errors_of_one_look_fail_it() -> None:
    scraped = Scraped()
    scraped.run(20, rate=20, errors=5)
    look = scraped.look()
    assert look.verdict == "fail"
    assert "over the limit" in look.reason


def test_an_outage_of_the_metrics_system_is_an_error_and_no_verdict() -> None:
    scraped = Scraped()
    scraped.run(20, rate=20)
    scraped.metrics.prometheus_away()
    assert scraped.look().verdict == "error"


def test_errors_stay_counted_when_their_series_ended_with_its_pod() -> None:
    """Fresh requests of another pod must not turn the errors of the one that died into none."""
    scraped = Scraped()
    scraped.run(20, rate=20, errors=10)
    alive = {**LABELS, "pod": "backend-canary-2"}
    for second in range(int(3 * PLAN.waits.look) + 1):
        scraped.clock.sleep(1)
        scraped.metrics.scraped("api_request_total", alive, second)
    look = scraped.look()
    assert look.values[0].bad > 100
    assert look.verdict == "fail"


def test_hours_of_good_answers_do_not_hide_an_outage_of_minutes() -> None:
    watchful = replace(PLAN, guardrails=(replace(PLAN.guardrails[0], recent=60.0),))
    scraped = Scraped()
    scraped.run(3600, rate=20)
    assert scraped.look(watchful).verdict == "pass"
    scraped.run(60, rate=20, errors=20)
    look = scraped.look(watchful)
    assert look.verdict == "fail"
    assert "in the last 60 s: 1200 of 1200 requests errors" in look.reason
    assert scraped.look(PLAN).verdict == "pass"


def test_a_quiet_minute_is_not_few_requests_when_the_stage_has_seen_enough() -> None:
    watchful = replace(PLAN, guardrails=(replace(PLAN.guardrails[0], recent=10.0),))
    scraped = Scraped()
    scraped.run(100, rate=20)
    scraped.run(10, rate=1)
    assert scraped.look(watchful).verdict == "pass"


def test_the_last_minutes_pay_for_their_own_looks() -> None:
    """Half of alpha for the stage, half for its last minutes: together no more false alarms than before."""
    watchful = replace(PLAN, guardrails=(replace(PLAN.guardrails[0], recent=10.0),))
    scraped = Scraped()
    scraped.run(20, rate=20)
    (both,), (alone,) = scraped.look(watchful).values, Scraped.look(scraped, PLAN).values
    assert both.alpha == alone.alpha / 2


def test_looks_beyond_the_planned_ones_may_spend_ever_less_and_an_outage_spends_nothing() -> None:
    """Else a canary that is held long enough fails by chance."""
    scraped = Scraped()
    alphas = []
    for _ in range(8):
        scraped.run(10, rate=20)
        alphas.append(scraped.look().values[0].alpha)
        scraped.metrics.prometheus_away(1.0)
        assert scraped.look().values == ()
    share = PLAN.alpha / 2
    assert alphas == [share / 6] * 6 + [share / 2, share / 4]


def test_a_stage_is_judged_by_what_came_after_its_beginning_alone() -> None:
    """Good hours at a low weight must not water down what is bad at a high one."""
    scraped = Scraped()
    scraped.run(100, rate=20)
    scraped.record = replace(scraped.record, stage=1, stage_since=scraped.metrics.now())
    scraped.run(10, rate=20, errors=2)
    value = scraped.look().values[0]
    assert (value.bad, value.total, value.verdict) == (20, 200, "fail")


def test_another_version_with_the_same_track_does_not_count() -> None:
    """What the canary before left in the metrics system, or somebody's own pods with that label."""
    scraped = Scraped()
    other = {**LABELS, "version": "v1", "pod": "backend-canary-9"}
    for number in range(20):
        scraped.metrics.scraped("api_request_total", other, 1000 * number)
        scraped.metrics.scraped("api_errors_total", other, 1000 * number)
        scraped.run(1, rate=20)
    value = scraped.look().values[0]
    assert (value.bad, value.total) == (0, 400)


def test_stable_does_not_count_even_with_the_same_version_label() -> None:
    scraped = Scraped()
    other = {**LABELS, "track": "stable", "pod": "backend-1"}
    for number in range(20):
        scraped.metrics.scraped("api_request_total", other, 1000 * number)
        scraped.run(1, rate=20)
    assert scraped.look().values[0].total == 400
