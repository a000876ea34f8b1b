"""One approval before anything changes for a release of several services."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import approvals
from onlyvips.core.group import from_json, headline, to_json
from onlyvips.core.plan import Approvals, HookPlan
from onlyvips.core.record import Command
from onlyvips.steps import approving, many, records
from onlyvips.steps.opening import Start
from tests.procedures.theatre import GOOD, Killed
from tests.procedures.troupe import MANY, Actor, Troupe

WITHIN = 300.0
ASKING = replace(MANY, approvals=Approvals(before_traffic=True, within=WITHIN))


def release(actor: Actor, theatre: Troupe) -> None:
    """What the flow does: it gives its Lease up while it waits."""
    actor.version = GOOD
    start = Start(GOOD, "somebody", actor.run, actor.holder)
    driver = many.open_many(actor.many, start)
    if approving.waits_all(driver.group(), ASKING, theatre.clock.now()):
        actor.whole.release()
        approving.wait_all(actor, theatre.clock, ASKING, driver.id)
    actor.release_all(GOOD)


def approve(theatre: Troupe, by: str = "Ada") -> None:
    group = theatre.group()
    one = approvals.pending(group.approvals)
    if one is not None:
        records.command(theatre.cluster, group.id, Command("approve", by, theatre.clock.now(), "good", one.what))


def test_one_approval_is_for_all_of_them_and_until_then_nothing_is_there_but_the_record() -> None:
    theatre, seen = Troupe(ASKING), list[Any]()

    def look() -> None:
        lease = theatre.cluster.get("Lease", "onlyvips-release-all-services")
        seen.extend([lease and lease["spec"].get("holderIdentity"), len(records.every(theatre.cluster))])
        seen.append(theatre.backups)
        assert headline(theatre.group()).endswith("waits for an approval, nothing was changed yet")
        approve(theatre)

    theatre.clock.after(100.0, look)
    release(theatre.actor("driver"), theatre)
    group = theatre.assert_all("promoted")
    assert seen == ["", 0, 0]
    assert [one.outcome for one in group.approvals] == ["approved"] and from_json(to_json(group)).approvals
    assert all(not one.approvals for one in records.every(theatre.cluster)), "no service asks once more"


@pytest.mark.parametrize("abort", [False, True])
def test_one_that_nobody_approves_or_that_is_aborted_ends_with_nothing_changed(abort: bool) -> None:
    theatre = Troupe(ASKING)
    if abort:
        theatre.clock.after(50.0, lambda: (approve(theatre), theatre.abort_all()))
    release(theatre.actor("driver"), theatre)
    group = theatre.assert_all("not-approved")
    assert theatre.backups == 0 and records.every(theatre.cluster) == []
    wanted = "Ada asked for an abort" if abort else "nobody approved it before anything changes within 5 min"
    assert group.reason.startswith(wanted)


@pytest.mark.parametrize("approved", [False, True])
def test_a_dead_one_is_left_alone_until_its_deadline_and_ended_then(approved: bool) -> None:
    theatre = Troupe(ASKING)
    actor = theatre.actor("driver")
    theatre.clock.after(60.0, actor.die)
    with pytest.raises(Killed):
        release(actor, theatre)
    if approved:
        approve(theatre)
    assert approving.rests_all(theatre.group(), ASKING, theatre.clock.now())
    theatre.actor("early").reconcile_all()
    assert theatre.group().open and theatre.group().decision == "undecided"
    theatre.settle(WITHIN + ASKING.waits.maximum_hold)
    assert not approving.rests_all(theatre.group(), ASKING, theatre.clock.now())
    theatre.actor("late").reconcile_all()
    assert theatre.assert_all("not-approved").reason.startswith("approved by Ada" if approved else "nobody approved")


def test_kill_at_every_write_around_the_approval_and_it_is_promoted_when_it_is_run_again() -> None:
    for write in range(1, 14):
        theatre = Troupe(ASKING)
        theatre.clock.every(20.0, lambda theatre=theatre: _look(theatre))
        actor = theatre.actor("first")
        actor.after_write = lambda number, _verb, _kind, it=actor, at=write: it.die() if number == at else None
        with pytest.raises(Killed):
            release(actor, theatre)
        release(theatre.actor("second"), theatre)
        group = theatre.assert_all("promoted")
        assert [one.outcome for one in group.approvals] == ["approved"], write


def _look(theatre: Troupe) -> bool:
    found = records.every(theatre.cluster) or theatre.cluster.get("ConfigMap", "onlyvips-release-all-v0-9-0-001")
    if found and not any(one.name == "approve" for one in theatre.group().commands):
        approve(theatre)
    return False


def test_what_cannot_be_taken_back_is_said_before_anybody_approves() -> None:
    from onlyvips.wiring import several

    contract = HookPlan("drop-old", "img:1", ("drop",), 60.0)
    assert "POINT OF NO RETURN" in several.no_return(replace(ASKING, contract=contract))[0]
    assert several.no_return(ASKING) == []
