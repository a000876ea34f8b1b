"""The difference of two shares over strata: its most likely values under a margin, its score, its tail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, pi, sqrt

import numpy as np

from onlyvips.core.special import expit, logit, ndtr, root
from onlyvips.core.strata import Floats

WIDE = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval, which people read; verdicts are by p."""
_TINY = 1e-15


def restricted(x: Floats, n: Floats, y: Floats, m: Floats, margin: float) -> tuple[Floats, Floats]:
    """The most likely shares behind ``x`` of ``n`` and ``y`` of ``m`` if the first is ``margin`` more than the second.

    The root of the cubic as Farrington and Manning give it (Stat. Med. 9 (1990)).
    """
    ratio, first, second = m / n, x / n, y / m
    a = 1 + ratio
    b = -(1 + ratio + first + ratio * second + margin * (ratio + 2))
    c = margin**2 + margin * (2 * first + ratio + 1) + first + ratio * second
    d = -first * margin * (1 + margin)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    u = np.where(v < 0, -1.0, 1.0) * np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0))
    cosine = np.divide(v, u**3, out=np.ones_like(v), where=np.abs(u) > _TINY)
    w = (pi + np.arccos(np.clip(cosine, -1, 1))) / 3
    share = np.clip(2 * u * np.cos(w) - b / (3 * a), max(0.0, margin), min(1.0, 1.0 + margin))
    return share, np.clip(share - margin, 0.0, 1.0)


@dataclass(frozen=True)
class Sides:
    """Requests and errors of both sides in strata that have both."""

    nc: Floats
    xc: Floats
    ns: Floats
    xs: Floats

    @classmethod
    def of(cls, nc: Floats, xc: Floats, ns: Floats, xs: Floats) -> Sides:
        """Without the strata that one side has no requests in."""
        used = (nc > 0) & (ns > 0)
        return cls(nc[used], xc[used], ns[used], xs[used])

    @property
    def weight(self) -> float:
        """The sum of Mantel and Haenszel's weights, 0 without a stratum."""
        return float((self.nc * self.ns / (self.nc + self.ns)).sum())

    @property
    def difference(self) -> float:
        """The canary's share less stable's."""
        return float(((self.xc * self.ns - self.xs * self.nc) / (self.nc + self.ns)).sum()) / self.weight

    def score(self, margin: float, wide: float = 1.0) -> float:
        """Miettinen and Nurminen's z of a difference of ``margin``, where the variance is ``wide`` times theirs."""
        pc, ps = restricted(self.xc, self.nc, self.xs, self.ns, margin)
        n = self.nc + self.ns
        variance = (self.nc * self.ns / n) ** 2 * (pc * (1 - pc) / self.nc + ps * (1 - ps) / self.ns)
        whole = wide * float((variance * n / np.maximum(n - 1, 1)).sum())
        return (self.difference - margin) * self.weight / sqrt(whole + 1e-300)

    def interval(self, wide: float = 1.0) -> tuple[float, float]:
        """Of the difference, at 95 %, by inverting the score."""
        return self._inverted(WIDE, wide), self._inverted(-WIDE, wide)

    def _inverted(self, z: float, wide: float) -> float:
        def off(margin: float) -> float:
            return float(np.clip(self.score(margin, wide) - z, -1e9, 1e9))

        low, high = -1 + 1e-9, 1 - 1e-9
        if off(low) <= 0:
            return -1.0
        return 1.0 if off(high) >= 0 else root(off, low, high, 1e-9)

    def null(self, margin: float) -> tuple[Floats, Floats]:
        """The most likely shares of both sides when the canary is ``margin`` worse."""
        return restricted(self.xc, self.nc, self.xs, self.ns, margin)

    def noise(self, null: tuple[Floats, Floats]) -> float:
        """The variance of ``difference`` times ``weight`` under those shares, if requests are independent."""
        (pc, ps), n = null, self.nc + self.ns
        return float(((self.nc * self.ns / n) ** 2 * (pc * (1 - pc) / self.nc + ps * (1 - ps) / self.ns)).sum())

    def tail(self, margin: float, clump: float = 1.0, null: tuple[Floats, Floats] | None = None) -> float:
        """P(a difference as large as this one or larger) when the canary is ``margin`` worse, errors in clumps of
        ``clump``; 1 where it is not even as large as expected. ``null`` where it is known already."""
        pc, ps = null or self.null(margin)
        n = self.nc + self.ns
        counts = np.concatenate([self.nc, self.ns])
        steps = np.concatenate([self.ns / n, -self.nc / n])
        with np.errstate(divide="ignore"):
            odds = logit(np.concatenate([pc, ps]))
        # A count stands for what is up to half a step below it: continuity, as for a binomial and its normal.
        half = clump * self.weight / float(self.nc.sum()) / 2
        reached = self.difference * self.weight - half
        if reached <= margin * self.weight:
            return 1.0
        return lugannani_rice(counts, odds, steps, reached, clump)


def lugannani_rice(counts: Floats, odds: Floats, steps: Floats, reached: float, clump: float = 1.0) -> float:
    """P(the sum of binomials, ``counts`` with log ``odds``, each success ``steps`` worth, is ``reached`` or more).

    ``clump``: successes come so many at a time, and so many times as seldom.
    """

    def slope(t: float) -> float:
        return float((counts * steps * expit(odds + t * steps)).sum())

    upper = 1.0
    while slope(upper) < reached:
        upper *= 2
        if upper > 1e6:
            return 0.0
    t = root(lambda t: slope(t) - reached, 0.0, upper, 1e-12)
    share = expit(odds + t * steps)
    curve = float((counts * steps**2 * share * (1 - share)).sum())
    cumulant = float((counts * (np.logaddexp(0.0, odds + t * steps) - np.logaddexp(0.0, odds))).sum())
    r = sqrt(max(0.0, 2 * (t * reached - cumulant) / clump))
    u = t * sqrt(curve / clump)
    if r < 1e-4:
        return 0.5
    return float(min(1.0, max(0.0, ndtr(-r) + exp(-r * r / 2) / sqrt(2 * pi) * (1 / u - 1 / r))))
