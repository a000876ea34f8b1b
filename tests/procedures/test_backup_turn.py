"""Somebody else writes a backup when a release comes to its own: it waits for its turn, and says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core import group as groups
from onlyvips.core import report
from onlyvips.core.action import Action
from onlyvips.errors import Driven, Occupied
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import GOOD, OLD, PLAN, Killed, Theatre
from tests.procedures.troupe import MANY, Troupe

PATIENT = replace(PLAN.waits, maximum_hold=7200.0)
TOLD = "waits for its turn: release other writes the mongodb backups of lab and is alive"


def occupied(theatre: Theatre, seconds: float, seen: Callable[[], object] = lambda: None) -> None:
    """Another backup is written for so long from now on; ``seen`` is called at each try before its end."""
    until = theatre.clock.monotonic() + seconds

    def busy() -> None:
        if theatre.clock.monotonic() < until:
            seen()
            theatre.clock.sleep(5.0)  # the lease is watched, and found alive
            cause = Driven("release other writes the mongodb backups of lab and is alive: nothing was changed.")
            raise Occupied(f"{cause} A run of Prefect waits for that.") from cause

    theatre.during_backup = busy


def test_it_waits_for_longer_than_its_tasks_are_tried_says_for_what_and_goes_on() -> None:
    theatre, told = Theatre(replace(PLAN, waits=PATIENT)), list[str]()
    occupied(theatre, 3600.0, lambda: told.append(report.waiting(theatre.record())))
    began = theatre.clock.monotonic()
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    assert theatre.clock.monotonic() - began > 3600
    assert TOLD in told[-1] and "A run of Prefect" not in told[-1]
    assert theatre.backups == 1 and len(record.holders) == 1 and record.waiting == ""


def test_at_the_maximum_hold_it_goes_back_with_nothing_changed() -> None:
    theatre = Theatre()
    occupied(theatre, 1e6)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert TOLD in record.reason and "not its turn within 60 s: nothing was changed" in record.reason
    assert theatre.route_writes == []


def test_an_abort_ends_the_wait() -> None:
    theatre = Theatre(replace(PLAN, waits=PATIENT))
    occupied(theatre, 1e6)
    theatre.clock.after(100.0, theatre.abort)
    theatre.process("first").release(GOOD)
    assert theatre.assert_outcome("rolled-back").reason.startswith("Ada asked for an abort")
    assert theatre.clock.monotonic() < 300


def test_who_dies_while_it_waits_is_followed_by_one_who_waits_on() -> None:
    theatre = Theatre(replace(PLAN, waits=PATIENT))
    first = theatre.process("first")
    occupied(theatre, 600.0)

    def die(_: Rollout, action: Action) -> None:
        if action.kind == "back-up":
            theatre.clock.after(300.0, lambda: setattr(first, "alive", False))

    with pytest.raises(Killed):
        first.release(GOOD, die)
    theatre.process("second").release(GOOD)
    assert theatre.assert_outcome("promoted").waiting == ""


def test_a_release_of_several_services_waits_too_and_its_headline_says_so() -> None:
    theatre, told = Troupe(replace(MANY, waits=PATIENT)), list[str]()
    occupied(theatre, 1200.0, lambda: told.append(groups.headline(theatre.group())))
    theatre.actor("driver").release_all(GOOD)
    assert theatre.assert_all("promoted").waiting == ""
    assert "nothing is decided yet: the backup before it waits for its turn: release other" in told[-1]


def test_a_release_of_several_services_goes_back_at_the_maximum_hold() -> None:
    theatre = Troupe()
    occupied(theatre, 1e6)
    group = theatre.actor("driver").release_all(GOOD)
    assert (group.result, group.waiting) == ("rolled-back", "") and "not its turn within 60 s" in group.reason
    assert theatre.image("backend") == OLD
