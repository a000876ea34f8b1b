"""The reconciler of a whole environment: each service has its turn, two at a time do no harm, the flow tells."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import release as commands
from flows.reconcile import reconcile
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.reconciled import Reconciled
from onlyvips.core.record import Record
from onlyvips.errors import Driven, Permanent, Transient
from onlyvips.wiring import reconciling
from tasks import reconciling as tasks
from tasks import showing
from tests.core.decisions import RECORD
from tests.procedures.test_release_kills import SHORT
from tests.procedures.theatre import GOOD, Killed, Process, Theatre

BACK = replace(RECORD, phase="closed", result="rolled-back", reason="its driver is gone")
PRODUCTION = environments.load("production")


def became(monkeypatch: pytest.MonkeyPatch, what: dict[str, Any]) -> list[str]:
    """What ``wiring.reconcile`` makes of each service: a result, or what is raised. Returns whose turn it was."""
    turns: list[str] = []

    def one(_environment: str, service: str, *, holder: str) -> Any:
        turns.append(service)
        assert holder
        if isinstance(found := what[service], BaseException):
            raise found
        return found

    monkeypatch.setattr(wiring, "reconcile", one)
    return turns


def in_the_flow(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, str]]]:
    """Run tasks without an engine; returns the tables that were shown."""
    tables: list[list[dict[str, str]]] = []
    log = SimpleNamespace(log=lambda *_: None)
    monkeypatch.setattr(tasks, "get_run_logger", lambda: log)
    monkeypatch.setattr(tasks, "flow_run", SimpleNamespace(id="run-1", name="hairy-owl"))
    monkeypatch.setattr(tasks, "reconcile", tasks.reconcile.fn)
    monkeypatch.setattr(tasks, "create_table_artifact", lambda rows, **_: tables.append(rows))
    monkeypatch.setattr(showing, "soon", lambda _, call: call())
    return tables


@pytest.mark.parametrize(
    "broken", [Permanent("The record cannot be read."), Transient("The API is away."), KeyError("spec")], ids=repr
)
def test_a_service_that_cannot_be_finished_does_not_keep_the_next_ones_from_their_turn(
    monkeypatch: pytest.MonkeyPatch, broken: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"backend": broken, "miniapp": (BACK, ()), "showcu-panel": Driven("Bob is alive."), "bot": (None, ())}
    turns = became(monkeypatch, found)
    assert commands.reconcile(environment="production") == 1
    assert turns == ["backend", "miniapp", "showcu-panel", "bot"]
    said = capsys.readouterr()
    assert "backend: " in said.err and "miniapp: " in said.out and "showcu-panel: Bob is alive." in said.out


def test_services_of_every_strategy_have_their_turn() -> None:
    assert {one.strategy for one in PRODUCTION.services.values()} > {"canary"}
    assert reconciling.services("production") == list(PRODUCTION.services)


def test_a_defect_is_told_as_one_and_its_traceback_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    became(monkeypatch, {"backend": KeyError("spec")})
    found = reconciling.one("production", "backend", "somebody")
    assert found.unfinished and "a defect of this program (KeyError: 'spec')" in found.sentence
    assert "Traceback" in capsys.readouterr().err


def test_the_flow_shows_a_table_and_is_green_when_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = in_the_flow(monkeypatch)
    became(
        monkeypatch,
        {
            "backend": (BACK, ()),
            "miniapp": Driven("Bob is alive."),
            "showcu-panel": (None, ("Service x",)),
            "bot": (None, ()),
        },
    )
    told = reconcile.fn("production")
    outcomes = ["rolled-back", "left alone", "cleaned", "nothing"]
    assert [one["outcome"] for one in told] == outcomes
    assert [row["outcome"] for row in tables[0]] == outcomes


@pytest.mark.parametrize("bad", [(RECORD, ()), Permanent("No access.")], ids=["stays open", "fails"])
def test_the_flow_fails_with_the_sentence_of_what_is_not_finished(monkeypatch: pytest.MonkeyPatch, bad: Any) -> None:
    tables = in_the_flow(monkeypatch)
    became(monkeypatch, {name: (None, ()) for name in PRODUCTION.services} | {"miniapp": bad})
    with pytest.raises(Permanent, match=r"miniapp: (open|failed)"):
        reconcile.fn("production")
    assert len(tables[0]) == len(PRODUCTION.services)


def test_nothing_to_do_is_said_in_one_sentence_and_the_living_are_named() -> None:
    quiet = [Reconciled("backend", "nothing", ""), Reconciled("bot", "nothing", "")]
    assert tasks.reconciled.headline("lab", quiet) == "Reconciled lab: nothing to do for 2 services."
    alive = [*quiet, Reconciled("miniapp", "left alone", "")]
    assert "miniapp: driven by somebody who is alive" in tasks.reconciled.headline("lab", alive)


def dead_in_mid_canary() -> Theatre:
    """Half of the traffic is on the canary, and nobody drives."""
    theatre = Theatre(SHORT)
    driver = theatre.process("driver")
    driver.after_write = lambda *_: driver.die() if theatre.weight() == 50 else None
    with pytest.raises(Killed):
        driver.release(GOOD)
    return theatre


def writes_of_a_reconciler() -> int:
    """How many writes it takes to go back from there."""
    process = dead_in_mid_canary().process("reconciler")
    process.reconcile()
    return process.writes


def both_at(write: int) -> tuple[Theatre, list[str]]:
    """A second reconciler comes at the first one's ``write``; whom of the two was told that the other one lives."""
    theatre, told = dead_in_mid_canary(), list[str]()
    first, second = theatre.process("first"), theatre.process("second")

    def come(process: Process) -> Record | None:
        try:
            return process.reconcile()
        except Driven:
            told.append(process.holder)
            return None

    first.at_write = lambda number, *_: come(second) if number == write else None  # type: ignore[func-returns-value]
    come(first)
    return theatre, told


def test_two_reconcilers_at_a_time_are_one_and_no_request_is_lost() -> None:
    last = writes_of_a_reconciler()
    assert last > 10
    for write in range(1, last + 1):
        theatre, told = both_at(write)
        # The first write takes the lease, the last one gives it up: there nothing is left for the second.
        expected = {1: ["first"], last: []}.get(write, ["second"])
        assert told == expected, (write, told)
        record = theatre.assert_outcome("rolled-back")
        assert len(record.holders) == 2, (write, record.holders)
