"""Each wait of a release matters: taken out, the same good release loses requests on the simulated platform."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import canary
from onlyvips.core.world import Workload
from onlyvips.errors import OnlyVipsError
from onlyvips.steps.fence import Fence
from onlyvips.steps.observe import Observer
from tests.procedures import test_release_zombies
from tests.procedures.theatre import GOOD, PLAN, Theatre

Patch = pytest.MonkeyPatch


def lost_by(plan: Any = PLAN) -> float:
    """Requests that a few good releases lose under different delays of the router."""
    lost = 0.0
    for seed in range(1, 6):
        theatre = Theatre(plan, seed=seed)
        theatre.process("first").release(GOOD)
        theatre.settle()
        lost += theatre.platform.lost_requests + len(theatre.broken_rules)
    return lost


def test_with_all_its_waits_a_release_loses_nothing() -> None:
    assert lost_by() == 0


def test_without_the_router_being_given_time_requests_are_lost() -> None:
    assert lost_by(replace(PLAN, waits=replace(PLAN.waits, propagation=0.0))) > 100


def test_with_less_time_than_the_router_needs_requests_are_lost() -> None:
    assert lost_by(replace(PLAN, waits=replace(PLAN.waits, propagation=2.0))) > 0


def test_without_waiting_until_pods_are_visible_requests_are_lost(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Observer, "_seen", lambda self, uid, ready, others: (len(ready), 1e9))
    assert lost_by() > 0


def test_without_waiting_until_a_weight_is_obeyed_requests_are_lost(monkeypatch: Patch) -> None:
    split = Observer.split
    monkeypatch.setattr(Observer, "split", lambda self, router: (s := split(self, router)) and replace(s, settled=1e9))
    assert lost_by() > 100


def test_without_the_canary_at_full_capacity_the_rule_is_seen_to_break(monkeypatch: Patch) -> None:
    carry: Callable[..., Any] = canary.cannot_carry

    def one_is_enough(who: str, workload: Workload, needed: int, *more: Any) -> Any:
        return carry(who, replace(workload, complete=True), 1, *more)

    monkeypatch.setattr(canary, "cannot_carry", one_is_enough)
    assert lost_by() > 0


def deaf_to_the_lease(monkeypatch: Patch) -> None:
    """No driver hears from its lease that it was lost."""
    original = Fence.__init__

    def without_progress(self: Fence, cluster: Any, service: str, epoch: int, progress: Any) -> None:
        original(self, cluster, service, epoch, lambda: None)

    monkeypatch.setattr(Fence, "__init__", without_progress)


def test_the_epoch_alone_keeps_a_zombie_from_writing(monkeypatch: Patch) -> None:
    deaf_to_the_lease(monkeypatch)
    test_release_zombies.test_a_zombie_changes_nothing_of_what_a_second_attempt_finished()
    test_release_zombies.test_a_zombie_changes_nothing_while_the_one_who_took_over_has_only_begun()


def test_without_fencing_a_zombie_writes(monkeypatch: Patch) -> None:
    deaf_to_the_lease(monkeypatch)
    monkeypatch.setattr(Fence, "_claimed", lambda self, kind, live: live)
    theatre, seen = Theatre(), {}
    zombie = theatre.process("zombie")

    def freeze(number: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("patch", "ConfigMap") and theatre.weight() == 10 and not seen:
            zombie.frozen, seen["state"] = True, {}
            theatre.process("second").release(GOOD)
            zombie.frozen, seen["state"] = False, test_release_zombies.state(theatre)

    zombie.at_write = freeze
    with suppress(OnlyVipsError):
        zombie.release(GOOD)
    after = test_release_zombies.state(theatre)
    assert "changed" in test_release_zombies.changes(seen["state"], after).values()
