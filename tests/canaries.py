"""Canaries by chance for the judge: counters of pods under traffic, as a metrics system would have scraped them.

What chance does to two equal versions, with its size: ``drift`` (the rate of errors and the traffic of all go up and
down threefold in half an hour), ``bursts`` (errors come in clumps of up to ten, and in one look of twenty everybody
has fifteen times as many), ``uneven`` (each pod has its own rate, one standard deviation is a fifth, and is 3 % slower
or quicker), ``warm_up`` (a pod's first 50 s: 5 % errors, three times as slow), ``restarts`` (a pod begins anew every
half an hour or so, with its counters, and warms up).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import binomtest

from onlyvips.core.judge import alpha_of_look, judge_against, overall, planned_looks
from onlyvips.core.plan import Margins, Stage
from onlyvips.core.record import Value
from onlyvips.core.strata import Counter, Counters, both_cells, edges

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, np.inf)
MARGINS = Margins(errors=0.0025, latency=0.05, minimum_requests=100, warm_up=60.0)
STAGES = (Stage(10, 1800.0), Stage(25, 3600.0), Stage(50, 7200.0))
COLD, SCRAPE = 50.0, 15.0
METRICS, ALPHA = 4, 0.05
"""Two guardrails and two comparisons share alpha."""


@dataclass(frozen=True)
class Version:
    """A share of errors, and a median latency in seconds (lognormal, sigma 0.6)."""

    errors: float = 0.005
    median: float = 0.06


@dataclass(frozen=True)
class World:
    """What happens around two versions: ``rate`` of all, requests/s; ``pods`` of stable at 90 %, a look's length."""

    rate: float = 100.0
    pods: int = 9
    drift: bool = False
    bursts: bool = False
    uneven: bool = False
    warm_up: bool = False
    restarts: bool = False
    look: float = 300.0
    stages: tuple[Stage, ...] = field(default=STAGES)


EVERYTHING = World(drift=True, bursts=True, uneven=True, warm_up=True, restarts=True)
MINUTELY = replace(EVERYTHING, look=60.0)


class Canary:
    """One whole canary by chance: a verdict a look."""

    def __init__(self, canary: Version, stable: Version, world: World, seed: int) -> None:
        self.random, self.world = np.random.default_rng(seed), world
        self.versions, self.skipped = (canary, stable), MARGINS.warm_up

    def looks(self, margins: Margins = MARGINS, stages: int | None = None) -> list[tuple[Value, ...]]:
        """Until one fails, or the end of so many ``stages``."""
        world, found = self.world, list[tuple[Value, ...]]()
        self.skipped = margins.warm_up
        planned = planned_looks(world.stages, world.look)
        for stage in world.stages[:stages]:
            canary, stable, borders = self._stage(stage)
            cells = both_cells(canary, stable, borders, margins.warm_up)
            for number in range(1, len(borders)):
                alpha = alpha_of_look(len(found) + 1, planned, METRICS, ALPHA)
                so_far = [
                    type(one)(one.requests[:, :number], one.errors[:, :number], one.buckets[:, :number])
                    for one in cells
                ]
                found.append(judge_against(so_far[0], so_far[1], margins, alpha, told=False))
                if overall(found[-1])[0] == "fail":
                    return found
        return found

    def _stage(self, stage: Stage) -> tuple[Counters, Counters, Any]:
        world, since = self.world, 600.0
        at = np.arange(0.0, since + stage.hold + SCRAPE / 2, SCRAPE)
        wave = np.sin(at / 1800 * 2 * np.pi + self.random.uniform(0, 6.28)) if world.drift else np.zeros(len(at))
        common = 3.0 ** (wave / 2)
        if world.bursts:
            common = common * np.repeat(np.where(self.random.random(len(at)) < 0.05, 15.0, 1.0), 20)[: len(at)]
        sides = []
        for version, weight, born in (
            (self.versions[0], stage.weight, since - 10),
            (self.versions[1], 100 - stage.weight, -1e9),
        ):
            pods = max(1, round(world.pods * weight / 90))
            rate = world.rate * weight / 100 / pods * 3.0 ** (wave / 2) * SCRAPE
            pods_counters = [self._pod(f"{weight}-{pod}", version, rate, common, at, born) for pod in range(pods)]
            sides.append(Counters(*[[one for each in pods_counters for one in each[place]] for place in range(3)]))
        return sides[0], sides[1], edges(since + self.skipped, since + stage.hold, world.look)

    def _pod(self, name: str, version: Version, rate: Any, common: Any, at: Any, born: float) -> Any:
        random, world = self.random, self.world
        mine, slower = (random.lognormal(0, 0.2), random.normal(0, 0.03)) if world.uneven else (1.0, 0.0)
        again = sorted(random.uniform(0, 7200, 4 if world.restarts else 0))
        starts = [born, *(when for when in again if when > max(born, 300))]
        cold = np.zeros(len(at), bool)
        for start in starts if world.warm_up or world.restarts else []:
            cold |= (at > start) & (at <= start + COLD)
        requests = random.poisson(rate) * (at > born)
        clump = random.integers(1, 11, len(at)) if world.bursts else np.ones(len(at), int)
        share = np.clip(np.where(cold, 0.05, version.errors * mine * common) / (5.5 if world.bursts else 1.0), 0, 1)
        errors = np.minimum(requests, clump * random.binomial(requests, share))
        quick = self._upto(requests, version.median * np.exp(slower), cold)
        return self._scraped(name, at, born, starts, requests, errors, quick)

    def _upto(self, requests: Any, median: float, cold: Any) -> Any:
        with np.errstate(divide="ignore"):
            shares = [np.diff(ndtr((np.log(BOUNDS) - np.log(m)) / 0.6), prepend=0.0) for m in (median, 3 * median)]
        return np.cumsum(self.random.multinomial(requests, np.where(cold[:, None], shares[1], shares[0])), axis=1)

    def _scraped(
        self, name: str, at: Any, born: float, starts: list[float], requests: Any, errors: Any, quick: Any
    ) -> Any:
        def counted(grown: Any) -> list[tuple[float, float]]:
            total = np.cumsum(grown, dtype=float)
            for start in starts[1:]:
                total = np.where(at > start, total - total[at <= start][-1] if (at <= start).any() else total, total)
            return np.column_stack([at, total])[at > born]

        return (
            [Counter(name, counted(requests))],
            [Counter(name, counted(errors))],
            [Counter(name, counted(quick[:, place]), bound) for place, bound in enumerate(BOUNDS)],
        )


