"""kill -9 at every boundary of every write of a blue-green release; then somebody runs it again, or nobody comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest

from onlyvips.core.plan import Stage
from onlyvips.steps import records
from tests.procedures.theatre_blue_green import BAD, GOOD, OLD, PLAN, Colours, Killed

Moment = Literal["before", "after"]
SHORT = replace(PLAN, stages=(Stage(100, 10.0),))
MOMENTS: tuple[Moment, ...] = ("before", "after")


def writes_of(version: str, asleep: bool) -> int:
    """How many writes a whole release has."""
    process = Colours(SHORT, asleep=asleep).process("first")
    process.release(version)
    return process.writes


def killed_at(version: str, write: int, moment: Moment, asleep: bool) -> Colours:
    """The platform after the driver died ``moment`` its ``write``."""
    theatre = Colours(SHORT, asleep=asleep)
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    with pytest.raises(Killed):
        process.release(version)
    return theatre


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("version", "asleep"), [(GOOD, False), (GOOD, True), (BAD, True)])
def test_a_release_that_is_run_again_ends_as_it_would_have(version: str, asleep: bool, moment: Moment) -> None:
    writes = writes_of(version, asleep)
    assert writes > 25
    for write in range(1, writes + 1):
        theatre = killed_at(version, write, moment, asleep)
        theatre.process("second").release(version)
        theatre.assert_outcome("promoted" if version == GOOD else "rolled-back")
        assert len(records.every(theatre.cluster)) == 1, write


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("version", "asleep"), [(GOOD, False), (BAD, False), (BAD, True)])
def test_a_release_that_nobody_runs_again_never_gives_users_the_new_colour(
    version: str, asleep: bool, moment: Moment
) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of(version, asleep) + 1):
        theatre = killed_at(version, write, moment, asleep)
        before = list(theatre.selections)
        theatre.process("reconciler").reconcile()
        assert "green" not in theatre.selections[len(before) :], write
        if not records.every(theatre.cluster):
            theatre.assert_home("blue", OLD)
            continue
        results[theatre.assert_outcome(theatre.record().result).result] += 1
    assert set(results) == ({"promoted", "rolled-back"} if version == GOOD else {"rolled-back"})


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dead_release_that_a_person_aborts_goes_back_without_a_lost_request(moment: Moment) -> None:
    for write in range(3, writes_of(GOOD, asleep=True) + 1):
        theatre = killed_at(GOOD, write, moment, asleep=True)
        found = records.find_open(theatre.cluster, "panel")
        if found is None:
            continue
        theatre.abort()
        theatre.process("reconciler").reconcile()
        theatre.assert_outcome("promoted" if found.phase == "evidence" else "rolled-back")


def test_a_reconciler_that_is_killed_too_is_followed_by_another() -> None:
    for write in range(8, writes_of(BAD, asleep=False) + 1, 4):
        theatre = killed_at(BAD, write, "after", asleep=False)
        for attempt in range(1, 40):
            reconciler = theatre.process(f"reconciler {attempt}")
            reconciler.after_write = lambda number, _verb, _kind, it=reconciler: it.die() if number == 14 else None
            try:
                reconciler.reconcile()
            except Killed:
                continue
            break
        theatre.assert_outcome("rolled-back")
