"""The judge of a canary: counters in, a verdict with its reasons out. Pure.

A guardrail fails only when the one-sided lower Clopper-Pearson bound of the share is beyond its threshold (Clopper and
Pearson, Biometrika 26 (1934): the beta quantile B(alpha; k, n-k+1)) and enough requests were seen. Every look at every
guardrail spends part of one alpha, so that a whole canary raises at most ``alpha`` false alarms (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from scipy.special import betaincinv

from onlyvips.core.plan import Guardrail, Stage
from onlyvips.core.record import Value, Verdict

Points = Sequence[tuple[float, float]]


def increase(points: Points, since: float) -> float:
    """How much a counter grew after ``since``; a value that falls is a restart, and it began at zero when it was born.

    Raw samples on purpose: extrapolation misses a series' first increment.
    """
    total, before = 0.0, 0.0
    for at, value in points:
        if at > since:
            total += value if value < before else value - before
        before = value
    return total


def lower_bound(bad: int, total: int, alpha: float) -> float:
    """The one-sided lower 1 - ``alpha`` Clopper-Pearson bound of a share of ``bad`` in ``total``."""
    if bad <= 0 or total <= 0:
        return 0.0
    return float(betaincinv(bad, total - bad + 1, alpha))


def planned_looks(stages: Sequence[Stage], interval: float) -> int:
    """Looks that the stages need when nothing holds them up."""
    return sum(max(1, ceil(stage.hold / interval)) for stage in stages)


def alpha_of_look(number: int, planned: int, guardrails: int, alpha: float) -> float:
    """What look ``number`` (from 1) may spend on one guardrail.

    Half of ``alpha`` is shared by the planned looks; the other half, halved again each time, pays for looks beyond
    them: however long a stage is held, the sum stays below ``alpha``.
    """
    share = alpha / max(1, guardrails) / 2
    return share / planned if number <= planned else share * 0.5 ** (number - planned)


def judge(guardrail: Guardrail, counts: tuple[int, int] | None, alpha: float) -> Value:
    """One guardrail at one look; ``counts`` is (bad, total), None when the series are absent."""
    if counts is None:
        return _value(guardrail, 0, 0, alpha, "no-data", "no fresh sample of this metric: no data is not good data")
    bad, total = min(counts), counts[1]
    if total < guardrail.minimum_requests:
        few = f"{total} of the {guardrail.minimum_requests} requests it needs"
        return _value(guardrail, bad, total, alpha, "too-few", few)
    bound = lower_bound(bad, total, alpha)
    what = "errors" if guardrail.kind == "errors" else f"slower than {guardrail.bound * 1000:.0f} ms"
    share = f"{bad} of {total} requests {what} ({bad / total:.1%}"
    if bound > guardrail.threshold:
        text = f"{share}, surely at least {bound:.1%}, over the limit of {guardrail.threshold:.1%})"
        return _value(guardrail, bad, total, alpha, "fail", text)
    return _value(guardrail, bad, total, alpha, "pass", f"{share}, limit {guardrail.threshold:.1%})")


def _value(guardrail: Guardrail, bad: int, total: int, alpha: float, verdict: Verdict, reason: str) -> Value:
    share, bound = (bad / total, lower_bound(bad, total, alpha)) if total else (0.0, 0.0)
    return Value(guardrail.name, bad, total, share, bound, guardrail.threshold, alpha, verdict, reason)


def overall(values: Sequence[Value]) -> tuple[Verdict, str]:
    """The verdict of a look: one failure fails it; without data it is no pass."""
    order: Mapping[Verdict, int] = {"fail": 0, "error": 1, "no-data": 2, "too-few": 3, "pass": 4}
    if not values:
        return "no-data", "no guardrail is declared: nothing was judged"
    worst = min(values, key=lambda value: order[value.verdict])
    if worst.verdict == "pass":
        return "pass", "; ".join(f"{value.name}: {value.reason}" for value in values)
    return worst.verdict, f"{worst.name}: {worst.reason}"
