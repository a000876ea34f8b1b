"""What a canary's stage can see at today's traffic: the judge tried on canaries by chance before one is made. Pure.

A stage's power is the share of bad canaries that are found when the stage ends, each compared with stable by the very
functions that will judge the real one, at the alpha of that look. Earlier looks find some of the others too: the real
power is a little more. Requests are drawn as independent: where errors come in bursts it is less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from onlyvips.core.compare import compare_errors, compare_latency
from onlyvips.core.judge import alpha_of_look, planned_looks
from onlyvips.core.plan import Margins, Stage
from onlyvips.core.strata import Cells, Floats
from onlyvips.core.world import pods_for

ASKED = 0.95
"""What a stage should find: this share of bad canaries."""
_DRAWS, _FEWER = 100, 40
_HALVINGS = 9


@dataclass(frozen=True)
class Traffic:
    """Today's, all of it on stable: requests a second, the share of errors, pods; of the histogram the ``bounds``
    (seconds, rising) and the share of requests in each bucket, none where there is no histogram."""

    requests: float
    errors: float
    pods: int
    bounds: tuple[float, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True)
class Judging:
    """How often and how strictly looks are taken: ``alpha`` is shared by ``metrics``."""

    stages: tuple[Stage, ...]
    look: float
    margins: Margins
    alpha: float
    metrics: int


@dataclass(frozen=True)
class Sight:
    """What a stage sees. ``requests`` a second of the canary's own; ``powers`` by fault; ``smallest``: the least share
    of errors beyond today's that is found in 95 of 100 canaries, None where not even 100 % is."""

    requests: float
    powers: tuple[tuple[str, float], ...]
    smallest: float | None


ERRORS_5 = "errors of 5 % against 0.5 %"
ERRORS_1 = "errors of 1 % against none"
TWICE = "twice the latency"
_SHARES = {ERRORS_5: (0.05, 0.005), ERRORS_1: (0.01, 0.0)}


def sights(judging: Judging, traffic: Traffic, random: np.random.Generator) -> tuple[Sight, ...]:
    """What each stage sees, by chance drawn from ``random``."""
    return tuple(_Trial(judging, traffic, number, random).sight() for number in range(len(judging.stages)))


class _Trial:
    """Canaries of one stage, compared once, when it ends."""

    def __init__(self, judging: Judging, traffic: Traffic, number: int, random: np.random.Generator) -> None:
        self.stage, self.margins, self.random, self.traffic = judging.stages[number], judging.margins, random, traffic
        planned = planned_looks(judging.stages, judging.look)
        last = planned_looks(judging.stages[: number + 1], judging.look)
        self.alpha = alpha_of_look(last, planned, judging.metrics, judging.alpha)
        seconds = max(0.0, self.stage.hold - judging.margins.warm_up)
        self.strata = max(1, round(seconds / judging.look))
        self.each = seconds / self.strata

    def sight(self) -> Sight:
        """See ``Sight``."""
        powers = [(name, self._errors(*shares)) for name, shares in _SHARES.items()]
        powers += [(TWICE, self._latency())] if self.traffic.buckets else []
        return Sight(self.traffic.requests * self.stage.weight / 100, tuple(powers), self._smallest())

    def _errors(self, canary: float, stable: float, draws: int = _DRAWS) -> float:
        def p(mine: Floats, theirs: Floats) -> float:
            return compare_errors(
                self._cells(mine, canary), self._cells(theirs, stable), self.margins.errors, interval=False
            ).p

        return self._found(p, draws)

    def _latency(self) -> float:
        today = np.array(self.traffic.buckets, dtype=float)
        slower = twice(np.array(self.traffic.bounds, dtype=float), today)

        def p(mine: Floats, theirs: Floats) -> float:
            return compare_latency(self._timed(mine, slower), self._timed(theirs, today), self.margins.latency).p

        return self._found(p, _DRAWS)

    def _found(self, p: Callable[[Floats, Floats], float], draws: int) -> float:
        """The share of so many canaries that are found; fewer are drawn where all are."""
        found = 0
        for drawn in range(1, draws + 1):
            mine, theirs = (self._requests(weight) for weight in (self.stage.weight, 100 - self.stage.weight))
            enough = min(mine.sum(), theirs.sum()) >= self.margins.minimum_requests
            found += bool(enough and p(mine, theirs) <= self.alpha)
            if found == drawn == _FEWER:
                return 1.0
        return found / draws

    def _smallest(self) -> float | None:
        low, high = 0.0, 1.0 - self.traffic.errors
        if self._errors(1.0, self.traffic.errors, _FEWER) < ASKED:
            return None
        for _ in range(_HALVINGS):
            # Halves of the ratio rather than of the difference: one in a thousand and one in two are both of interest.
            middle = (max(low, 1e-4) * high) ** 0.5
            seen = self._errors(self.traffic.errors + middle, self.traffic.errors, _FEWER) >= ASKED
            low, high = (low, middle) if seen else (middle, high)
        return high

    def _requests(self, weight: int) -> Floats:
        """By pod and look."""
        pods = pods_for(weight, self.traffic.pods)
        each = self.traffic.requests * weight / 100 / pods * self.each
        return self.random.poisson(each, (pods, self.strata)).astype(float)

    def _cells(self, requests: Floats, share: float) -> Cells:
        errors = self.random.binomial(requests.astype(int), share).astype(float)
        return Cells(requests, errors, np.zeros((*requests.shape, 0)))

    def _timed(self, requests: Floats, shares: Floats) -> Cells:
        buckets = self.random.multinomial(requests.astype(int), shares).astype(float)
        return Cells(requests, np.zeros_like(requests), buckets)


def twice(bounds: Floats, shares: Floats) -> Floats:
    """The shares of a histogram's buckets when each request takes twice as long, even inside of a bucket."""
    upto = np.append(0.0, np.cumsum(shares))
    known = np.isfinite(bounds)
    half = np.interp(np.where(known, bounds, 0.0) / 2, np.append(0.0, bounds[known]), upto[: known.sum() + 1])
    found: Floats = np.clip(np.diff(np.where(known, half, upto[-1]), prepend=0.0), 0.0, None)
    found /= found.sum()
    return found
