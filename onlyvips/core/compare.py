"""The canary compared with stable, stratum by stratum: two tests with a margin. Pure.

A stratum is a look's length of time. Rates drift while weights change, so counts of different strata are never added
before they are compared (Simpson's paradox). Neither test believes that requests are independent: what bursts, clumps
and uneven pods add to the variance is in ``onlyvips.core.spread``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from onlyvips.core.risk import WIDE, Sides
from onlyvips.core.special import ndtr
from onlyvips.core.spread import OWN_ERRORS, OWN_PLACE, Residuals, believed_clump, uneven
from onlyvips.core.strata import Cells, Floats


@dataclass(frozen=True)
class Compared:
    """``canary`` and ``stable`` are shares (errors) or P(canary slower) and one half (latency); ``effect`` is their
    difference over the strata, within ``low`` and ``high`` at 95 %; ``p`` is of "at most ``margin`` worse"; ``spread``
    is how many times larger the variance is than that of independent requests."""

    requests: int
    against: int
    canary: float
    stable: float
    effect: float
    low: float
    high: float
    p: float
    spread: float


def compare_errors(canary: Cells, stable: Cells, margin: float, interval: bool = True) -> Compared:
    """Shares of errors: the risk difference with Mantel and Haenszel's weights.

    p: the tail of that sum under the strata's most likely shares that differ by ``margin`` (Miettinen and Nurminen,
    Stat. Med. 4 (1985)), by a saddlepoint (Lugannani and Rice, Adv. Appl. Prob. 12 (1980)) and not by a normal, which
    at alphas of one in ten thousand is wrong by orders of magnitude where errors are few. Errors that come in clumps
    are clumps of ``spread``. The interval is Miettinen and Nurminen's, without the tail's care.
    """
    sides = Sides.of(canary.requests.sum(0), canary.errors.sum(0), stable.requests.sum(0), stable.errors.sum(0))
    p, effect, low, high, wide = 1.0, 0.0, -1.0, 1.0, 1.0
    if sides.weight:
        null = sides.null(margin)
        wide = _spread_of_errors(canary, stable, margin, sides.noise(null))
        p, effect = sides.tail(margin, wide, null), sides.difference
        low, high = sides.interval(wide) if interval else (low, high)
    both = float(sides.nc.sum()), float(sides.ns.sum())
    mine, theirs = (float(x.sum() / n) if n else 0.0 for x, n in zip((sides.xc, sides.xs), both, strict=True))
    return Compared(round(both[0]), round(both[1]), mine, theirs, effect, low, high, p, wide)


def _spread_of_errors(canary: Cells, stable: Cells, margin: float, noise: float) -> float:
    share = _shares(stable.errors.sum(0), stable.requests.sum(0))
    e = stable.requests * share
    seen = Residuals(stable.errors - e, e * (1 - share), _rest(stable.requests), e)
    clump = max(seen.clump(believed_clump(canary)), seen.bursts())
    sides = ((canary, stable, share + margin), (stable, canary, share))
    pods = seen.apart(OWN_ERRORS, clump) * sum(uneven(a.requests, b.requests, own) for a, b, own in sides)
    return clump + (pods / noise if noise else 0.0)


def compare_latency(canary: Cells, stable: Cells, margin: float) -> Compared:
    """P(a request of the canary is slower than one of stable), ties by half, over the strata as van Elteren weighs.

    The variance is Brunner and Munzel's (Biom. J. 42 (2000)), which holds off the null too, or the rank test's with
    ties where that is larger: few requests in one bucket have no spread of their own.
    """
    used = (canary.buckets.sum((0, 2)) > 1) & (stable.buckets.sum((0, 2)) > 1)
    if not used.any():
        return Compared(0, 0, 0.5, 0.5, 0.0, -0.5, 0.5, 1.0, 1.0)
    by_pod, others = canary.buckets[:, used], stable.buckets[:, used]
    c, s = by_pod.sum(0), others.sum(0)
    nc, ns = c.sum(1), s.sum(1)
    weight = nc * ns / (nc + ns + 1)
    slower = float((weight * _mean_and_variance(c, _middles(s))[0]).sum() / weight.sum())
    noise = max(float((weight**2 * variance).sum()) for variance in (_brunner_munzel(c, s), _ranks(c, s)))
    wide = _spread_of_latency(by_pod, others, noise)
    error = sqrt(wide * noise) / float(weight.sum())
    beyond = slower - 0.5 - margin
    p = ndtr(-beyond / error) if error else float(beyond <= 0)
    reach = WIDE * error
    effect = slower - 0.5
    return Compared(round(nc.sum()), round(ns.sum()), slower, 0.5, effect, effect - reach, effect + reach, p, wide)


def _spread_of_latency(canary: Floats, stable: Floats, noise: float) -> float:
    seen, own = _placements(stable)
    bursts, mine, theirs = seen.bursts(), canary.sum(2), stable.sum(2)
    pods = seen.apart(OWN_PLACE, bursts) * (uneven(mine, theirs, own) + uneven(theirs, mine, own))
    return bursts + (pods / noise if noise else 0.0)


def _shares(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _rest(requests: Floats) -> Floats:
    """1 - its part of its stratum's requests: a pod's residual is against a mean that it is in itself."""
    parts: Floats = 1 - _shares(requests, np.broadcast_to(requests.sum(0), requests.shape))
    return parts


def _middles(counts: Floats) -> Floats:
    """By stratum and bucket: the share of requests that are below it, and half of those in it."""
    shares = counts / counts.sum(-1, keepdims=True)
    middles: Floats = np.cumsum(shares, -1) - shares / 2
    return middles


def _mean_and_variance(counts: Floats, places: Floats) -> tuple[Floats, Floats]:
    n: Floats = counts.sum(-1)
    mean: Floats = (counts * places).sum(-1) / n
    variance: Floats = (counts * (places - mean[..., None]) ** 2).sum(-1) / (n - 1)
    return mean, variance


def _brunner_munzel(c: Floats, s: Floats) -> Floats:
    of_canary, of_stable = _mean_and_variance(c, _middles(s))[1], _mean_and_variance(s, _middles(c))[1]
    both: Floats = of_canary / c.sum(1) + of_stable / s.sum(1)
    return both


def _ranks(c: Floats, s: Floats) -> Floats:
    """The variance of P(slower) if both sides were one, with ties: Mann and Whitney's."""
    n, ties = c.sum(1) + s.sum(1), c + s
    tied = (ties**3 - ties).sum(1) / (n * (n - 1))
    variance: Floats = (n + 1 - tied) / (12 * c.sum(1) * s.sum(1))
    return variance


def _placements(stable: Floats) -> tuple[Residuals, Floats]:
    """By pod and stratum: how much slower than all of stable its requests are; by stratum: what one may be off by."""
    whole = stable.sum(0)
    n, total = stable.sum(2), whole.sum(1)
    one = (1 - ((whole / total[:, None]) ** 3).sum(1)) / 12
    own = np.sqrt(12 * one)
    return Residuals((stable * (_middles(whole) - 0.5)).sum(2), n * one, _rest(n), n * own), own
