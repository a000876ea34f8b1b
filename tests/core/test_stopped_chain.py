"""A chain ends just before an entry that no replay can do, until a base begins after it; the audit says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.chosen import Chosen, choose
from onlyvips.core.manifest import Manifest, moment
from onlyvips.core.oplog_chain import best_chain, chain
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replayable import Stop
from onlyvips.errors import Refused
from tests.core.test_audit import faults
from tests.core.test_oplog_chain import AT, TIMELINE, audited, base, edge, names, piece

WHY = "no replay can do collMod (app.orders)"


def stopping(one: Manifest, *seconds: int, ordinal: int = 1) -> Manifest:
    """With such entries, so many seconds after the beginning of all."""
    found = [Position(AT + second, ordinal) for second in seconds]
    return replace(one, facts=(*one.facts, *(Stop(at, at, WHY).fact for at in found)))


def test_a_chain_ends_before_the_entry_and_slices_beyond_it_are_not_of_it():
    slices = [piece(0, 10), stopping(piece(10, 20), 15), piece(20, 30)]
    found = chain(base(0, 5), slices)
    assert names(found) == ["0-10-1", "10-20-1"]
    assert (found.until, found.stopped, found.sound) == (AT + 14, True, True)
    assert found.why == f"the entry {AT + 15}:1 of the oplog cannot be replayed: {WHY}"
    assert found.tip == (TIMELINE, edge(30))


def test_of_an_entry_later_in_its_second_what_was_before_it_there_comes_back():
    found = chain(base(0, 5), [stopping(piece(0, 20), 15, ordinal=7)])
    assert (found.end.ts, found.until) == (f"{AT + 15}:6", AT + 15)


def test_an_entry_that_two_slices_share_ends_the_chain_in_the_first():
    found = chain(base(0, 5), [stopping(piece(0, 10), 10), stopping(piece(10, 20), 10)])
    assert (names(found), found.until) == (["0-10-1"], AT + 9)


def test_what_was_quiet_after_it_moves_nothing():
    quiet = piece(20, 20, quiet_until=moment(AT + 900))
    assert chain(base(0, 5), [stopping(piece(0, 20), 15), quiet]).until == AT + 14


def test_a_base_that_begins_after_it_goes_on_until_the_next_one_of_the_same_slice():
    slices = [stopping(piece(0, 100), 15, 80), piece(100, 200)]
    newer, newest = base(20, 25, 2), base(85, 90, 3)
    assert [chain(one, slices).until - AT for one in (base(0, 5), newer, newest)] == [14, 79, 200]
    best = best_chain([base(0, 5), newer, newest], slices)
    assert best is not None and (best.base, best.stopped) == (newest, False)


def test_a_base_with_it_in_its_own_window_is_none_to_restore_and_told_where_it_is_asked_for():
    within = base(10, 20, 2)
    for bases, slices in (
        ([base(0, 5), within], [stopping(piece(0, 30), 15)]),
        ([base(0, 5), stopping(within, 15)], [piece(0, 12)]),
    ):
        best = best_chain(bases, slices)
        assert best is not None and best.base == base(0, 5)
        with pytest.raises(Refused, match=r"cannot be restored whole.*collMod"):
            choose([*bases, *slices], within.id)
        assert choose([*bases, *slices], within.id, all_of_it=False).chain.base.id == within.id


# --- what is asked for

SLICES = [piece(0, 10), stopping(piece(10, 40), 20), piece(40, 200)]


def asked(at: str, *more: Manifest, all_of_it: bool = True) -> Chosen:
    return choose([base(0, 5), *SLICES, *more], at, all_of_it)


def test_a_later_moment_is_refused_with_the_one_that_can_be_had_and_that_one_is_had():
    told = rf"leads to {moment(AT + 19)} .*{AT + 20}:1.*collMod.*by --at {moment(AT + 19)}.*run -e lab --kind mongodb"
    for at in (moment(AT + 20), moment(AT + 100), f"{AT + 20}:1", f"{AT + 150}:3"):
        with pytest.raises(Refused, match=told):
            asked(at)
    assert asked(moment(AT + 19)).until < Position(AT + 20, 0)
    assert asked(moment(AT + 19)).notes == ()


def test_a_newer_base_grants_what_comes_after_it_and_between_the_two_it_is_named():
    newer = base(50, 60, 2)
    assert asked(moment(AT + 100), newer).chain.base == newer
    with pytest.raises(Refused, match=f"next moment after it is that of {AT + 60}:1, by a newer base"):
        asked(moment(AT + 30), newer)


def test_latest_is_the_last_that_can_be_had_and_says_why():
    found = asked("latest")
    assert found.reached == moment(AT + 19)
    assert any("collMod" in note and "what came later cannot be replayed" in note for note in found.notes)


def test_in_the_same_second_what_was_before_it_comes_back_with_a_note():
    found = choose([base(0, 5), stopping(piece(0, 40), 20, ordinal=4)], moment(AT + 20))
    assert found.until == Position(AT + 20, 3)
    assert any(f"{AT + 20}:4" in note and "later in that second do not come back" in note for note in found.notes)


def test_some_collections_alone_go_past_it_and_it_is_noted():
    found = asked(moment(AT + 100), all_of_it=False)
    assert found.until.seconds == AT + 100
    assert any("collections that it is not about go past it" in note for note in found.notes)
    assert asked(moment(AT + 15), all_of_it=False).notes == ()


# --- the audit


def test_the_audit_asks_for_a_base_at_once_until_one_begins_after_it():
    slices = [piece(0, 600), stopping(piece(600, 1200), 900)]
    report = audited(base(0, 5), *slices, at=1300)
    (found,) = [one for one in report.findings if "cannot be replayed" in one.what]
    assert (found.severity, found.todo) == ("fault", "onlyvips backup run -e lab --kind mongodb")
    assert f"{AT + 900}:1" in found.what and f"after {moment(AT + 899)}" in found.what
    assert {one.recoverable for one in report.standings} == {moment(AT + 899)}
    assert not any("slices are missing" in what for what in faults(report))
    assert audited(base(0, 5), *slices, base(1000, 1010, 2), at=1300).holds


def test_slices_that_lead_no_further_for_it_ask_for_a_base_and_not_for_slices():
    slices = [piece(0, 600), stopping(piece(600, 1200), 900), piece(1200, 6000)]
    report = audited(base(0, 5), *slices, at=6000)
    (late,) = [one for one in report.findings if one.what.startswith("slices lead to")]
    assert late.todo == "onlyvips backup run -e lab --kind mongodb"
