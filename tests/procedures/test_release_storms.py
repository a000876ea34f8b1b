"""Several faults at random moments, the driver's death among them: a release always ends, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

from onlyvips.errors import OnlyVipsError
from onlyvips.steps import records
from tests.procedures.test_release_faults import WRITES
from tests.procedures.test_release_kills import SHORT
from tests.procedures.theatre import BAD, GOOD, OLD, Killed, Theatre

SEEDS = range(60)


def harmless(theatre: Theatre, random: Random) -> list[Callable[[], object]]:
    """Faults that may not cost a single request."""

    def abort() -> None:
        if records.find_open(theatre.cluster, "backend") is not None:
            theatre.abort()

    return [
        abort,
        lambda: theatre.cluster.answer_lost_on(*random.choice(WRITES)),
        lambda: theatre.cluster.answer_lost_on(*random.choice(WRITES)),
        lambda: theatre.cluster.apiserver_away(random.uniform(1.0, 14.0)),
        lambda: theatre.cluster.apiserver_away(random.uniform(15.0, 60.0)),
        lambda: theatre.platform.metrics.prometheus_away(random.uniform(5.0, 100.0)),
    ]


def harmful(theatre: Theatre, random: Random) -> list[Callable[[], object]]:
    """Faults that cost requests by themselves: pods that die under traffic, hands in the route."""
    deployments = ("backend", "backend-canary")

    def remove_canary() -> None:
        if theatre.cluster.see("Deployment", "backend-canary") is not None:
            theatre.cluster.drop("Deployment", "backend-canary")

    return [
        lambda: theatre.platform.kill_pods(random.choice(deployments), random.randint(1, 4)),
        lambda: theatre.platform.hand_edit_weight(random.choice([0, 30, 100])),
        remove_canary,
    ]


def storm(theatre: Theatre, random: Random, faults: list[Callable[[], object]]) -> None:
    """Between one and three of ``faults`` in the next two minutes; what hits nobody is no fault."""

    def strike() -> None:
        try:
            random.choice(faults)()
        except OnlyVipsError:
            theatre.clock.after(5.0, strike)

    for _ in range(random.randint(1, 3)):
        theatre.clock.after(random.uniform(0.0, 120.0), strike)


def run(theatre: Theatre, random: Random, again: bool) -> None:
    """A driver that may die, then further attempts or the reconciler, until the release is closed."""
    version, death = random.choice([GOOD, GOOD, BAD]), random.choice([0, random.randint(1, 70)])
    first = theatre.process("first")
    first.at_write = lambda number, *_: first.die() if number == death else None
    with suppress(OnlyVipsError, Killed):
        first.release(version)
    first.alive = False
    for attempt in range(12):
        theatre.settle(70.0)
        process = theatre.process(f"attempt {attempt}")
        with suppress(OnlyVipsError):
            _ = process.release(version) if again else process.reconcile()
            if not any(record.open for record in records.every(theatre.cluster)):
                return
        process.alive = False
    raise AssertionError(f"not closed: {theatre.record().phase} {theatre.record().steps[-1]}")


def judge(theatre: Theatre) -> None:
    theatre.settle(160.0)
    assert theatre.leftovers() == []
    for record in records.every(theatre.cluster):
        assert not record.open
    closed = records.every(theatre.cluster)
    promoted = [record.version for record in closed if record.result == "promoted"]
    assert theatre.stable_image() == (promoted[-1] if promoted else OLD)


@pytest.mark.parametrize("again", [True, False], ids=["run again", "nobody"])
@pytest.mark.parametrize("seed", SEEDS)
def test_faults_of_the_machinery_cost_no_request(seed: int, again: bool) -> None:
    random, theatre = Random(seed), Theatre(SHORT, seed=seed)
    storm(theatre, random, harmless(theatre, random))
    run(theatre, random, again)
    judge(theatre)
    assert theatre.platform.lost_requests == 0, theatre.platform.lost[:3]
    assert theatre.broken_rules == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_release_ends_whatever_dies_and_whoever_interferes(seed: int) -> None:
    random, theatre = Random(seed), Theatre(SHORT, seed=seed)
    storm(theatre, random, harmless(theatre, random) + 2 * harmful(theatre, random))
    run(theatre, random, again=False)
    judge(theatre)
