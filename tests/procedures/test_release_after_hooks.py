"""A hook after the promotion fails, when the canary is gone: all go back without a lost request, whoever drives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from onlyvips.core.action import Action
from onlyvips.core.plan import HookPlan
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import CAPACITY, GOOD, IMAGE, OLD, Killed, Theatre
from tests.procedures.theatre_blue_green import PLAN as BLUE_GREEN
from tests.procedures.theatre_blue_green import Colours
from tests.procedures.theatre_ratio import QUICK, RatioTheatre
from tests.procedures.troupe import BRIEF

At = Callable[[Rollout, Action], None]
SMOKE = HookPlan("smoke", "ghcr.io/onlyvips/smoke:v1", ("smoke",), 60.0)
HOOKED = replace(BRIEF, after=(SMOKE,))


def hooked() -> Theatre:
    """A platform on which the hook after the promotion fails, and what carried all on the way back is seen."""
    theatre = Theatre(HOOKED)

    def see(kind: str, before: object, after: dict[str, dict[str, str]] | None) -> None:
        if kind == "Job" and before is None and after and after["metadata"]["name"].startswith("smoke"):
            theatre.platform.nature.jobs = "Failed"

    theatre.cluster.watchers.append(see)
    return theatre


def carriers(theatre: Theatre) -> list[str]:
    """The images of the canaries that were given all of the traffic, in turn."""
    seen: list[str] = []

    def see(kind: str, before: object, after: object) -> None:
        found = theatre.cluster.see("Deployment", "backend-canary")
        if kind == "HTTPRoute" and before is not None and theatre.weight() == 100 and found is not None:
            seen.append(str(found["spec"]["template"]["spec"]["containers"][0]["image"]).removeprefix(f"{IMAGE}:"))

    theatre.cluster.watchers.append(see)
    return seen


def writes_from_the_hook() -> tuple[int, int]:
    """The driver's write after which the hook runs, and its last one."""
    process, at = hooked().process("first"), list[int]()
    process.release(GOOD, lambda _, action: at.append(process.writes) if action.kind == "run-hook" else None)
    return at[0], process.writes


def test_attended_the_old_version_carries_all_while_stable_goes_back() -> None:
    theatre = hooked()
    seen = carriers(theatre)
    theatre.process("first").release(GOOD)
    assert "hook smoke failed" in theatre.assert_outcome("rolled-back").reason
    assert list(dict.fromkeys(seen)) == [GOOD, OLD]


def test_whenever_its_driver_dies_the_reconciler_goes_back_without_a_lost_request() -> None:
    first, last = writes_from_the_hook()
    assert last - first > 20
    for write in range(first, last + 1):
        theatre = hooked()
        process = theatre.process("first")
        process.after_write = lambda number, *_, at=write, it=process: it.die() if number == at else None
        with pytest.raises(Killed):
            process.release(GOOD)
        theatre.process("reconciler").reconcile()
        assert "hook smoke failed" in theatre.assert_outcome("rolled-back").reason, write


def test_a_reconciler_that_dies_on_that_way_is_followed_by_another() -> None:
    first, _ = writes_from_the_hook()
    for write in range(8, 30, 3):
        theatre = hooked()
        process = theatre.process("first")
        process.after_write = lambda number, *_, it=process: it.die() if number == first + 4 else None
        with pytest.raises(Killed):
            process.release(GOOD)
        reconciler = theatre.process("reconciler")
        reconciler.after_write = lambda number, *_, at=write, it=reconciler: it.die() if number == at else None
        with suppress(Killed):
            reconciler.reconcile()
        theatre.process("another").reconcile()
        theatre.assert_outcome("rolled-back")


def test_a_new_version_whose_pods_start_no_more_goes_back_without_a_lost_request_too() -> None:
    theatre = hooked()

    def at(_: Rollout, action: Action) -> None:
        if action.kind == "run-hook":
            theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")

    theatre.process("first").release(GOOD, at)
    theatre.assert_outcome("rolled-back")


