"""kill -9 at every boundary of every write of a whole release; then somebody runs it again, or nobody comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest

from onlyvips.core.plan import Stage
from onlyvips.steps import records
from tests.procedures.theatre import BAD, GOOD, PLAN, Killed, Theatre

Moment = Literal["before", "after"]
SHORT = replace(PLAN, stages=(Stage(25, 10.0), Stage(50, 10.0)))
MOMENTS: tuple[Moment, ...] = ("before", "after")


def writes_of(version: str) -> int:
    """How many writes a whole release has."""
    process = Theatre(SHORT).process("first")
    process.release(version)
    return process.writes


def killed_at(version: str, write: int, moment: Moment) -> Theatre:
    """The platform after the driver died ``moment`` its ``write``."""
    theatre = Theatre(SHORT)
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    if moment == "before":
        process.at_write = die
    else:
        process.after_write = die
    with pytest.raises(Killed):
        process.release(version)
    return theatre


def expected(version: str) -> str:
    return "promoted" if version == GOOD else "rolled-back"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_a_release_that_is_run_again_ends_as_it_would_have(version: str, moment: Moment) -> None:
    writes = writes_of(version)
    assert writes > 40
    for write in range(1, writes + 1):
        theatre = killed_at(version, write, moment)
        theatre.process("second").release(version)
        record = theatre.assert_outcome(expected(version))
        counted = [look for look in record.looks if look.elapsed]
        assert all(look.weight == SHORT.stages[look.stage].weight for look in counted), write
        assert len(records.every(theatre.cluster)) == 1, write


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_a_release_that_nobody_runs_again_ends_without_a_weight_being_raised(version: str, moment: Moment) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of(version) + 1):
        theatre = killed_at(version, write, moment)
        weights = [theatre.weight()]
        mark = len(theatre.route_writes)
        theatre.process("reconciler").reconcile()
        weights += theatre.route_writes[mark:]
        assert weights == sorted(weights, reverse=True), (write, weights)
        if not records.every(theatre.cluster):
            theatre.assert_clean("v0.8.0")
            continue
        record = theatre.assert_outcome(theatre.record().result)
        results[record.result] += 1
    assert set(results) == ({"promoted", "rolled-back"} if version == GOOD else {"rolled-back"})


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_dead_release_that_a_person_aborts_goes_back_without_a_lost_request(moment: Moment) -> None:
    for write in range(3, writes_of(GOOD) + 1):
        theatre = killed_at(GOOD, write, moment)
        found = records.find_open(theatre.cluster, "backend")
        if found is None:
            continue
        theatre.abort()
        theatre.process("reconciler").reconcile()
        theatre.assert_outcome("promoted" if found.phase == "evidence" else "rolled-back")


@pytest.mark.parametrize("version", [GOOD, BAD])
def test_a_reconciler_that_is_killed_too_is_followed_by_another(version: str) -> None:
    for write in range(8, writes_of(version) + 1, 5):
        theatre = killed_at(version, write, "after")
        for attempt in range(1, 40):
            reconciler = theatre.process(f"reconciler {attempt}")
            # Each gets a little further: the lease, six stamps and the record, then one or two acts.
            reconciler.after_write = lambda number, _verb, _kind, it=reconciler: it.die() if number == 11 else None
            try:
                reconciler.reconcile()
            except Killed:
                continue
            break
        theatre.assert_outcome(theatre.record().result)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_release_whose_every_attempt_is_killed_gets_there_in_the_end(moment: Moment) -> None:
    theatre = Theatre(SHORT)
    for attempt in range(1, 40):
        process = theatre.process(f"attempt {attempt}")

        def die(number: int, _verb: str, _kind: str, it: object = process) -> None:
            if number == 14:
                it.die()  # type: ignore[attr-defined]

        setattr(process, "at_write" if moment == "before" else "after_write", die)
        try:
            process.release(GOOD)
        except Killed:
            continue
        break
    assert len(theatre.assert_outcome("promoted").holders) > 3