def failed(canary: Version, stable: Version, world: World, runs: int, *, seed: int = 1, **how: Any) -> int:
    """How many of so many canaries fail at some look."""
    found = (Canary(canary, stable, world, seed * 100_000 + run).looks(**how)[-1] for run in range(runs))
    return sum(overall(values)[0] == "fail" for values in found)


def upper_bound(count: int, runs: int) -> float:
    """At least this share, with 95 % confidence, is not exceeded (Clopper and Pearson, one-sided)."""
    return float(binomtest(count, runs, alternative="less").proportion_ci(0.95, method="exact").high)


NULLS: dict[str, tuple[Version, Version, World]] = {
    "equal, nothing else happens": (Version(), Version(), World()),
    "equal, drift": (Version(), Version(), World(drift=True)),
    "equal, drift, bursts": (Version(), Version(), World(drift=True, bursts=True)),
    "equal, uneven pods": (Version(), Version(), World(uneven=True)),
    "equal, warm-up, restarts": (Version(), Version(), World(warm_up=True, restarts=True)),
    "equal, all of it, 9 pods of stable": (Version(), Version(), EVERYTHING),
    "equal, all of it, 3 pods of stable": (Version(), Version(), replace(EVERYTHING, pods=3)),
    "equal, all of it, 2 pods of stable": (Version(), Version(), replace(EVERYTHING, pods=2)),
    "equal, drift, bursts, looks of a minute": (Version(), Version(), World(drift=True, bursts=True, look=60.0)),
    "equal, all of it, looks of a minute, 9 pods": (Version(), Version(), MINUTELY),
    "equal, all of it, looks of a minute, 3 pods": (Version(), Version(), replace(MINUTELY, pods=3)),
    "equal, all of it, looks of a minute, 2 pods": (Version(), Version(), replace(MINUTELY, pods=2)),
    "equal, all of it, looks of a minute, 1 pod": (Version(), Version(), replace(MINUTELY, pods=1)),
    "0.25 points worse (the margin), drift": (Version(0.0075), Version(), World(drift=True)),
    "0.25 % against no error (the margin)": (Version(0.0025), Version(0.0), World()),
}
FAULTS: dict[str, tuple[Version, Version]] = {
    "5 % errors against 0.5 %": (Version(0.05), Version()),
    "latency x 2": (Version(median=0.12), Version()),
    "1 % errors against none": (Version(0.01), Version(0.0)),
}
