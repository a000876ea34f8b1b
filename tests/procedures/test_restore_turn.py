"""One restore of a kind at a time: who is second is told who is first, and a dead one is passed by."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.errors import Driven, Fenced, Transient
from onlyvips.ports import Term
from onlyvips.wiring import restore_turn
from onlyvips.wiring.restores import Asked
from tests.simulators.cell import SimCell
from tests.simulators.clock import SimClock

ASKED = Asked("lab", "mongodb", "latest", "env:X")
NAME = "restore-mongodb"


def ignored(doing: str, size: int) -> None:
    """Told to nobody."""


class Elsewhere(SimClock):
    """A clock during whose sleep another process does something."""

    def __init__(self, does: Any = lambda: None) -> None:
        super().__init__()
        self.does = does

    def sleep(self, seconds: float) -> None:
        self.does()
        super().sleep(seconds)


def held(cell: SimCell, holder: str) -> None:
    term = cell.read()
    cell.write(Term(holder, 7, 15.0, 0.0, term.version if term else ""))


def test_the_second_one_is_refused_by_the_first_ones_name_and_told_what_to_do(
    turns: dict[str, SimCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = turns.setdefault(NAME, SimCell())
    held(cell, "Ada, run owl (1), since 2026-08-01T12:00:00Z,")
    clock = Elsewhere(lambda: held(cell, "Ada, run owl (1), since 2026-08-01T12:00:00Z,"))
    monkeypatch.setattr(restore_turn, "SystemClock", lambda: clock)
    begun, told = (
        restore_turn.alone(ASKED, "Bob", ignored),
        r"since 2026-08-01T12:00:00Z, restores mongodb of lab and is",
    )
    with pytest.raises(Driven, match=told) as no, begun:
        raise AssertionError("must not begin")
    assert "cancelled there" in str(no.value) and "the same command goes on" in str(no.value)
    with restore_turn.alone(Asked("lab", "redis", "latest", "env:X"), "Bob", ignored):
        pass


def test_one_that_died_is_passed_by_once_its_lease_ran_out_and_who_waits_is_told(
    turns: dict[str, SimCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, told = turns.setdefault(NAME, SimCell()), list[str]()
    held(cell, "Ada, since then,")
    monkeypatch.setattr(restore_turn, "SystemClock", lambda: clock)
    clock = Elsewhere()
    with restore_turn.alone(ASKED, "Bob", lambda doing, size: told.append(doing)) as lacking:
        term = cell.read()
        assert term is not None and term.holder.startswith("Bob, since ") and term.epoch == 8 and not lacking
    assert told == ["looking for 15 s whether Ada, since then, lives"]
    assert (ended := cell.read()) is not None and not ended.holder


def test_a_run_that_lost_its_lease_to_another_one_ends_with_the_next_thing_it_tells(
    turns: dict[str, SimCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onlyvips.wiring.living._SIGN_OF_LIFE", 0.001)
    clock = Elsewhere()
    monkeypatch.setattr(restore_turn, "SystemClock", lambda: clock)
    with restore_turn.alone(ASKED, "Ada", ignored):
        tell = restore_turn.telling(ASKED, ignored)
        tell("restoring", 1)
        held(turns[NAME], "Bob")
        clock.sleep(1000.0)
        with pytest.raises(Fenced, match="may no longer restore mongodb of lab.*is run again"):
            for _ in range(100_000):
                tell("restoring", 1)
    restore_turn.telling(ASKED, ignored)("restoring", 1)


def test_a_place_of_leases_that_is_lost_too_keeps_nobody_from_a_rescue_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any) -> Any:
        raise Transient("s3-a does not answer.")

    monkeypatch.setattr(restore_turn, "lease_cell", away)
    with restore_turn.alone(ASKED, "Ada", ignored) as lacking:
        assert "s3-a does not answer." in lacking and "see by yourself" in lacking
