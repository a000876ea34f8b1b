"""kill -9 at every boundary of every write of a release that wants approvals; then it is run again, or nobody comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from onlyvips.core.approvals import rests
from onlyvips.steps import records
from tests.procedures.approvals import ASKING, WITHIN, Asked
from tests.procedures.test_release_kills import MOMENTS, Moment
from tests.procedures.theatre import GOOD, Killed

SHORT = replace(ASKING, stages=ASKING.stages[1:])


def writes_of_all() -> int:
    """How many writes a whole release has."""
    theatre = Asked(SHORT)
    theatre.keep_approving()
    process = theatre.process("first")
    process.release(GOOD)
    return process.writes


def killed_at(write: int, moment: Moment, *, approving: bool = True) -> Asked:
    """The platform after the driver died ``moment`` its ``write``, with people who approve or do not."""
    theatre = Asked(SHORT)
    if approving:
        theatre.keep_approving()
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    with pytest.raises(Killed):
        process.release(GOOD)
    return theatre


def reconciler_comes(theatre: Asked, minutes: int) -> None:
    """As its schedule has it: each minute, and left alone is what waits by right."""
    for number in range(minutes):
        found = records.find_open(theatre.cluster, "backend")
        if found is None or not rests(found, theatre.plan, theatre.clock.now()):
            theatre.process(f"reconciler {number}").reconcile()
        theatre.settle(60.0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_release_that_is_run_again_waits_for_what_is_left_and_is_promoted(moment: Moment) -> None:
    for write in range(1, writes_of_all() + 1):
        theatre = killed_at(write, moment)
        theatre.process("second").release(GOOD)
        record = theatre.assert_outcome("promoted")
        told = [(one.what, one.outcome) for one in record.approvals]
        assert told == [("traffic", "approved"), ("50", "approved"), ("promotion", "approved")], write
        assert len(records.every(theatre.cluster)) == 1, write


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_release_that_nobody_runs_again_ends_without_a_weight_being_raised(moment: Moment) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of_all() + 1):
        theatre = killed_at(write, moment)
        mark, weight = len(theatre.route_writes), theatre.weight()
        reconciler_comes(theatre, minutes=8)
        weights = [weight, *theatre.route_writes[mark:]]
        assert weights == sorted(weights, reverse=True), (write, weights)
        if not records.every(theatre.cluster):
            theatre.assert_clean("v0.8.0")
            continue
        record = theatre.record()
        results[record.result] += 1
        if record.result == "not-approved":
            assert "approved by Ada (claimed): looks good, and nobody went on with it" in record.reason
            theatre.assert_untouched()
        else:
            theatre.assert_outcome(record.result)
    assert set(results) == {"promoted", "rolled-back", "not-approved"}


def test_a_dead_release_that_nobody_approves_is_closed_at_its_deadline_and_not_before() -> None:
    for write in range(1, 8):
        theatre = killed_at(write, "after", approving=False) if write < 5 else Asked(SHORT)
        if write >= 5:  # it waits, and its process goes away
            process = theatre.process("first")
            theatre.clock.after(30.0 * write, process.die)
            with pytest.raises(Killed):
                process.release(GOOD)
        if not records.every(theatre.cluster):
            continue
        reconciler_comes(theatre, minutes=1)
        assert theatre.record().phase == "awaiting-approval", write
        reconciler_comes(theatre, minutes=7)
        assert theatre.assert_untouched().reason == "nobody approved it before anything changes within 5 min"


def test_a_driver_and_the_reconciler_that_end_it_at_the_same_deadline_end_it_once() -> None:
    theatre = Asked(SHORT)
    told = list[str]()

    def reconcile() -> None:
        theatre.process("reconciler").reconcile()
        told.append(theatre.record().phase)

    theatre.clock.after(WITHIN + 0.5, reconcile)
    record = theatre.process("first").release(GOOD)
    assert told == ["closed"] and record.result == "not-approved"
    theatre.assert_untouched()
