"""Hold, resume, promote now, abort: asked of a release that runs, on the platform in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.record import Command, CommandName
from onlyvips.steps import records
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre import BAD, GOOD, IMAGE, PLAN, Killed, Theatre
from tests.simulators.platform import Version


def ask(theatre: Theatre, name: CommandName, reason: str = "to see") -> None:
    """A person asks."""
    found = records.find_open(theatre.cluster, "backend")
    assert found is not None
    records.command(theatre.cluster, found.id, Command(name, "Ada", theatre.clock.now(), reason))


def patient(limit: float) -> Theatre:
    return Theatre(replace(PLAN, waits=replace(PLAN.waits, hold_limit=limit)))


def test_a_held_stage_keeps_its_weight_and_is_looked_at_until_it_is_resumed_and_then_finishes_its_own_hold() -> None:
    theatre, at = patient(600.0), dict[str, float]()

    def press() -> None:
        ask(theatre, "hold")
        at["held"] = theatre.clock.now()
        theatre.clock.after(200.0, lambda: (ask(theatre, "resume"), at.update(resumed=theatre.clock.now())))

    theatre.process("first").release(GOOD, Once("look", press, nth=2))
    record = theatre.assert_outcome("promoted")
    during = [look for look in record.looks if at["held"] < look.at <= at["resumed"]]
    assert len(during) > 10 and {look.weight for look in during} == {10}
    assert {look.elapsed for look in during} == {0.0}
    first = [look for look in record.looks if look.stage == 0]
    assert sum(look.elapsed for look in first) >= PLAN.stages[0].hold
    assert theatre.route_writes == [10, 25, 50, 100, 0]


def test_a_version_that_turns_bad_while_it_is_held_goes_back() -> None:
    theatre = patient(600.0)

    def press() -> None:
        ask(theatre, "hold")
        theatre.platform.versions[GOOD] = Version(errors=0.5)

    theatre.process("first").release(GOOD, Once("look", press, nth=2))
    assert "api-errors" in theatre.assert_outcome("rolled-back").reason


def test_a_hold_that_is_forgotten_goes_back_after_its_limit_and_says_who_held_it() -> None:
    theatre, began = patient(150.0), list[float]()
    press = Once("look", lambda: (ask(theatre, "hold", "lunch"), began.append(theatre.clock.monotonic())))
    theatre.process("first").release(GOOD, press)
    record = theatre.assert_outcome("rolled-back")
    assert record.reason == "held by Ada: lunch; nobody resumed it within 2 min 30 s"
    assert theatre.clock.monotonic() - began[0] >= 150.0


def test_a_hold_before_any_traffic_keeps_it_from_traffic() -> None:
    theatre, weights = patient(600.0), list[int]()

    def press() -> None:
        ask(theatre, "hold")
        theatre.clock.after(120.0, lambda: (weights.append(theatre.weight()), ask(theatre, "resume")))

    theatre.process("first").release(GOOD, Once("back-up", press))
    theatre.assert_outcome("promoted")
    assert weights == [0]


def test_promote_now_skips_the_remaining_holds_and_stages_after_one_look_that_passes() -> None:
    theatre = patient(600.0)
    theatre.process("first").release(GOOD, Once("look", lambda: ask(theatre, "promote", "hotfix")))
    record = theatre.assert_outcome("promoted")
    assert theatre.route_writes == [10, 100, 0]
    assert {look.stage for look in record.looks} == {0}
    assert record.looks[-1].verdict == "pass"


def test_promote_now_gives_nothing_to_pods_that_are_not_ready() -> None:
    theatre = patient(600.0)

    def press() -> None:
        ask(theatre, "promote")
        theatre.platform.nature.unready.add(f"{IMAGE}:{GOOD}")

    theatre.process("first").release(GOOD, Once("look", press))
    assert "1 of 4 pods of canary are ready" in theatre.assert_outcome("rolled-back").reason
    assert max(theatre.route_writes) == 10


def test_promote_now_does_not_promote_a_version_whose_looks_fail() -> None:
    theatre = Theatre()
    theatre.process("first").release(BAD, Once("look", lambda: ask(theatre, "promote")))
    assert "api-errors" in theatre.assert_outcome("rolled-back").reason
    assert max(theatre.route_writes) == 10


@pytest.mark.parametrize("kind", ["snapshot", "migrate", "create-canary", "set-weight", "look", "scale-canary"])
@pytest.mark.parametrize("before", ["hold", "promote"])
def test_an_abort_beats_what_was_asked_before(kind: str, before: Any) -> None:
    theatre = patient(600.0)
    theatre.process("first").release(GOOD, Once(kind, lambda: (ask(theatre, before), ask(theatre, "abort", "no"))))
    assert theatre.assert_outcome("rolled-back").reason == "Ada asked for an abort: no"


def test_a_driver_killed_while_it_is_held_is_followed_by_one_that_holds_too_or_by_a_way_back() -> None:
    for comes in ("retry", "nobody"):
        theatre = patient(600.0)
        first = theatre.process("first")
        kills = Once("look", lambda it=theatre: ask(it, "hold"))

        def die(rollout: Any, action: Any, first: Any = first, kills: Any = kills) -> None:
            kills(rollout, action)
            if action.what == "held":
                first.die()

        with pytest.raises(Killed):
            first.release(GOOD, die)
        if comes == "nobody":
            theatre.process("reconciler").reconcile()
            theatre.assert_outcome("rolled-back")
            continue
        theatre.clock.after(100.0, lambda it=theatre: ask(it, "resume"))
        theatre.process("second").release(GOOD)
        record = theatre.assert_outcome("promoted")
        assert any(look.weight == 10 and not look.elapsed for look in record.looks)
