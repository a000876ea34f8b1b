"""What a release shows in Prefect never holds the driver up, and never stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from onlyvips.errors import Transient, UnknownOutcome
from onlyvips.steps import acts
from tasks import showing
from tests.core.decisions import RECORD
from tests.procedures.theatre import Theatre

LONG = 20.0


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """A Prefect that does not answer until the event is set."""
    answers = threading.Event()
    yield answers
    answers.set()
    showing.settle(LONG)


def test_a_prefect_that_hangs_does_not_hold_the_driver_up(hanging: threading.Event) -> None:
    began = time.monotonic()
    for _ in range(3):
        showing.soon("report", lambda: hanging.wait(LONG))
    showing.settle(0.05)
    assert time.monotonic() - began < LONG / 2


def test_of_several_things_under_one_name_the_latest_is_shown(hanging: threading.Event) -> None:
    shown: list[str] = []
    showing.soon("first", lambda: hanging.wait(LONG))
    time.sleep(0.05)
    for text in ("old", "older", "newest"):
        showing.soon("report", lambda text=text: shown.append(text))
    hanging.set()
    showing.settle(LONG)
    assert shown == ["newest"]


def test_what_cannot_be_shown_stops_nothing_and_the_next_is_shown() -> None:
    shown: list[str] = []

    def fail() -> None:
        raise RuntimeError("no answer")

    showing.soon("report", fail)
    showing.soon("progress", lambda: shown.append("progress"))
    showing.settle(LONG)
    assert shown == ["progress"]


@pytest.mark.parametrize("error", [Transient("The API is away."), UnknownOutcome("It gave no answer.")])
def test_an_api_that_is_away_for_a_moment_does_not_cost_hours_of_a_backup(error: Exception) -> None:
    tools = theatre_tools(error)
    acts._hearing(tools, RECORD)()


def theatre_tools(error: Exception) -> acts.Tools:
    """Tools whose lease cannot be renewed just now."""

    class Away:
        epoch = 1

        def progress(self) -> None:
            raise error

    return Theatre().process("first")._tools(Away())
