"""The record of a release is one ConfigMap, of 1 MiB: however long a release takes, it can be written and closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.record import Against, Look, Record, Value, to_json
from onlyvips.errors import Transient
from onlyvips.steps.evidence import Kept
from onlyvips.steps.looks import take_look
from tests.core.decisions import IN_CANARY, PLAN
from tests.procedures.test_release_commands import ask
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre import GOOD, Theatre
from tests.procedures.theatre import PLAN as THEATRE_PLAN
from tests.simulators.clock import SimClock
from tests.simulators.metrics import SimMetrics

ROOM = 900_000
HOUR = 3600.0
THIRD = 1 / 3
AGAINST = Against(1_000_000, THIRD, THIRD, THIRD, THIRD, THIRD, THIRD, 4)


def look_of(number: int) -> Look:
    """One of many, as large as looks get: four values, two of them beside stable."""
    values = tuple(
        Value(f"latency-{one}", 10_000, 1_000_000, THIRD, THIRD, THIRD, THIRD / 1e9, "pass", "x" * 120, against)
        for one, against in enumerate((None, None, AGAINST, AGAINST))
    )
    return Look(1.76e9 + THIRD + 60 * number, 0, 10, 0.0, "pass", "y" * 200, values, THIRD / 1e9)


def held(looks: int) -> Record:
    """Looked at so often while somebody holds it."""
    record = IN_CANARY
    for number in range(looks):
        record = record.watched(look_of(number))
    return record


def test_a_day_of_looks_fits_and_the_newest_have_their_values() -> None:
    record = held(24 * 60)
    assert len(to_json(record).encode()) < ROOM
    assert len(record.looks) == 24 * 60
    assert [bool(look.values) for look in record.looks] == [number >= 24 * 60 - 301 for number in range(24 * 60)]


def test_looks_without_their_values_have_spent_their_alpha_all_the_same() -> None:
    """As if all values were there: otherwise a long hold would give alpha back, and good versions would go back."""
    clock = SimClock()
    metrics = SimMetrics(clock)
    clock.sleep(20.0)
    plan = replace(PLAN, stages=(replace(PLAN.stages[0], hold=5000.0),))
    whole = replace(IN_CANARY, looks=tuple(map(look_of, range(520))))
    first = take_look(metrics, plan, whole, at=1.0, elapsed=10.0)
    kept = take_look(metrics, plan, held(520), at=1.0, elapsed=10.0)
    assert kept.spent == first.spent < take_look(metrics, plan, held(400), at=1.0, elapsed=10.0).spent


def test_looks_that_saw_nothing_do_not_push_out_the_values_that_the_next_one_is_held_against() -> None:
    record = held(1)
    for number in range(600):
        record = record.watched(replace(look_of(number), verdict="error", values=(), spent=0.0))
    assert record.looks[0].values


def test_evidence_that_no_store_takes_for_hours_is_one_step_and_the_release_is_closed_when_one_does() -> None:
    theatre = Theatre()
    back = theatre.clock.monotonic() + 8 * HOUR
    keep, asked = theatre.keep_evidence, []

    def away(record: Record) -> Kept:
        asked.append(record)
        if theatre.clock.monotonic() < back:
            raise Transient("No store took the evidence: all are away. " * 5)
        return keep(record)

    theatre.keep_evidence = away  # type: ignore[method-assign]
    with pytest.raises(Transient):
        theatre.process("driver").release(GOOD)
    for number in range(1000):
        theatre.clock.sleep(60.0)
        try:
            theatre.process(f"reconciler {number}").reconcile()
        except Transient:
            continue
        break
    record = theatre.assert_outcome("promoted")
    assert len(to_json(record).encode()) < ROOM
    assert [step.tries for step in record.steps if step.action == record.steps[-1].action] == [len(asked)]
    assert len(asked) > 100 and 2 < len(record.holders) <= 51 and record.holders[0] == "driver"


def test_a_release_that_is_held_until_old_looks_have_lost_their_values_goes_on_when_it_is_resumed() -> None:
    theatre = Theatre(replace(THEATRE_PLAN, waits=replace(THEATRE_PLAN.waits, hold_limit=2 * HOUR)), rate=20.0)

    def press() -> None:
        ask(theatre, "hold")
        theatre.clock.after(1.2 * HOUR, lambda: ask(theatre, "resume"))

    theatre.process("first").release(GOOD, Once("look", press, nth=2))
    record = theatre.assert_outcome("promoted")
    lost = [look for look in record.looks if look.spent and not look.values]
    assert len(lost) > 20 and record.looks[-1].values
    assert sum(look.spent for look in record.looks) < THEATRE_PLAN.alpha
