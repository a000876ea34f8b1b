"""How far requests are from independent: errors that come in clumps, slow minutes, pods that differ. Pure.

Few errors cannot show that they come in clumps, and few pods cannot show how uneven they are. So each is believed to
some extent, and what is seen moves the belief the more, the more there is to see: the mean of a few imagined
observations and of the real ones, as a conjugate prior of a variance has it (Gelman and others, Bayesian Data Analysis,
2.6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onlyvips.core.special import chdtri
from onlyvips.core.strata import Cells, Floats

CLUMP, CLUMP_WORTH = 5.0, 2.0
"""Errors are believed to come five at a time; as if two cells had shown it."""
OWN_ERRORS, OWN_PLACE, OWN_WORTH = 0.25, 0.02, 4.0
"""What pods of one version are believed to differ by, one standard deviation: a quarter of their errors; 2 points of
P(slower), less where ties leave less to differ. As if five pods had shown it."""
_DOUBT = 0.25
"""Of bursts, the upper 75 % bound of what was seen is used."""


@dataclass(frozen=True)
class Residuals:
    """Of stable, by pod and stratum: ``residuals`` from the stratum's mean; their ``variances`` if requests were
    independent and the mean known, and what is ``rest`` of those since the pod is in the mean itself; by how much a pod
    that differs by one unit is off, its ``own``."""

    residuals: Floats
    variances: Floats
    rest: Floats
    own: Floats

    def bursts(self) -> float:
        """How many times larger the variance is than that of independent requests, cell by cell; at least 1."""
        left = self.variances * self.rest
        if (whole := float(left.sum())) <= 0:
            return 1.0
        freedom = int((left > 0).sum()) - int((left > 0).any(0).sum())
        if freedom <= 0:
            return 1.0
        return max(1.0, float((self.residuals**2).sum()) / whole * freedom / chdtri(freedom, 1 - _DOUBT))

    def clump(self, believed: float) -> float:
        """How many errors come at a time. A cell says as much as it has errors, and at most one observation's worth."""
        seen = float((self.residuals**2 / np.maximum(1.0, self.variances)).sum())
        worth = float((np.minimum(1.0, self.variances) * self.rest).sum())
        return max(1.0, (CLUMP_WORTH * believed + seen) / (CLUMP_WORTH + worth))

    def apart(self, believed: float, bursts: float) -> float:
        """The variance between pods, in units squared, beyond what ``bursts`` explain."""
        own = self.own.sum(1)
        left, pods = float((own * (self.own * self.rest).sum(1)).sum()), int((own > 0).sum())
        if pods < 2 or left <= 0:
            return believed**2
        more = float((self.residuals.sum(1) ** 2).sum()) - bursts * float((self.variances * self.rest).sum())
        seen = (pods - 1) * max(0.0, more) / left
        return (OWN_WORTH * believed**2 + seen) / (OWN_WORTH + pods - 1)


def believed_clump(canary: Cells) -> float:
    """``CLUMP``, or less where the canary's own errors come evenly over the strata: then they are no clump."""
    n, x = canary.requests.sum(0), canary.errors.sum(0)
    if not (errors := float(x.sum())):
        return CLUMP
    mean = n * errors / n.sum()
    seen = float(((x - mean) ** 2 / np.maximum(1.0, mean)).sum())
    worth = float((np.minimum(1.0, mean) * (1 - n / n.sum())).sum())
    return min(CLUMP, (CLUMP_WORTH * CLUMP + seen) / (CLUMP_WORTH + worth))


def uneven(mine: Floats, theirs: Floats, own: Floats) -> float:
    """The variance of a weighed sum over strata, for each unit squared that pods differ by: requests by pod of the side
    that they are on and of the other, and what one of its requests is off by in each stratum."""
    n, m = mine.sum(0), theirs.sum(0)
    weight = np.divide(m, n + m, out=np.zeros_like(n), where=n * m > 0)
    return float(((mine * weight * own).sum(1) ** 2).sum())
