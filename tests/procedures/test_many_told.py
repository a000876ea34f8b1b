"""What people are told of a release of several services itself: begun, going back, who is stuck, how it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core import approvals
from onlyvips.core.bulletin import EVENTS
from onlyvips.core.many import Do
from onlyvips.core.plan import Approvals
from onlyvips.core.windows import Calendar
from onlyvips.steps import records
from onlyvips.steps.herald import Crier, Target
from onlyvips.steps.opening import Start
from onlyvips.wiring import several, telling
from tests.core.broken_environments import PRODUCTION
from tests.procedures.test_approval_many import approve
from tests.procedures.test_many_stuck import hide_rule, put_back
from tests.procedures.theatre import GOOD, Killed
from tests.procedures.troupe import MANY, Actor, Troupe, bad_miniapp
from tests.simulators.notifier import SimNotifier


def listening(theatre: Troupe, holder: str, notifier: SimNotifier, run: str = "run-1") -> Actor:
    """A process whose release of all tells ``notifier`` of it."""
    actor = theatre.actor(holder, run)
    crier = Crier(
        [Target("slack", frozenset(EVENTS), lambda: notifier)],
        theatre.clock,
        theatre.many,
        escalate_after=30.0,
        note=lambda release, told: records.note_told(actor, release, told),
        link=lambda record: f"https://prefect/{record.id}",
        start=lambda work: work(),
    )
    actor.many = replace(actor.many, herald=crier)
    return actor


def titles(notifier: SimNotifier) -> list[str]:
    return [one.title.partition(":")[0] for one in notifier.arrived]


STARTED = f"Release of all services {GOOD} in simulated started"


def test_one_that_is_promoted_tells_its_beginning_and_its_end_once_and_the_record_says_so() -> None:
    theatre, notifier = Troupe(), SimNotifier()
    listening(theatre, "driver", notifier).release_all(GOOD)
    group = theatre.assert_all("promoted")
    assert titles(notifier) == [STARTED, "Promoted"]
    assert [(one.news, one.target) for one in group.told] == [("all-started", "slack"), ("all-promoted", "slack")]
    assert "backend, miniapp v0.9.0, promoted together or not at all" in notifier.arrived[0].body
    assert f"See: https://prefect/{group.id}" in notifier.arrived[1].body


def test_one_that_fails_tells_why_all_go_back_and_that_they_are_back_whoever_drives() -> None:
    theatre, notifier = Troupe(), SimNotifier()
    bad_miniapp(theatre, GOOD)
    first = listening(theatre, "driver", notifier)
    with pytest.raises(Killed):
        first.release_all(GOOD, lambda do: first.die() if do.title == "back backend" else None)
    theatre.clock.sleep(60.0)
    listening(theatre, "reconciler", notifier, "run-2").reconcile_all()
    theatre.assert_all("rolled-back")
    assert titles(notifier) == [STARTED, "All go back", "Rolled back"]
    assert "miniapp went back" in notifier.arrived[1].body


def test_a_member_that_cannot_go_back_is_told_with_what_to_put_right() -> None:
    theatre, notifier = Troupe(), SimNotifier()

    def look(do: Do) -> None:
        if do.kind == "promote":
            hide_rule(theatre)
            theatre.abort_all()
        if len(notifier.arrived) == 3:
            put_back(theatre)

    listening(theatre, "driver", notifier).release_all(GOOD, look)
    assert titles(notifier) == [STARTED, "All go back", "miniapp cannot go back", "Rolled back"]
    assert "the service's one rule in the HTTPRoute is not to be found" in notifier.arrived[2].body


def test_the_environments_targets_are_told_and_a_link_leads_to_the_whole() -> None:
    theatre = Troupe()
    theatre.actor("driver").release_all(GOOD)
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    assert isinstance(telling.herald_of(loaded, theatre.many, theatre.cluster), Crier)
    assert telling.link(loaded, theatre.group()) == "onlyvips release status -e simulated"


NAMED = Approvals(before_traffic=True, within=300.0, at_least=2, by=("Ada", "Bob", "Cy"), four_eyes=True)


def asked(monkeypatch: pytest.MonkeyPatch, **rule: Any) -> tuple[Troupe, SimNotifier]:
    """A release of all that waits for its approval: its driver was begun by the wiring, and let it go."""
    theatre, notifier = Troupe(replace(MANY, approvals=replace(NAMED, **rule))), SimNotifier()
    monkeypatch.setattr(environments, "load", lambda _: None)
    monkeypatch.setattr(environments, "release_calendar", lambda _: Calendar())
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(several, "_driven", {})
    monkeypatch.setattr(several, "site_of_all", lambda *_: listening(theatre, "somebody", notifier).many)
    group = several.begin("simulated", Start(GOOD, "Ada", "run-1", "driver"))
    assert several.waits_for_approval(group)
    several.let_go("run-1")
    return theatre, notifier


def test_that_an_approval_of_all_is_wanted_is_told_with_who_may_until_when_what_else_and_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre, notifier = asked(monkeypatch)
    assert titles(notifier) == [STARTED, "Approval wanted"]
    body = notifier.arrived[1].body
    until = approvals.moment(theatre.group().approvals[0].until)
    assert "by Ada or Bob or Cy (not by Ada, who started it) before anything changes is wanted (0 of 2 given)" in body
    assert f"Not approved until {until}, it is closed with nothing changed." in body
    command = f"onlyvips release approve -e simulated --all --release {theatre.group().id} --before traffic"
    assert f"Decide: {command} --reason WHY; to end it: onlyvips release abort -e simulated --all" in body


def test_the_reconciler_tells_that_nobody_answers_and_that_it_ended_with_nothing_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre, notifier = asked(monkeypatch)
    for _ in range(2):
        theatre.clock.sleep(40.0)
        several.reconcile("simulated", holder="reconciler")
    theatre.clock.sleep(300.0)
    several.reconcile("simulated", holder="reconciler")
    theatre.assert_all("not-approved")
    assert titles(notifier) == [STARTED, "Approval wanted", "Nobody answers", "Not approved before anything changes"]
    assert "It was closed, nothing was changed." in notifier.arrived[-1].body


def test_one_that_was_approved_and_that_no_run_goes_on_with_is_told_with_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre, notifier = asked(monkeypatch, at_least=1)
    approve(theatre, "Bob")
    several.reconcile("simulated", holder="reconciler")
    assert titles(notifier)[2:] == []
    theatre.clock.sleep(40.0)
    several.reconcile("simulated", holder="reconciler")
    assert titles(notifier)[2:] == ["Approved, and nobody goes on with it"]
    assert f"onlyvips release start -e simulated --all --version {GOOD}" in notifier.arrived[-1].body


def test_an_abort_before_anything_changed_is_told_as_that_and_not_as_a_way_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre, notifier = asked(monkeypatch)
    theatre.abort_all()
    several.reconcile("simulated", holder="reconciler")
    assert titles(notifier)[2:] == ["Ended before anything changed"]
    assert "Nothing was changed: every service serves on what it served before." in notifier.arrived[-1].body
