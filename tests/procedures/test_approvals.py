"""Approvals: nothing changes, or rises, until people said yes; nobody answers, somebody aborts, hands change things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.record import Command
from onlyvips.errors import Refused
from onlyvips.steps import opening
from onlyvips.steps.opening import Start
from tests.procedures.approvals import ASKING, EVERYWHERE, WITHIN, Asked
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre import GOOD, IMAGE, OLD, Process
from tests.simulators.platform import Version


def asking(**more: Any) -> Asked:
    return Asked(replace(ASKING, approvals=replace(EVERYWHERE, **more)))


def later(theatre: Asked, seconds: float, do: Any) -> None:
    theatre.clock.after(seconds, do)


def test_a_release_waits_at_each_point_and_goes_on_when_it_is_approved() -> None:
    theatre = asking()
    theatre.keep_approving(every=100.0)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    told = [(one.what, one.outcome) for one in record.approvals]
    assert told == [("traffic", "approved"), ("50", "approved"), ("promotion", "approved")]
    assert [command.what for command in record.commands] == ["traffic", "50", "promotion"]
    assert theatre.route_writes == [25, 50, 100, 0]
    assert all(one.ended - one.since > 20.0 for one in record.approvals)


def test_before_traffic_nothing_but_the_record_is_written_and_nobody_holds_the_lease() -> None:
    theatre, seen = asking(), list[str]()
    process = theatre.process("first")

    def look() -> None:
        lease = theatre.cluster.get("Lease", "onlyvips-release-backend")
        seen.append(str((lease or {"spec": {}})["spec"].get("holderIdentity")))
        seen.extend(kind for _, kind in process.written if kind not in ("Lease", "ConfigMap"))
        theatre.keep_approving()

    later(theatre, WITHIN - 100.0, look)
    process.release(GOOD)
    assert seen == [""]
    theatre.assert_outcome("promoted")


def test_a_stage_that_is_not_approved_is_judged_meanwhile_and_goes_back_at_the_deadline() -> None:
    theatre = asking(before_traffic=False)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert record.reason == "nobody approved it before 50 % of requests within 5 min"
    assert theatre.route_writes == [25, 0]
    assert [one.outcome for one in record.approvals] == ["expired"]
    waited = [look for look in record.looks if look.at > record.approvals[0].since]
    assert len(waited) > 20 and {look.weight for look in waited} == {25}


def test_a_version_that_turns_bad_while_people_think_goes_back() -> None:
    theatre = asking(before_traffic=False)

    def turn() -> None:
        theatre.platform.versions[GOOD] = Version(errors=0.5)

    theatre.process("first").release(GOOD, Once("ask-approval", turn))
    record = theatre.assert_outcome("rolled-back")
    assert "api-errors" in record.reason and [one.outcome for one in record.approvals] == ["overtaken"]


@pytest.mark.parametrize("seconds", [50.0, 290.0])
def test_an_abort_ends_a_release_that_waits_before_traffic_also_after_its_approval(seconds: float) -> None:
    theatre = asking()
    process = theatre.process("first")

    def both() -> None:
        theatre.approve()
        theatre.abort()

    later(theatre, seconds, both)
    process.release(GOOD)
    assert theatre.assert_untouched().reason == "Ada asked for an abort: looks odd"


def test_an_approval_after_an_abort_changes_nothing() -> None:
    theatre = asking()
    theatre.keep_approving()

    def press() -> None:
        theatre.abort()
        theatre.approve(what="50")

    theatre.process("first").release(GOOD, Once("ask-approval", press))
    assert theatre.assert_outcome("rolled-back").reason == "Ada asked for an abort: looks odd"
    assert theatre.route_writes == [25, 0]


def test_an_approval_of_another_stage_or_given_too_late_is_none() -> None:
    theatre = asking(stages=(50,), before_traffic=False)

    def wrong() -> None:
        record = theatre.record()
        for what, at in (("promotion", 0.0), ("traffic", 0.0), ("25", 0.0), ("50", 1000.0)):
            theatre.write(record, Command("approve", "Ada", theatre.clock.now() + at, "", what))

    theatre.process("first").release(GOOD, Once("look", wrong))
    assert theatre.assert_outcome("rolled-back").reason.startswith("nobody approved it before 50 %")


def test_two_have_to_approve_and_who_started_it_does_not_count() -> None:
    theatre = asking(at_least=2, four_eyes=True, stages=())
    for seconds, who in ((20.0, "Ada"), (40.0, "ada "), (60.0, "Somebody")):
        later(theatre, seconds, lambda who=who: theatre.approve(who))
    theatre.process("first").release(GOOD)
    reason = theatre.assert_untouched().reason
    assert reason == "only 1 of 2 approvals before anything changes were given within 5 min"
    later(theatre, 20.0, lambda: theatre.approve("Ada"))
    later(theatre, 40.0, lambda: theatre.approve("Bob"))
    theatre.process("second", "run-2").release(GOOD)
    theatre.assert_outcome("promoted")


def test_promote_now_stops_at_every_approval() -> None:
    theatre = asking(before_traffic=False)

    def hurry() -> None:
        theatre.write(theatre.record(), Command("promote", "Bob", theatre.clock.now(), "quick"))
        theatre.keep_approving(every=60.0)

    theatre.process("first").release(GOOD, Once("look", hurry))
    record = theatre.assert_outcome("promoted")
    assert [(one.what, one.outcome) for one in record.approvals] == [("50", "approved"), ("promotion", "approved")]


def dead_while_it_waits(theatre: Asked) -> Process:
    """The driver's process is gone while the release waits before traffic."""
    process = theatre.process("first")
    with pytest.raises(BaseException, match="^$"):
        later(theatre, 60.0, process.die)
        process.release(GOOD)
    assert theatre.record().phase == "awaiting-approval"
    return process


def test_a_stable_that_was_changed_while_people_thought_is_not_replaced_on_their_word() -> None:
    theatre = asking()
    dead_while_it_waits(theatre)
    hotfix = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": f"{IMAGE}:v0.8.1"}
    live = theatre.cluster.get("Deployment", "backend")
    assert live is not None
    theatre.cluster.patch("Deployment", "backend", live["metadata"]["resourceVersion"], [hotfix])
    theatre.approve()
    second = theatre.process("second")
    with pytest.raises(Refused, match=r"was changed meanwhile \(\S+:v0.8.1 now\): nothing was changed"):
        second.release(GOOD)
    assert theatre.record().phase == "awaiting-approval" and theatre.backups == 0


def test_more_pods_than_when_it_was_asked_for_are_carried() -> None:
    theatre = asking(stages=())
    dead_while_it_waits(theatre)
    live = theatre.cluster.get("Deployment", "backend")
    assert live is not None
    more = {"op": "replace", "path": "/spec/replicas", "value": 6}
    theatre.cluster.patch("Deployment", "backend", live["metadata"]["resourceVersion"], [more])
    theatre.settle()
    theatre.approve()
    assert theatre.process("second").release(GOOD).capacity == 6


def test_a_refusal_on_the_day_of_the_approval_changes_nothing_and_leaves_it_waiting() -> None:
    theatre = asking()
    dead_while_it_waits(theatre)
    theatre.approve()
    second = theatre.process("second")

    def frozen() -> Any:
        raise Refused("No release may begin: frozen.")

    site = replace(second.site, preflight=frozen)
    with pytest.raises(Refused, match="frozen"):
        opening.open_release(site, Start(GOOD, "somebody", "run-1", "second"))
    assert theatre.record().phase == "awaiting-approval"
    assert theatre.stable_image() == OLD
