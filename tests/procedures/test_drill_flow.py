"""The flow of a drill by its tasks, on simulators: what fails, what is cancelled, what is cleaned up and recorded."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.drill import drill as flow
from onlyvips import environment as environments
from onlyvips.core.drills import FAILED
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps import signature
from onlyvips.steps.drill import lifetime
from onlyvips.wiring import backups, drill_records, drills, trend
from tasks import drills as tasks
from tests.core.test_drills import RECORD
from tests.procedures.test_drill import Scene

PAIR = signature.make_key()
WRONG = replace(RECORD, verdict=FAILED, reasons=("No slice leads on.",))


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's environment, whose keys are a pair of ours, without a lab."""
    monkeypatch.setattr(backups, "measure", lambda _: "")
    monkeypatch.setattr(environments, "drill_keys", lambda _: (PAIR.public,))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("drill"))


def test_what_fails_in_a_drill_is_noted_and_not_raised_and_a_bug_is(
    monkeypatch: pytest.MonkeyPatch, logged: None
) -> None:
    why: list[tuple[str, str]] = []
    monkeypatch.setattr(drills, "fail", lambda *told: why.append(told))
    with tasks.noted("7"):
        raise Refused("No slice.")
    assert why == [("7", "No slice.")]
    with pytest.raises(ZeroDivisionError), tasks.noted("7"):
        raise ZeroDivisionError


def test_a_run_is_green_only_when_the_drill_passed(logged: None) -> None:
    assert tasks.conclude(RECORD)["verdict"] == "passed"
    with pytest.raises(Permanent, match=r"failed.*No slice leads on\."):
        tasks.conclude(WRONG)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, logged: None) -> Scene:
    """The flow's tasks as functions, on simulators; its lease and what it shows left out."""
    scene = Scene()
    drill = scene.drill()
    running_ = drills._Running(environments.load("lab"), drill, PAIR)
    monkeypatch.setitem(drills._running, drill.record.id, running_)
    monkeypatch.setattr(drills, "catalog", lambda _: SimpleNamespace(backups=scene.backups(), away={}))
    monkeypatch.setattr(drills, "stores_of", lambda _: scene.world.places)
    monkeypatch.setattr(drill_records, "stores_of", lambda _: scene.world.places)
    for name in ("clear", "restore", "verify", "clean", "keep"):
        monkeypatch.setattr(tasks, name, getattr(tasks, name).fn)

    def begin(*_: Any) -> str:
        drills._begun_here[drill.record.id] = stack = ExitStack()
        stack.enter_context(lifetime(drill, lambda _: drills.keep(drill.record.id)))
        return drill.record.id

    nobody = SimpleNamespace(name="owl", id="7", run_count=1)
    monkeypatch.setattr(tasks, "flow_run", nobody)
    monkeypatch.setattr(tasks, "Teller", SimpleNamespace)
    monkeypatch.setattr(tasks, "begin", begin)
    monkeypatch.setattr(tasks, "show", lambda _: None)
    return scene


def test_the_flow_does_what_the_command_does_and_its_record_is_believed(scene: Scene) -> None:
    found = flow.fn("lab")
    assert found["verdict"] == "passed" and scene.target.data == {}
    assert asdict(drill_records.one_record(environments.load("lab"), found["id"])) == found


def test_a_flow_whose_restore_fails_cleans_up_keeps_the_record_and_is_red(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise Permanent("The replay broke.")

    monkeypatch.setattr(tasks, "verify", broken)
    with pytest.raises(Permanent, match=r"failed.*The replay broke\."):
        flow.fn("lab")
    assert scene.target.data == {}
    (record,) = drill_records.records(environments.load("lab")).records
    assert record.reasons == ("The replay broke.",) and record.entries > 0


class Cancelled(BaseException):
    """As Prefect ends a run that is cancelled."""


@pytest.mark.parametrize("error", [Cancelled(), KeyboardInterrupt(), ZeroDivisionError("no zero")], ids=repr)
@pytest.mark.parametrize("step", ["clear", "restore", "verify", "clean", "keep"])
def test_a_flow_that_is_cancelled_or_meets_a_bug_at_any_step_cleans_up_and_its_record_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def ends(_: str) -> None:
        raise error

    monkeypatch.setattr(tasks, step, ends)
    with pytest.raises(type(error)):
        flow.fn("lab")
    assert scene.target.data == {} and drills._begun_here == {}
    (record,) = drill_records.records(environments.load("lab")).records
    assert not record.passed and record.left == ()
    assert any(word in record.reasons[0] for word in ("Cancelled", "Ctrl-C", "ZeroDivisionError: no zero"))


@pytest.fixture
def as_in_a_terminal() -> Iterator[None]:
    """An interrupt is heard, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_terminal")
def test_an_interrupt_in_the_middle_of_a_restore_stops_its_threads_before_the_database_is_removed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = drills._running
    found = drills._running[id]
    began, stopped = threading.Event(), list[bool]()

    def slow() -> None:
        began.set()
        stopped.append(found.stopping.wait(20))
        raise drills._Stopped

    monkeypatch.setattr(found.rehearsal, "verify", slow)
    interrupt = threading.Thread(target=lambda: began.wait(20) and os.kill(os.getpid(), signal.SIGINT), daemon=True)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        flow.fn("lab")
    interrupt.join()
    assert stopped == [True] and scene.target.data == {}
    (record,) = drill_records.records(environments.load("lab")).records
    assert record.reasons == ("It was interrupted by a person (Ctrl-C).",) and record.entries > 0


def test_a_trend_that_cannot_be_drawn_fails_no_drill(monkeypatch: pytest.MonkeyPatch, logged: None) -> None:
    def away(_: str) -> str:
        raise Transient("Nobody answers.")

    monkeypatch.setattr(trend, "markdown", away)
    monkeypatch.setattr(tasks, "create_markdown_artifact", lambda *_, **__: pytest.fail("nothing is to be shown"))
    tasks.show.fn("lab")
