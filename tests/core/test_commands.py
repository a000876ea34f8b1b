"""What people ask of a running release: what stands of it, what becomes of it, what is answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.commands import answer, standing
from onlyvips.core.decide import next_action
from onlyvips.core.phases import phases_of
from onlyvips.core.record import Command, CommandName, Record
from onlyvips.core.world import World
from tests.core.decisions import GOING_BACK, HOLD, IN_CANARY, IN_PROMOTE, OLD, PLAN, RECORD, canary, decide, look, split

NAMES = get_args(CommandName)
HELD_LONG = replace(PLAN, waits=replace(PLAN.waits, hold_limit=3600.0))


def asked(record: Record, *names: Any) -> Record:
    """The record after these commands, one a second."""
    given = [Command(name, "Ada", float(at), f"reason {at}") for at, name in enumerate(names)]
    return replace(record, commands=(*record.commands, *given))


@pytest.mark.parametrize(
    ("names", "held", "promoting"),
    [
        ([], None, None),
        (["hold"], 0, None),
        (["hold", "hold"], 0, None),
        (["hold", "resume"], None, None),
        (["hold", "resume", "hold"], 2, None),
        (["resume"], None, None),
        (["promote"], None, 0),
        (["promote", "promote"], None, 0),
        (["promote", "hold"], 1, None),
        (["promote", "hold", "resume"], None, None),
        (["hold", "promote"], None, 1),
        (["promote", "resume"], None, 0),
        (["hold", "approve"], 0, None),
    ],
)
def test_what_stands_follows_the_order_in_which_it_was_asked(names: list[str], held: Any, promoting: Any) -> None:
    found = standing(asked(RECORD, *names))
    assert (found.held and found.held.at, found.promoting and found.promoting.at) == (held, promoting)


@given(st.lists(st.sampled_from(NAMES), max_size=6), st.integers(0, 6))
def test_nothing_stands_beside_an_abort_wherever_it_came(names: list[str], where: int) -> None:
    names.insert(min(where, len(names)), "abort")
    found = standing(asked(RECORD, *names))
    assert found.aborted is not None and found.held is None and found.promoting is None


@given(st.lists(st.sampled_from(NAMES), max_size=6))
def test_to_ask_the_same_twice_in_a_row_is_to_ask_once(names: list[str]) -> None:
    once, twice = asked(RECORD, *names), asked(RECORD, *(name for name in names for _ in range(2)))

    def kinds(record: Record) -> list[Any]:
        found = standing(record)
        return [one and one.name for one in (found.aborted, found.held, found.promoting)]

    assert kinds(once) == kinds(twice)


@pytest.mark.parametrize("phase", [phase for phase in phases_of("canary") if phase not in ("evidence", "closed")])
@pytest.mark.parametrize("before", [["hold"], ["promote"], ["hold", "resume"], ["abort", "hold", "promote"]])
def test_an_abort_beats_every_other_command_in_every_phase(phase: Any, before: list[str]) -> None:
    record = asked(replace(IN_CANARY, phase=phase, snapshot="s", backup="b"), *before, "abort")
    action = decide(record, World(OLD, canary(1), split(10)))
    assert (action.phase == "rollback" and action.kind == "enter") or phase == "rollback"
    assert action.what != "held"


TABLE = [
    ("a stage", asked(IN_CANARY, "hold"), World(OLD, canary(1), split(10)), "wait held"),
    ("before any weight", asked(replace(IN_CANARY, weight=0), "hold"), World(OLD, canary(1), split(0)), "wait held"),
    (
        "the next stage's pods too",
        asked(replace(IN_CANARY, stage=1, weight=25), "hold"),
        World(OLD, canary(1), split(25)),
        "wait held",
    ),
    ("the promotion", asked(replace(IN_PROMOTE, weight=50), "hold"), World(OLD, canary(4), split(50)), "wait held"),
    ("a stage that passed", asked(replace(IN_CANARY, looks=(look("pass"), look("pass"))), "hold"), None, "wait held"),
    ("not a failing look", asked(replace(IN_CANARY, looks=(look("fail"),)), "hold"), None, "enter rollback"),
    ("not dead pods", asked(IN_CANARY, "hold"), World(OLD, canary(0), split(10)), "set weight 0 %"),
    ("resumed", asked(IN_CANARY, "hold", "resume"), None, "look"),
    (
        "full weight before stable is replaced",
        asked(IN_PROMOTE, "hold"),
        World(OLD, canary(4), split(100)),
        "wait held",
    ),
    ("not a rollback", asked(GOING_BACK, "hold"), None, "set weight 0 %"),
    ("promote needs a look", asked(IN_CANARY, "promote"), None, "look"),
    ("promote", asked(replace(IN_CANARY, looks=(look("pass"),)), "promote"), None, "enter promote"),
    ("promote not for few", asked(replace(IN_CANARY, looks=(look("too-few"),)), "promote"), None, "look"),
    ("promote not for none", asked(replace(IN_CANARY, looks=(look("no-data"),)), "promote"), None, "look"),
    ("promote never a failure", asked(replace(IN_CANARY, looks=(look("fail"),)), "promote"), None, "enter rollback"),
    (
        "promote waits for pods",
        asked(replace(IN_PROMOTE, weight=10), "promote"),
        World(OLD, replace(canary(1), replicas=4), split(10)),
        "wait canary-ready",
    ),
]


@pytest.mark.parametrize(("record", "world", "title"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_hold_keeps_and_what_promote_now_skips(record: Record, world: World | None, title: str) -> None:
    assert decide(record, world or World(OLD, canary(1), split(10))).title == title


def test_a_hold_that_nobody_resumes_goes_back_at_its_limit_and_says_so() -> None:
    def after(seconds: float, plan: Any = PLAN) -> Any:
        world = World(OLD, canary(1), split(10), waiting="held", waited=seconds)
        return next_action(asked(IN_CANARY, "hold"), world, plan, attended=True)

    assert after(HOLD - 1).what == "held" and after(3599.0, HELD_LONG).what == "held"
    assert after(HOLD).reason == "held by Ada: reason 0; nobody resumed it within 2 min"
    assert after(3600.0, HELD_LONG).reason == "held by Ada: reason 0; nobody resumed it within 1 h"


def test_a_held_release_whose_driver_is_gone_goes_back() -> None:
    assert decide(asked(IN_CANARY, "hold"), World(OLD, canary(1), split(10)), attended=False).title == "enter rollback"


CLOSED = replace(RECORD, phase="closed", result="promoted")
ANSWERS = [
    (IN_CANARY, "hold", "do", "is held at 10 %: looks go on"),
    (RECORD, "hold", "do", "is held before it gets any traffic"),
    (asked(IN_CANARY, "hold"), "hold", "nothing", "is held already by Ada: reason 0"),
    (replace(IN_PROMOTE, stable_replaced=True), "hold", "refuse", "is past its last hold"),
    (replace(IN_CANARY, strategy="rolling", phase="roll"), "hold", "refuse", "by rolling cannot be held in phase roll"),
    (IN_CANARY, "resume", "nothing", "is not held by anybody"),
    (asked(IN_CANARY, "hold"), "resume", "do", "goes on"),
    (RECORD, "promote", "refuse", "has no traffic yet (phase prepare)"),
    (IN_CANARY, "promote", "do", "skips its remaining holds once a look"),
    (asked(IN_CANARY, "promote"), "promote", "nothing", "was asked for already by Ada"),
    (IN_PROMOTE, "promote", "nothing", "is being promoted already"),
    (replace(RECORD, strategy="rolling", phase="roll"), "promote", "refuse", "has nothing to skip in phase roll"),
    (GOING_BACK, "promote", "refuse", "is going back, and nothing stops that"),
    (asked(IN_CANARY, "abort"), "hold", "refuse", "is going back, and nothing stops that"),
    (asked(IN_CANARY, "abort"), "abort", "nothing", "was aborted already by Ada"),
    (GOING_BACK, "abort", "do", "goes back"),
    *[(CLOSED, name, "refuse", f"is over: there is nothing to {name}") for name in NAMES],
    *[(replace(RECORD, phase="evidence"), name, "refuse", "is over") for name in NAMES],
]


@pytest.mark.parametrize(("record", "name", "kind", "sentence"), ANSWERS)
def test_a_command_is_answered_in_a_sentence(record: Record, name: Any, kind: str, sentence: str) -> None:
    found = answer(record, PLAN, name)
    assert found.kind == kind and sentence in found.sentence
    assert found.sentence[0].isupper() and found.sentence.endswith(".")
