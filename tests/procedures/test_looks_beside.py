"""A look at a canary beside stable: worse than stable within every limit is found, and goes back with its numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from onlyvips.core.plan import Margins
from onlyvips.core.record import Look, Record, Value, from_json, to_json
from onlyvips.core.report import summary
from onlyvips.steps.looks import take_look
from tests.core.decisions import IN_CANARY
from tests.core.decisions import PLAN as WITHOUT
from tests.procedures.theatre import GOOD, Theatre
from tests.procedures.theatre import PLAN as WHOLE
from tests.simulators.clock import SimClock
from tests.simulators.metrics import SimMetrics
from tests.simulators.platform import Version

MARGINS = Margins(errors=0.0025, latency=0.05, minimum_requests=100, warm_up=10.0)
PLAN = replace(WITHOUT, margins=MARGINS)
WORSE, LAZY = "v0.9.0-worse", "v0.9.0-lazy"


class Pods:
    """Pods of both sides, scraped each second. Stable has counted for ten minutes when the stage begins."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.metrics = SimMetrics(self.clock)
        self.counts: dict[tuple[str, int], list[int]] = {}
        self.run(600, stable=(80, 0, 0))
        now = self.metrics.now()
        self.record: Record = replace(IN_CANARY, canary_since=now, stage_since=now)

    def run(self, seconds: int, **sides: tuple[int, int, int]) -> None:
        """Each pod's requests, errors and slow requests a second, by track."""
        for _ in range(seconds):
            self.clock.sleep(1)
            for track, more in sides.items():
                for pod in range(3):
                    counted = self.counts.setdefault((track, pod), [0, 0, 0])
                    counted[:] = [old + new for old, new in zip(counted, more, strict=True)]
                    self._scrape({"app": "backend", "track": track, "version": "v2", "pod": f"{track}-{pod}"}, counted)

    def _scrape(self, labels: dict[str, str], counted: list[int]) -> None:
        requests, errors, slow = counted
        self.metrics.scraped("api_request_total", labels, requests)
        self.metrics.scraped("api_errors_total", labels, errors)
        for bound, upto in (("0.5", requests - slow), ("+Inf", requests)):
            self.metrics.scraped("api_request_duration_seconds_bucket", {**labels, "le": bound}, upto)

    def look(self) -> Look:
        look = take_look(self.metrics, PLAN, self.record, at=self.clock.now(), elapsed=10.0)
        self.record = replace(self.record, looks=(*self.record.looks, look))
        return look

    def values(self) -> dict[str, Value]:
        return {value.name: value for value in self.look().values}


def test_a_canary_like_stable_passes() -> None:
    pods = Pods()
    pods.run(60, canary=(20, 0, 1), stable=(80, 0, 4))
    assert pods.look().verdict == "pass"


def test_more_errors_than_stable_fail_within_every_limit() -> None:
    pods = Pods()
    pods.run(40, canary=(50, 0, 0), stable=(80, 0, 0))
    pods.run(60, canary=(50, 2, 0), stable=(80, 0, 0))
    look = pods.look()
    assert look.verdict == "fail"
    assert look.reason.startswith("errors-beside-stable: 2.70% of 13350 requests errors, 0.00% of 21600 of stable's: +")
    assert [value.verdict for value in look.values if value.against is None] == ["pass"]


def test_slower_than_stable_fails() -> None:
    pods = Pods()
    pods.run(60, canary=(20, 0, 8), stable=(80, 0, 4))
    value = pods.values()["latency-beside-stable"]
    assert (value.verdict, value.share) == ("fail", pytest.approx(0.675))


def test_what_stable_counted_before_the_stage_does_not_count() -> None:
    pods = Pods()
    pods.run(20, canary=(20, 0, 0), stable=(80, 40, 0))
    value = pods.values()["errors-beside-stable"]
    assert value.against is not None
    assert (value.against.total, value.against.share) == (2400, 0.5)


def test_without_stables_counters_there_is_nothing_to_compare_with() -> None:
    pods = Pods()
    pods.run(60, canary=(20, 0, 0))
    look = pods.look()
    assert look.verdict == "no-data"
    assert "no fresh sample of stable" in look.reason


def test_the_first_moments_of_a_stage_decide_nothing() -> None:
    pods = Pods()
    pods.run(10, canary=(20, 5, 0), stable=(80, 0, 0))
    assert pods.values()["errors-beside-stable"].verdict == "too-few"


def test_guardrails_and_comparisons_share_alpha_alike() -> None:
    pods = Pods()
    pods.run(30, canary=(20, 0, 0), stable=(80, 0, 0))
    assert [value.alpha for value in pods.look().values] == [pytest.approx(PLAN.alpha / 3 / 2 / 6)] * 3


def test_the_record_keeps_both_values_effect_interval_and_p() -> None:
    pods = Pods()
    pods.run(30, canary=(20, 1, 0), stable=(80, 0, 0))
    pods.look()
    assert from_json(to_json(pods.record)) == pods.record
    assert pods.record.looks[0].values[1].against is not None


def test_what_looks_spent_of_alpha_is_in_the_record_and_told_to_machines() -> None:
    pods = Pods()
    for _ in range(3):
        pods.run(10, canary=(20, 0, 0), stable=(80, 0, 0))
        pods.look()
    pods.metrics.prometheus_away()
    assert pods.look().spent == 0.0
    assert [look.spent for look in pods.record.looks[:3]] == [pytest.approx(PLAN.alpha / 2 / 6)] * 3
    assert summary(pods.record)["alpha_spent"] == pytest.approx(PLAN.alpha / 4)


def released(version: str, margins: Margins | None) -> Record:
    theatre = Theatre(replace(WHOLE, margins=margins), rate=2000.0)
    theatre.platform.versions |= {WORSE: Version(errors=0.03), LAZY: Version(slow=0.045)}
    theatre.process("first").release(version)
    theatre.settle()
    assert theatre.platform.lost_requests == 0
    return theatre.record()


def test_a_release_that_is_worse_than_stable_goes_back_and_says_by_how_much() -> None:
    assert released(WORSE, None).result == "promoted"
    record = released(WORSE, MARGINS)
    assert record.result == "rolled-back"
    told = (
        r"failed: errors-beside-stable: 3\.00% of (\d+) requests errors, 0\.00% of (\d+) of stable's: \+3\.00 points \("
    )
    found = re.search(told, record.reason)
    assert found and int(found[1]) * 9 <= int(found[2]), record.reason  # a stage of 10 %
    assert re.search(r"margin 0\.25, p \S+e-0\d below 0\.001", record.reason), record.reason


@pytest.mark.parametrize("version", [GOOD, LAZY])
def test_a_release_like_stable_or_within_the_margin_is_promoted(version: str) -> None:
    assert released(version, MARGINS).result == "promoted"
