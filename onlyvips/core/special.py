"""What the judge needs of scipy, imported at the first call: a second that most commands need not wait for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onlyvips.core.strata import Floats


def ndtr(x: float) -> float:
    """The standard normal distribution up to ``x``."""
    from scipy.special import ndtr as function

    return float(function(x))


def chdtri(freedom: float, tail: float) -> float:
    """Beyond which value chi-square of ``freedom`` degrees has ``tail``."""
    from scipy.special import chdtri as function

    return float(function(freedom, tail))


def betaincinv(a: float, b: float, share: float) -> float:
    """The quantile of the beta distribution of ``a`` and ``b`` at ``share``."""
    from scipy.special import betaincinv as function

    return float(function(a, b, share))


def expit(x: Floats) -> Floats:
    """The logistic function, element by element."""
    from scipy.special import expit as function

    found: Floats = function(x)
    return found


def logit(x: Floats) -> Floats:
    """The inverse of ``expit``."""
    from scipy.special import logit as function

    found: Floats = function(x)
    return found


def root(function: Callable[[float], Any], low: float, high: float, within: float) -> float:
    """Where ``function`` is zero between ``low`` and ``high`` (Brent's method)."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=within))
