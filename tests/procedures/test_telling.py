"""What people are told of a release, whoever drives it, and that nothing of telling can disturb it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from onlyvips.core.bulletin import EVENTS, Event
from onlyvips.core.message import Message
from onlyvips.core.record import Record
from onlyvips.errors import Transient
from onlyvips.steps import records
from onlyvips.steps.herald import Crier, Start, Target, in_a_thread
from tests.procedures.theatre import BAD, GOOD, Killed, Process, Theatre
from tests.simulators.clock import SimClock
from tests.simulators.notifier import SimNotifier

ESCALATE = 30.0


def listen(theatre: Theatre, wants: tuple[Event, ...] = EVENTS, start: Start = lambda work: work()) -> SimNotifier:
    """An address that is told of the theatre's releases, in the driver's thread unless ``start`` differs."""
    notifier = SimNotifier()
    targets = [Target("slack", frozenset(wants), lambda: notifier)]

    def herald(process: Process) -> Crier:
        return Crier(
            targets,
            theatre.clock,
            theatre.plan,
            escalate_after=ESCALATE,
            note=lambda release, told: records.note_told(process, release, told),
            link=lambda record: f"https://prefect/{record.id}",
            start=start,
        )

    theatre.herald = herald
    return notifier


def titles(notifier: SimNotifier) -> list[str]:
    return [one.title.partition(":")[0] for one in notifier.arrived]


PROMOTED = [
    "Release of backend v0.9.0 in simulated started",
    "Stage 1 of 3 passed",
    "Stage 2 of 3 passed",
    "Stage 3 of 3 passed",
    "Promoted",
]


def test_a_release_that_is_promoted_tells_each_step_once_and_the_record_says_so() -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    assert titles(notifier) == PROMOTED
    assert [(one.news, one.target, one.failed) for one in record.told] == [
        ("started", "slack", ""),
        *((f"stage-{number}-passed", "slack", "") for number in (1, 2, 3)),
        ("promoted", "slack", ""),
    ]
    assert all(f"See: https://prefect/{record.id}" in one.body for one in notifier.arrived)


def test_a_release_that_fails_tells_that_it_goes_back_why_and_that_it_is_back() -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    theatre.process("first").release(BAD)
    theatre.assert_outcome("rolled-back")
    assert titles(notifier)[1:] == ["Going back", "Rolled back"]
    assert "api-errors" in notifier.arrived[1].body
    assert "Put the cause right" in notifier.arrived[2].body


def test_a_target_is_told_only_what_it_wants() -> None:
    theatre = Theatre()
    notifier = listen(theatre, wants=("promoted",))
    theatre.process("first").release(GOOD)
    assert titles(notifier) == ["Promoted"]


def test_a_hand_edit_is_told_as_held_and_when_nobody_answers_once_more() -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    edited = list[bool]()

    def edit(_: object, action: Any) -> None:
        if action.kind == "look" and not edited:
            edited.append(True)
            theatre.platform.hand_edit_weight(20)

    theatre.process("first").release(GOOD, edit)
    theatre.assert_outcome("rolled-back")
    assert titles(notifier)[1:] == ["Held", "Nobody answers", "Going back", "Rolled back"]
    assert "the route shows 20 %" in notifier.arrived[1].body


@pytest.mark.parametrize("moment", ["before it was sent", "before it was written down"])
def test_a_driver_that_dies_over_a_message_leaves_it_to_the_next_one(moment: str) -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    first = theatre.process("first")

    def die(message: Message) -> None:
        if message.title.startswith("Stage 2"):
            if moment == "before it was sent":
                first.die()
            first.at_write = lambda *_: first.die()

    notifier.before = die
    with pytest.raises(Killed):
        first.release(GOOD)
    notifier.before = lambda _: None
    theatre.clock.sleep(60.0)
    theatre.process("second").release(GOOD)
    theatre.assert_outcome("promoted")
    twice = [] if moment == "before it was sent" else ["Stage 2 of 3 passed"]
    assert sorted(titles(notifier)) == sorted([*PROMOTED, *twice])


def test_the_reconciler_tells_what_it_does_with_a_release_that_nobody_drives() -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    first = theatre.process("first")

    def die(_: object, action: Any) -> None:
        if action.kind == "look":
            first.die()

    with pytest.raises(Killed):
        first.release(GOOD, die)
    theatre.clock.sleep(60.0)
    theatre.process("reconciler").reconcile()
    theatre.assert_outcome("rolled-back")
    assert titles(notifier)[-2:] == ["Going back", "Rolled back"]
    assert "its driver is gone" in notifier.arrived[-2].body


def test_an_address_that_is_away_is_asked_again_and_the_record_says_why_it_was_not_told() -> None:
    theatre = Theatre()
    notifier = listen(theatre)
    seen = list[Record]()

    def come_back(_: object, action: Any) -> None:
        seen.append(theatre.record())
        notifier.away = action.kind != "next-stage" and notifier.away

    notifier.away = True
    theatre.process("first").release(GOOD, come_back)
    theatre.assert_outcome("promoted")
    assert seen[0].told[0].failed == "the simulated address did not take the message"
    assert sorted(titles(notifier)) == sorted(PROMOTED)
    assert [one for one in theatre.record().told if one.failed] == []


def raises(_: Message) -> None:
    raise RuntimeError("a bug, with https://hooks/secret in it")


def refuses(_: Message) -> None:
    raise Transient("nobody there")


@pytest.mark.parametrize("trouble", [raises, refuses])
def test_a_notifier_that_fails_does_not_disturb_the_release(trouble: Callable[[Message], None], caplog: Any) -> None:
    theatre = Theatre()
    listen(theatre).before = trouble
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    assert {one.failed for one in record.told} <= {"it raised RuntimeError", "nobody there"}
    assert "slack was not told that" in caplog.text
    assert "secret" not in caplog.text


def test_a_notifier_that_hangs_stops_neither_the_release_nor_its_end() -> None:
    theatre = Theatre()
    hang, hung = threading.Event(), threading.Event()

    def forever(_: Message) -> None:
        hung.set()
        hang.wait(60)

    listen(theatre, start=in_a_thread).before = forever
    process = theatre.process("first")
    heralds = list[Any]()

    def remember(rollout: Any, _: object) -> None:
        heralds.append(rollout.tools.herald)

    process.release(GOOD, remember)
    record = theatre.assert_outcome("promoted")
    assert hung.wait(10)
    heralds[-1].settle(0.05)
    assert record.told == ()
    hang.set()
    heralds[-1].settle(30.0)


def test_one_target_that_hangs_does_not_keep_the_others_from_their_messages() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD)
    hang, quick, slow = threading.Event(), SimNotifier(), SimNotifier()
    slow.before = lambda _: (hang.wait(60), None)[1]
    arrived = threading.Event()
    quick.before = lambda _: arrived.set()
    targets = [Target(name, frozenset(EVENTS), lambda n=n: n) for name, n in (("slow", slow), ("quick", quick))]  # type: ignore[misc]
    crier = Crier(targets, SimClock(), theatre.plan, escalate_after=1.0, note=lambda *_: None, link=lambda _: "link")
    crier.look(theatre.record())
    assert arrived.wait(10)
    assert slow.arrived == []
    hang.set()
    crier.settle(30.0)
    assert len(slow.arrived) == len(quick.arrived) == 5


def test_an_address_that_stays_away_is_asked_ever_more_seldom_and_noted_once() -> None:
    theatre, clock, tried, noted = Theatre(), SimClock(), list[float](), list[str]()
    theatre.process("first").release(GOOD)
    record = theatre.record()

    def away(_: Message) -> None:
        tried.append(clock.monotonic())
        raise Transient("nobody there")

    notifier = SimNotifier()
    notifier.before = away
    crier = Crier(
        [Target("slack", frozenset(("promoted",)), lambda: notifier)],
        clock,
        theatre.plan,
        escalate_after=1.0,
        note=lambda _, told: noted.append(told.failed),
        link=lambda _: "link",
        start=lambda work: work(),
    )
    for _ in range(200):
        crier.look(record)
        clock.sleep(10.0)
    assert tried == [0.0, 60.0, 180.0, 420.0, 900.0, 1800.0]
    assert noted == ["nobody there"]
