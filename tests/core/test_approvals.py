"""Where approvals are wanted, who may give them, what is answered, and what a plan shows of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips.core import approvals, forecast, report
from onlyvips.core.approvals import Answerer, points
from onlyvips.core.bulletin import News
from onlyvips.core.commands import answer
from onlyvips.core.decide import next_action
from onlyvips.core.evidence_page import page_of
from onlyvips.core.forecast import Found
from onlyvips.core.news import news
from onlyvips.core.past import hurried
from onlyvips.core.plan import Approvals
from onlyvips.core.record import Approval, Command, from_json, to_json
from onlyvips.core.world import World
from tests.core.broken_environments import PRODUCTION
from tests.core.decisions import IN_CANARY, IN_PROMOTE, OLD, PLAN, RECORD, TWO_PASSES, canary, split
from tests.core.test_forecast import AROUND

ALL = Approvals(before_traffic=True, stages=(25, 100), before_switch=True, within=3600.0)
ASKING = replace(PLAN, approvals=ALL)
WAITS = Approval("traffic", 100.0, 3700.0)
AWAITING = replace(RECORD, phase="awaiting-approval", approvals=(WAITS,))
AT_25 = replace(IN_CANARY, stage=1, approvals=(Approval("25", 100.0, 3700.0),))


def approve(by: str = "Bob", at: float = 200.0, what: str = "traffic", **more: Any) -> Command:
    return Command("approve", by, at, "fine", what, **more)


def test_where_an_environment_wants_them_follows_the_strategy() -> None:
    blue_green = replace(ASKING, service=replace(PLAN.service, strategy="blue-green"))
    rolling = replace(ASKING, service=replace(PLAN.service, strategy="rolling"))
    assert points(ASKING) == ["traffic", "25", "promotion"]
    assert points(blue_green) == ["traffic", "switch"] and points(rolling) == ["traffic"]
    assert points(PLAN) == [] and points(hurried(ASKING)) == [], "going back to an earlier release waits for nobody"


def test_production_wants_them_as_its_file_says() -> None:
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    plan = environments.release_plan(loaded, "backend", "v0.9.0")
    assert plan.approvals == Approvals(True, (50,), True, 14400.0, four_eyes=True)
    lines = forecast.lines(forecast.forecast(plan, "v0.9.0", Found("img:v1", 10), AROUND))
    shown = [number for number, line in enumerate(lines) if "APPROVAL" in line]
    assert len(shown) == 2 and "keep Deployment" in lines[shown[0] + 1] and "50 % of requests on" in lines[shown[1] + 1]
    assert "for at most 4 h; else it is closed, nothing was changed" in lines[shown[0]]
    assert "wait until somebody approves, not who started it" in lines[shown[1]] and "goes back" in lines[shown[1]]


WORLD_10 = World(OLD, canary(1), split(10), now=200.0)
FAILED = replace(AT_25, looks=(replace(TWO_PASSES[0], verdict="fail", stage=1),))
APPROVED = replace(AWAITING, commands=(approve(),))
PROVEN = replace(AWAITING, commands=(approve(proven=True),))
ABORTED = replace(APPROVED, commands=(approve(), Command("abort", "Ada", 1.0, "no")))


def at(now: float) -> World:
    return World(None, None, None, now=now)


TABLE: list[tuple[str, Any, World, bool, str]] = [
    ("asked for", replace(AT_25, approvals=()), WORLD_10, True, "ask approval 25"),
    ("waited for", AT_25, WORLD_10, True, "wait approval"),
    ("given", replace(AT_25, commands=(approve(what="25"),)), WORLD_10, True, "note approval 25"),
    ("of another stage", replace(AT_25, commands=(approve(what="10"),)), WORLD_10, True, "wait approval"),
    ("late", AT_25, replace(WORLD_10, now=3700.0), True, "enter rollback"),
    ("a failing look wins", FAILED, WORLD_10, True, "enter rollback"),
    ("nobody drives", AT_25, WORLD_10, False, "enter rollback"),
    ("the promotion", IN_PROMOTE, World(OLD, canary(4), split(100), now=200.0), True, "ask approval promotion"),
    ("before traffic", AWAITING, at(200.0), True, "wait approval"),
    ("before traffic, nobody", AWAITING, at(200.0), False, "wait approval"),
    ("approved", APPROVED, at(200.0), True, "enter prepare"),
    ("approved, nobody", APPROVED, at(200.0), False, "wait approval"),
    ("approved, nobody ever", APPROVED, at(4000.0), False, "enter evidence"),
    ("too late", replace(AWAITING, commands=(approve(at=3701.0),)), at(3702.0), True, "enter evidence"),
    ("aborted", ABORTED, at(0.0), True, "enter evidence"),
    ("wanted no more", replace(AWAITING, approvals=()), at(0.0), True, "enter prepare"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "world", "attended", "title"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_what_an_approval_lets_happen(record: Any, world: World, attended: bool, title: str) -> None:
    assert next_action(record, world, ASKING, attended=attended).title == title


NAMED = replace(ALL, by=("ada", "Bob"), at_least=2)
ANSWERS = [
    (AWAITING, ALL, Answerer("Bob", 200.0), "do", "Release r1 is approved before anything changes and goes on."),
    (AWAITING, ALL, Answerer("Bob", 200.0, "r1", "traffic"), "do", "is approved"),
    (AWAITING, ALL, Answerer("Bob", 200.0, "r0"), "refuse", "is for release r0, and r1 waits: nothing was noted"),
    (AWAITING, ALL, Answerer("Bob", 200.0, "r1", "25"), "refuse", "for before 25 % of requests, and release r1"),
    (AWAITING, ALL, Answerer("Bob", 3700.0), "refuse", "ended at 1970-01-01 01:01:40 UTC"),
    (AWAITING, replace(ALL, four_eyes=True), Answerer("ada", 200.0), "refuse", "another person has to approve"),
    (AWAITING, NAMED, Answerer("Eve", 200.0), "refuse", "Eve is not among those who may approve (ada, Bob)"),
    (AWAITING, NAMED, Answerer("Bob", 200.0), "do", "wants 1 more, by other people"),
    (APPROVED, NAMED, Answerer("bob", 300.0), "nothing", "already by Bob (claimed): fine"),
    (APPROVED, NAMED, Answerer("Ada", 300.0), "do", "and goes on"),
    (APPROVED, ALL, Answerer("Ada", 4000.0), "nothing", "already by Bob (claimed): fine"),
    (PROVEN, ALL, Answerer("Ada", 300.0), "nothing", "already by Bob: fine"),
    (AT_25, ALL, Answerer("Bob", 200.0), "do", "Release r1 is approved before 25 % of requests and goes on."),
    (IN_CANARY, ALL, Answerer("Bob", 200.0), "refuse", "Release r1 waits for no approval: nothing was noted."),
]  # fmt: skip


@pytest.mark.parametrize(("record", "asked", "who", "kind", "sentence"), ANSWERS)
def test_an_approval_is_answered_in_a_sentence(record: Any, asked: Any, who: Any, kind: str, sentence: str) -> None:
    found = answer(record, replace(PLAN, approvals=asked), "approve", who)
    assert found.kind == kind and sentence in found.sentence, found.sentence
    assert found.sentence[0].isupper() and found.sentence.endswith(".")


@pytest.mark.parametrize("name", ["hold", "resume", "promote"])
def test_nothing_but_an_approval_or_an_abort_is_asked_of_what_has_not_begun(name: Any) -> None:
    assert answer(AWAITING, ASKING, name).kind == "refuse"
    assert answer(AWAITING, ASKING, "abort").kind == "do"


def test_promote_now_says_where_it_stops() -> None:
    told = answer(IN_CANARY, ASKING, "promote").sentence
    assert told.endswith("It still waits for the approval before 25 % of requests.")
    assert "approval" not in answer(IN_CANARY, PLAN, "promote").sentence


def test_what_waits_is_told_with_since_until_and_the_command_to_type() -> None:
    waiting = next_action(AT_25, WORLD_10, ASKING, attended=True).reason
    command = "onlyvips release approve -e test -s backend --release r1 --before 25"
    assert waiting == (
        "an approval before 25 % of requests is wanted, since 1970-01-01 00:01:40 UTC, until 1970-01-01 01:01:40 UTC: "
        f"`{command} --reason WHY`"
    )
    assert report.advice(AT_25) == (
        f"`{command}` lets it go on, until 1970-01-01 01:01:40 UTC; `onlyvips release abort -e test -s backend` "
        "ends it."
    )
    assert report.advice(APPROVED).endswith(
        " Approved by Bob (claimed): fine: if that is enough and no run goes on with it, "
        "`onlyvips release start -e test -s backend --version v2` does."
    )
    assert "waits for an approval, nothing was changed yet" in report.headline(AWAITING)
    ended = replace(AWAITING, phase="closed", result="not-approved", reason="nobody approved it")
    assert report.headline(ended).endswith("was not approved: nobody approved it")
    assert report.advice(ended).startswith("Nothing was changed: backend serves on img:v1.")


def test_a_record_keeps_its_approvals_and_one_of_before_them_is_read() -> None:
    assert from_json(to_json(AWAITING)) == AWAITING
    assert approvals.pending(from_json(to_json(RECORD)).approvals) is None
    older = to_json(RECORD).replace(',"approvals":[]', "")
    assert '"approvals"' not in older and from_json(older) == RECORD


def test_evidence_lists_each_approval_with_who_gave_it_and_whether_that_is_proven() -> None:
    record = replace(
        RECORD,
        approvals=(replace(WAITS, outcome="approved", ended=300.0), Approval("25", 400.0, 4000.0, "expired", 4000.0)),
        commands=(approve(), approve("Eve", proven=True)),
    )
    page = page_of({"release": report.summary(record), "written": "now"})
    table = next(one for one in page.tables if one.title == "Approvals")
    assert table.rows[0][0] == "before anything changes" and table.rows[0][3:] == (
        "approved",
        "Bob (claimed): fine; Eve: fine",
    )
    assert table.rows[1][3:] == ("expired", "nobody")
    asked = next(one for one in page.tables if one.title == "What people asked")
    assert [row[1] for row in asked.rows] == ["approve traffic"] * 2


def told(record: Any, now: float = 500.0) -> dict[str, News]:
    return {one.key: one for one in news(record, ASKING, now, 900.0)}


def test_people_are_told_that_an_approval_is_wanted_was_given_or_expired() -> None:
    waiting = AWAITING.waits("approval", "an approval is wanted", 100.0)
    wanted = told(waiting)["approval-wanted:approval:100"]
    assert "onlyvips release approve -e test -s backend --release r1 --before traffic" in wanted.todo
    assert wanted.done == (
        "It waits, and changes nothing. Nothing was changed yet. Not approved until 1970-01-01 01:01:40 UTC, it is "
        "closed with nothing changed."
    )
    assert "escalation:approval:100" in told(waiting, now=1100.0)
    in_traffic = told(AT_25)["approval-wanted:approval:100"]
    assert "The canary has 10 % of requests" in in_traffic.done and "it goes back by itself" in in_traffic.done
    approved = told(replace(APPROVED, phase="prepare", approvals=(replace(WAITS, outcome="approved"),)))
    assert approved["approved:traffic"].happened == "Bob (claimed): fine."
    over = replace(AWAITING, phase="closed", result="not-approved", reason="nobody approved it in time")
    ended = told(replace(over, approvals=(replace(WAITS, outcome="expired"),)))
    assert set(ended) == {"started", "approval-expired:traffic"}
    assert ended["approval-expired:traffic"].done == "It was closed, nothing was changed."
    assert "approval-expired:25" in told(
        replace(AT_25, phase="rollback", approvals=(replace(AT_25.approvals[0], outcome="expired"),))
    )
    aborted = told(replace(over, approvals=(replace(WAITS, outcome="overtaken"),), reason="Ada asked for an abort"))
    assert aborted["not-approved"].title.startswith("Ended before anything changed")


def test_who_started_it_and_may_not_approve_is_named_where_people_are_asked() -> None:
    asking = replace(PLAN, approvals=replace(ALL, four_eyes=True, by=("Bob", "Eve")))
    wanted = {one.event: one for one in news(AWAITING, asking, 500.0, 900.0)}["approval-wanted"]
    assert "an approval by Bob or Eve (not by Ada, who started it) before anything changes" in wanted.happened


def test_what_was_approved_and_is_left_alone_is_told_once_nobody_went_on_with_it_for_long() -> None:
    assert [one for one in told(APPROVED, now=1000.0) if "approv" in one] == []
    left = told(APPROVED, now=1100.0)["escalation:approved:100"]
    assert "onlyvips release start -e test -s backend --version v2" in left.todo
    assert left.happened.startswith("Bob (claimed): fine; its run is gone")
    aborted = replace(APPROVED, commands=(*APPROVED.commands, Command("abort", "Ada", 1.0, "no")))
    assert "escalation:approved:100" not in told(aborted, now=1100.0)
