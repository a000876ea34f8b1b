"""The table of places at which the lab's drivers are killed says what releases do: no step is left out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core.action import Action
from onlyvips.core.plan import Stage, Strategy
from onlyvips.steps.rollout import Rollout
from tests.procedures.in_place import Bot, Rolling
from tests.procedures.theatre import GOOD, PLAN, Theatre
from tests.procedures.theatre_blue_green import PLAN as SWITCH
from tests.procedures.theatre_blue_green import Colours
from tests.system.boundaries import WAYS, Steps, every, sample

STAGES: dict[Strategy, Callable[[], Theatre]] = {
    "canary": lambda: Theatre(replace(PLAN, stages=(Stage(50, 10.0),))),
    "blue-green": lambda: Colours(replace(SWITCH, stages=(Stage(100, 10.0),)), asleep=True, hpa=False),
    "rolling": Rolling,
    "recreate": Bot,
}
_READS = {"create-configs", "restore-configuration", "prune-configuration"}
LATER = {
    "canary": {"create-configs"},
    "blue-green": _READS,
    "rolling": {f"{what}#{n}" for what in ("wait rolling", "note-progress") for n in range(2, 6)} | _READS,
    "recreate": _READS
    | {"remove-leftovers", "wait empty", "wait empty#2", "wait empty#3", "wait empty#4", "wait ending#2"},
}
"""Steps that are on the simulator alone: its Deployment has more pods, all read a Secret and a ConfigMap, and whether
nothing is seen to be left in one wait or in two is a matter of moments."""


def seen(theatre: Theatre, way: str, patch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps of a release that a person aborts as soon as the step ``way`` is done."""
    names, steps, perform = list[str](), Steps(), Rollout.perform

    def note(rollout: Rollout, action: Action) -> str:
        name = steps.name(action, rollout.record())
        if not names or names[-1] != name:
            names.append(name)
        done = perform(rollout, action)
        if name == way:
            theatre.abort()
        return done

    patch.setattr(Rollout, "perform", note)
    theatre.process("first").release(GOOD)
    return names[names.index(way) + 1 :] if way else names


@pytest.mark.parametrize(("strategy", "way"), [(strategy, way) for strategy in WAYS for way in WAYS[strategy]])
def test_every_step_that_a_release_takes_is_in_the_table_in_its_order(
    strategy: Strategy, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, later = seen(STAGES[strategy](), way, monkeypatch), LATER.get(strategy, set())
    listed = [step for step in WAYS[strategy][way].split(", ") if step not in later]
    assert [step for step in found if step not in later] == listed


def test_each_step_has_its_moments_and_both_who_come_after() -> None:
    kills = list(every())
    assert len(set(map(str, kills))) == len(kills)
    for strategy, ways in WAYS.items():
        for step in ways[""].split(", "):
            moments = {(kill.moment, kill.comes) for kill in kills if (kill.strategy, kill.step) == (strategy, step)}
            assert len(moments) == (2 if step.split()[0] in ("enter", "close", "wait", "look") else 4), step


@pytest.mark.parametrize("seed", range(20))
def test_a_sample_has_all_strategies_both_ways_and_both_who_come_after(seed: int) -> None:
    chosen = sample(seed)
    assert len(chosen) == 12 and set(chosen) <= set(every())
    assert {kill.strategy for kill in chosen} == set(WAYS)
    assert {(bool(kill.way), kill.comes) for kill in chosen} == {
        (way, comes) for way in (False, True) for comes in ("retried", "nobody")
    }
