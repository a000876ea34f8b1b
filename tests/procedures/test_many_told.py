"""What people are told of a release of several services itself: begun, going back, who is stuck, how it ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips import environment as environments
from onlyvips.core.many import Do
from onlyvips.core.news import EVENTS
from onlyvips.steps import records
from onlyvips.steps.herald import Crier, Target
from onlyvips.wiring import telling
from tests.core.broken_environments import PRODUCTION
from tests.procedures.test_many_stuck import hide_rule, put_back
from tests.procedures.theatre import GOOD, Killed
from tests.procedures.troupe import Actor, Troupe, bad_miniapp
from tests.simulators.notifier import SimNotifier


def listening(theatre: Troupe, holder: str, notifier: SimNotifier, run: str = "run-1") -> Actor:
    """A process whose release of all tells ``notifier`` of it."""
    actor = theatre.actor(holder, run)
    crier = Crier(
        [Target("slack", frozenset(EVENTS), lambda: notifier)],
        theatre.clock,
        None,
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
    assert isinstance(telling.herald_of(loaded, None, theatre.cluster), Crier)
    assert telling.link(loaded, theatre.group()) == "onlyvips release status -e simulated"
