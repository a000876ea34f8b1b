"""The record of a release of all services, and what its members hear of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core import group as groups
from onlyvips.core.decide import next_action
from onlyvips.core.group import Group, from_json, going_back, to_json
from onlyvips.core.hooks import HookRun
from onlyvips.core.many import next_step
from onlyvips.core.plan import HookPlan, ManyPlan
from onlyvips.core.record import Command, Step
from onlyvips.core.world import World
from onlyvips.errors import Permanent
from tests.core.decisions import ABORT, NEW, OLD, PLAN, RECORD, split

GROUP = Group("all-v2-ab12", "test", "v2", "Ada", "h", 1.0, ("backend", "miniapp"))
MANY = ManyPlan("test", ("backend", "miniapp"), PLAN.waits, 15.0)
MEMBER = replace(RECORD, id=GROUP.member("backend"), group=GROUP.id, phase="together", stable_replaced=True)
ALL = {"backend": MEMBER, "miniapp": replace(MEMBER, id=GROUP.member("miniapp"), service="miniapp")}
READY = replace(GROUP, backup="b", migration="m")
SERVED = replace(NEW, release=MEMBER.id)


def test_what_was_written_is_read_back() -> None:
    full = replace(
        GROUP,
        hooks=(HookRun("smoke", "complete", "ok"),),
        steps=(Step("a", "b", 1.0, 2.0, "c"),),
        commands=(Command("abort", "Ada", 1.0, "why"),),
        holders=("x",),
    )
    assert from_json(to_json(full)) == full
    for broken in ('{"schema": 9}', "[]", "{", to_json(full).replace('"services"', '"service"')):
        with pytest.raises(Permanent):
            from_json(broken)


def test_ids_of_members_follow_from_the_whole() -> None:
    assert GROUP.member("miniapp") == "miniapp-v2-ab12"
    assert groups.identity("v0.9.0", "x") == "all-v0-9-0-x"


@pytest.mark.parametrize(
    ("together", "expected"), [("undecided", "wait"), ("promoted", "evidence"), ("failed", "rollback")]
)
def test_a_member_that_is_there_waits_for_the_decision_about_all(together: str, expected: str) -> None:
    world = World(SERVED, None, split(0, listed=False), together=together)  # type: ignore[arg-type]
    for attended in (True, False):
        action = next_action(MEMBER, world, PLAN, attended=attended)
        assert expected in (action.kind, action.phase)


def test_the_end_of_the_way_forward_leads_a_member_to_the_others_and_a_single_release_to_its_evidence() -> None:
    world = World(SERVED, None, split(0, listed=False), together="undecided")
    through = replace(MEMBER, phase="promote")
    assert next_action(through, world, PLAN, attended=True).phase == "together"
    single = replace(through, group="")
    assert next_action(single, world, PLAN, attended=True).phase == "evidence"
    hooked = replace(PLAN, after=(HookPlan("smoke", "i:1", ("x",), 5.0),))
    assert next_action(single, world, hooked, attended=True).phase == "together"
    waiting = replace(single, phase="together")
    assert next_action(waiting, world, hooked, attended=True).kind == "run-hook"
    done = replace(waiting, hooks=(HookRun("smoke", "complete", ""),))
    assert next_action(done, world, hooked, attended=True).phase == "evidence"
    failed = replace(waiting, hooks=(HookRun("smoke", "failed", "404"),))
    assert next_action(failed, world, hooked, attended=True).phase == "rollback"


def test_stable_that_somebody_took_back_while_a_member_waits_takes_it_back() -> None:
    world = World(OLD, None, split(0, listed=False), together="undecided")
    assert next_action(MEMBER, world, PLAN, attended=True).phase == "rollback"


def test_members_hear_a_failure_as_an_abort_and_nothing_once_all_are_promoted() -> None:
    aborted = replace(GROUP, commands=(ABORT,))
    assert going_back(GROUP) is None and going_back(aborted) == ABORT
    told = going_back(replace(GROUP, decision="failed", reason="miniapp went back"))
    assert told is not None and told.reason == "miniapp went back"
    assert going_back(replace(aborted, decision="promoted")) is None


def test_unattended_all_go_back_unless_all_are_there() -> None:
    step = next_step(READY, ALL, MANY, attended=False)
    assert step is not None and step.kind == "promote"
    for missing in (None, replace(ALL["miniapp"], phase="promote"), replace(ALL["miniapp"], phase="migrate")):
        step = next_step(READY, {**ALL, "miniapp": missing}, MANY, attended=False)
        assert step is not None and step.kind == "fail" and "miniapp did not get" in step.reason


def test_they_go_back_in_reverse_and_an_abort_beats_everything_before_the_decision() -> None:
    step = next_step(replace(READY, commands=(ABORT,)), ALL, MANY, attended=True)
    assert step is not None and step.kind == "fail"
    back = next_step(replace(READY, decision="failed"), ALL, MANY, attended=True)
    assert back is not None and (back.kind, back.service) == ("back", "miniapp")
    left = {**ALL, "miniapp": replace(ALL["miniapp"], phase="closed", result="rolled-back")}
    back = next_step(replace(READY, decision="failed"), left, MANY, attended=True)
    assert back is not None and (back.kind, back.service) == ("back", "backend")


@pytest.mark.parametrize("decision", ["undecided", "promoted", "failed"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_person_is_told_where_it_stands_and_what_to_do(decision: str, closed: bool) -> None:
    group = replace(GROUP, decision=decision, closed=closed, reason="why")  # type: ignore[arg-type]
    assert groups.headline(group) and groups.advice(group) and GROUP.member("backend") in groups.markdown(group)
    assert groups.summary(group)["open"] is not closed