def test_a_canary_that_cannot_carry_any_more_makes_room_for_one_of_the_old_version() -> None:
    """The weight is back at stable, the canary loses its pods, and a person aborts."""
    theatre, done = Theatre(BRIEF), list[str]()
    seen = carriers(theatre)

    def at(_: Rollout, action: Action) -> None:
        if action.kind == "remove-canary" and not done:
            done.append(action.kind)
            theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")
            theatre.platform.kill_pods("backend-canary", CAPACITY)
            theatre.abort()

    theatre.process("first").release(GOOD, at)
    theatre.assert_outcome("rolled-back")
    assert list(dict.fromkeys(seen)) == [GOOD, OLD]


def test_where_no_second_set_of_pods_starts_it_goes_back_in_place_and_says_so() -> None:
    theatre = hooked()

    def full() -> bool:
        found = records.find_open(theatre.cluster, "backend")
        if found is None or found.phase != "rollback":
            return False
        theatre.platform.nature.unready.add(f"{IMAGE}:{OLD}")
        return True

    def room(_: Rollout, action: Action) -> None:
        if action.kind == "restore-stable":
            theatre.platform.nature.unready.clear()

    theatre.clock.every(0.5, full)
    record = theatre.process("first").release(GOOD, room)
    assert record.result == "rolled-back" and theatre.stable_image() == OLD
    told = next(step.reason for step in record.steps if step.action == "restore stable")
    assert "for no canary can carry: 0 of 4 pods of canary are ready" in told


def test_by_the_ratio_of_pods_the_reconciler_has_the_old_version_beside_stable_while_that_goes_back() -> None:
    theatre = RatioTheatre(replace(QUICK, after=(SMOKE,)))
    driver = theatre.process("driver")

    def at(_: Rollout, action: Action) -> None:
        if action.kind == "run-hook":
            theatre.platform.nature.jobs = "Failed"
            driver.die()

    with pytest.raises(Killed):
        driver.release(GOOD, at)
    theatre.process("reconciler").reconcile()
    assert "hook smoke failed" in theatre.assert_outcome("rolled-back").reason
    assert theatre.counts.count((CAPACITY, CAPACITY)) == 2


def grown(theatre: Theatre, deployment: str, pods: int) -> At:
    """While the hook runs, its Deployment's autoscaler adds pods."""

    def at(_: Rollout, action: Action) -> None:
        if action.kind == "run-hook":
            theatre.cluster.change("Deployment", deployment, lambda it: it["spec"].update(replicas=pods))
            theatre.settle(30.0)
            theatre.platform.nature.jobs = "Failed"

    return at


def test_as_many_pods_carry_on_the_way_back_as_an_autoscaler_gave_stable_meanwhile() -> None:
    theatre, carried = hooked(), list[int]()

    def see(kind: str, before: object, after: object) -> None:
        if kind == "HTTPRoute" and before is not None and theatre.stable_image() == GOOD and theatre.weight() == 100:
            carried.append(theatre.ready("canary"))

    theatre.cluster.watchers.append(see)
    theatre.process("first").release(GOOD, grown(theatre, "backend", 8))
    assert theatre.record().result == "rolled-back" and theatre.stable_image() == OLD
    assert carried[-1] == 8
    assert (theatre.platform.lost_requests, theatre.broken_rules, theatre.leftovers()) == (0, [], [])


def test_a_colour_that_slept_gets_as_many_pods_as_serve_by_now_before_users_come_back() -> None:
    theatre, carried = Colours(replace(BLUE_GREEN, after=(SMOKE,))), list[int]()

    def see(kind: str, before: object, after: object) -> None:
        if kind == "Service" and before is not None and after is not None and theatre.selected() == "blue":
            carried.append(len(theatre.pods_of("blue")))

    theatre.cluster.watchers.append(see)
    theatre.process("first").release(GOOD, grown(theatre, "panel-green", 8))
    assert theatre.record().result == "rolled-back"
    assert carried[-1] == 8
    assert (theatre.platform.lost_requests, theatre.leftovers()) == (0, [])
