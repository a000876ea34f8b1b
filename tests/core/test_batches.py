"""What entries do, gathered: batches that end at the same entries each time, and commands between them."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from onlyvips.core import batches
from onlyvips.core.batches import Batches, Filled, Step
from onlyvips.core.changes import Create, Drop
from onlyvips.core.oplog_entry import Logged, Position, logged
from onlyvips.core.replay import Names, Translator, Untranslatable
from tests.simulators.oplog import START, command, entry

EVER = Position(1 << 31, 0)


def gathered(entries: list[Logged], at_once: int = 1, after: Position | None = None, window: int = 0) -> list[Step]:
    translator = Translator(Names((("app.*", "app.*"),)), Position(0, 0), EVER)
    one = Batches(translator, Position(window, 0), after)
    taken = [step for at in range(0, len(entries), at_once) for step in one.take(entries[at : at + at_once])]
    return [*taken, *one.rest()]


def put(at: int, id: int | None = None) -> Logged:
    return logged(entry(at, op="i", ns="app.orders", o={"_id": at if id is None else id}))


def told(steps: list[Step]) -> list[Any]:
    """Of a batch how many documents it has and the second up to which all is there then; commands as they are."""
    return [(len(one.batch), one.here and one.here.seconds) if isinstance(one, Filled) else one for one in steps]


def test_a_batch_ends_after_the_same_entry_however_the_entries_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST", 3)
    entries = [put(START + number) for number in range(8)]
    for at_once in range(1, 9):
        assert told(gathered(entries, at_once)) == [(3, START + 2), (3, START + 5), (2, START + 7)]


def test_a_batch_ends_when_its_entries_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LARGEST", 50)
    assert told(gathered([put(START + number) for number in range(3)])) == [(2, START + 1), (1, START + 2)]


def test_what_a_document_became_in_between_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST", 3)
    entries = [put(START + number, id=number % 2) for number in range(6)]
    assert told(gathered(entries)) == [(2, START + 5)]


def test_a_command_is_between_what_was_before_and_what_came_after_it() -> None:
    entries = [put(START), logged(command(START + 1, ns="app.$cmd", drop="orders")), put(START + 2)]
    assert told(gathered(entries)) == [(1, START), Drop("app.orders"), (0, START + 1), (1, START + 2)]


def test_an_applyops_of_both_is_done_in_its_order_and_is_there_with_its_end() -> None:
    made = {"op": "c", "ns": "app.$cmd", "o": {"create": "users"}}
    added = {"op": "i", "ns": "app.users", "o": {"_id": 1}}
    both = logged(command(START + 1, applyOps=[made, added]))
    found = gathered([put(START), both])
    assert [type(one) for one in found] == [Filled, Create, Filled]
    assert told(found)[::2] == [(1, START), (1, START + 1)]


def test_the_window_of_the_base_is_not_mixed_with_what_comes_after_it() -> None:
    entries = [put(START + number) for number in range(4)]
    assert told(gathered(entries, window=START + 2)) == [(2, START + 1), (2, START + 3)]


def test_what_is_there_already_is_passed_by() -> None:
    entries = [put(START + number) for number in range(4)]
    assert told(gathered(entries, after=Position(START + 1, 1))) == [(2, START + 3)]
    assert told(gathered(entries, after=Position(START + 3, 1))) == [(0, None)]


def test_an_entry_that_writes_nothing_moves_the_position() -> None:
    entries = [put(START), logged(entry(START + 1, op="n", ns=""))]
    assert told(gathered(entries)) == [(1, START + 1)]
    assert not list(chain.from_iterable(one.batch.writes() for one in gathered(entries[1:]) if isinstance(one, Filled)))


def test_a_diff_that_nobody_can_apply_is_refused_with_the_moment_before_it() -> None:
    odd = logged(entry(START + 1, op="u", ns="app.orders", o={"$v": 2, "diff": {"x": {}}}, o2={"_id": START}))
    with pytest.raises(Untranslatable, match=rf"entry {START + 1}:1 of the oplog cannot be replayed: .*no section x"):
        gathered([put(START), odd])
