"""What people are told of a release: each thing once, whoever reads the record, and never what was overtaken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.bulletin import News
from onlyvips.core.news import news, untold
from onlyvips.core.record import Look, Record, Told, from_json, to_json
from tests.core.decisions import ABORT, GOING_BACK, IN_CANARY, IN_PROMOTE, PLAN, RECORD, look

ESCALATE, NOW = 900.0, 10_000.0


def told(record: Record, now: float = NOW) -> dict[str, News]:
    found = news(record, PLAN, now, ESCALATE)
    assert len({one.key for one in found}) == len(found)
    return {one.event: one for one in found}


def blind(at: float, verdict: Any = "no-data") -> Look:
    return Look(at, 0, 10, 10.0, verdict, "Prometheus did not answer")


def test_a_release_that_begins_says_who_asked_for_what_and_how_to_stop_it() -> None:
    started = told(RECORD)["started"]
    assert "Ada asked for img:v2; img:v1 serves" in started.happened
    assert "onlyvips release abort -e test -s backend" in started.todo


def test_each_message_says_what_happened_what_was_done_what_to_do_and_where_to_look() -> None:
    for one in told(replace(GOING_BACK, stage=1)).values():
        lines = one.message("https://prefect/run").body.splitlines()
        heads = [line.partition(": ")[0] for line in lines]
        assert heads == ["What happened", "What the system did", "What you must do", "See"]
        assert all(line.partition(": ")[2].strip() for line in lines)
        assert lines[-1] == "See: https://prefect/run"


def test_a_stage_that_passed_is_told_with_what_was_seen_of_it() -> None:
    record = replace(IN_CANARY, stage=1, looks=(look("too-few"), replace(look("pass"), reason="2 of 900 errors")))
    found = news(record, PLAN, NOW, ESCALATE)
    assert [one.key for one in found] == ["started", "stage-1-passed"]
    assert found[1].happened == "10 % of requests for 20 s: 2 of 900 errors."
    assert "next is 25 %" in found[1].done


def test_promotion_means_that_the_last_stage_passed_too() -> None:
    keys = [one.key for one in news(IN_PROMOTE, PLAN, NOW, ESCALATE)]
    assert keys == ["started", "stage-1-passed", "stage-2-passed", "stage-3-passed"]


def test_going_back_is_told_at_once_and_not_any_more_when_it_is_done() -> None:
    assert told(GOING_BACK)["going-back"].happened == "it failed."
    done = told(replace(GOING_BACK, phase="evidence", result="rolled-back"))
    assert "going-back" not in done
    assert "was rolled back: it failed" in done["rolled-back"].happened
    assert "img:v1" in done["rolled-back"].todo


def test_promoted_is_told_as_good_news() -> None:
    found = told(replace(RECORD, phase="closed", result="promoted"))["promoted"]
    assert (found.severity, found.todo) == ("good", "Nothing to do.")


@pytest.mark.parametrize(("what", "expected"), [("drift", True), ("gone", True), ("route", False)])
def test_only_a_wait_that_a_person_must_end_is_told_as_held(what: str, expected: bool) -> None:
    assert ("held" in told(IN_CANARY.waits(what, "somebody did it", NOW - 1))) is expected


def test_a_hold_is_one_thing_however_its_sentence_changes_and_another_when_it_comes_again() -> None:
    held = IN_CANARY.waits("drift", "40 %", 100.0)
    assert told(held)["held"].key == told(held.waits("drift", "60 %", 200.0))["held"].key
    assert told(held)["held"].key != told(held.intend("look", "", 1.0).waits("drift", "40 %", 300.0))["held"].key


def test_an_unanswered_hold_is_escalated_once_it_lasts_and_is_over_when_answered() -> None:
    held = IN_CANARY.waits("drift", "the route shows 40 %", NOW - ESCALATE)
    assert "escalation" not in told(held, NOW - 1)
    escalation = told(held)["escalation"]
    assert "For 15 min: the route shows 40 %" in escalation.happened
    assert escalation.key == told(held, NOW + 500)["escalation"].key
    assert "escalation" not in told(held.intend("look", "it is put right", NOW))


def test_a_wait_that_is_meant_to_be_long_is_no_pause() -> None:
    """The old colour is kept warm, the other services of the release are not there yet."""
    assert set(told(IN_CANARY.waits("together", "the other services are not there yet", NOW - 10 * ESCALATE))) == {
        "started"
    }


def test_a_way_back_that_waits_for_pods_for_long_is_escalated_too() -> None:
    stuck = GOING_BACK.waits("stable-ready", "0 of 4 pods are ready", NOW - ESCALATE)
    assert "held" not in told(stuck)
    assert "in phase rollback" in told(stuck)["escalation"].done


def test_metrics_that_stay_away_are_told_as_held_and_one_late_scrape_is_not() -> None:
    assert "held" not in told(replace(IN_CANARY, looks=(blind(100.0),)))
    record = replace(IN_CANARY, looks=(look("pass"), blind(NOW - ESCALATE), blind(NOW, "error")))
    assert "Prometheus did not answer" in told(record)["held"].happened
    assert "escalation" in told(record)
    assert "held" not in told(replace(record, looks=(*record.looks, look("pass"))))


def test_what_was_told_to_one_target_is_still_untold_to_another_and_what_failed_is_untold() -> None:
    known = (Told("started", "slack", 1.0), Told("started", "pager", 1.0, "it did not answer"))
    record = replace(RECORD, told=known)
    found = news(record, PLAN, NOW, ESCALATE)
    assert [len(untold(found, record, target)) for target in ("slack", "pager", "mail")] == [0, 1, 1]


def test_the_record_keeps_what_was_told() -> None:
    record = replace(RECORD, told=(Told("started", "slack", 1.0),), commands=(ABORT,)).waits("drift", "why", 3.0)
    assert from_json(to_json(record)) == record
