"""The judge of a canary: counters in, a verdict with its reasons out. Pure.

Two kinds of metrics: guardrails are absolute limits, comparisons ask whether the canary is worse than stable.

A guardrail fails only when the one-sided lower Clopper-Pearson bound of the share is beyond its threshold (Clopper and
Pearson, Biometrika 26 (1934): the beta quantile B(alpha; k, n-k+1)) and enough requests were seen. Every look at every
metric spends part of one alpha, so that a whole canary raises at most ``alpha`` false alarms (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isnan

from onlyvips.core.compare import Compared, compare_errors, compare_latency
from onlyvips.core.plan import Guardrail, Margins, Stage
from onlyvips.core.record import Against, Value, Verdict
from onlyvips.core.special import betaincinv
from onlyvips.core.strata import Cells

ERRORS, LATENCY = "errors-beside-stable", "latency-beside-stable"
_ENOUGH_PODS = 3

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
    bound = betaincinv(bad, total - bad + 1, alpha)
    return 0.0 if isnan(bound) else bound  # late in a hold of a day alpha is next to nothing: nothing is sure


def planned_looks(stages: Sequence[Stage], interval: float) -> int:
    """Looks that the stages need when nothing holds them up."""
    return sum(max(1, ceil(stage.hold / interval)) for stage in stages)


def alpha_of_look(number: int, planned: int, metrics: int, alpha: float) -> float:
    """What look ``number`` (from 1) may spend on one metric of so many.

    Half of ``alpha`` is shared by the planned looks; the other half, halved again each time, pays for looks beyond
    them: however long a stage is held, the sum stays below ``alpha``.
    """
    share = alpha / max(1, metrics) / 2
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


def judge_against(
    canary: Cells | None, stable: Cells | None, margins: Margins, alpha: float, *, told: bool = True
) -> tuple[Value, Value]:
    """Errors and latency of the canary beside stable's, each at ``alpha``; None for a side without fresh samples.

    Not ``told``, the interval that people read is not worked out.
    """
    if canary is None or stable is None:
        why = f"no fresh sample of {'the canary' if canary is None else 'stable'}: nothing to compare"
        return (
            _compared(ERRORS, None, margins.errors, alpha, "no-data", why),
            _compared(LATENCY, None, margins.latency, alpha, "no-data", why),
        )
    pods = int((canary.requests.sum(1) > 0).sum())
    return (
        _judged(ERRORS, compare_errors(canary, stable, margins.errors, told), margins.errors, margins, alpha, pods),
        _judged(LATENCY, compare_latency(canary, stable, margins.latency), margins.latency, margins, alpha, pods),
    )


def _judged(name: str, found: Compared, margin: float, margins: Margins, alpha: float, pods: int) -> Value:
    fewest = min(found.requests, found.against)
    if fewest < margins.minimum_requests:
        who = "the canary" if found.requests == fewest else "stable"
        few = f"{fewest} of the {margins.minimum_requests} requests of {who} that it needs beside the other's"
        return _compared(name, found, margin, alpha, "too-few", few, pods)
    reason = (_errors_told if name == ERRORS else _latency_told)(found, margin)
    if found.p > alpha:
        return _compared(name, found, margin, alpha, "pass", f"{reason}, p {found.p:.2g})", pods)
    lone = "" if pods >= _ENOUGH_PODS else f"; of {pods} pod{'s' * (pods > 1)}, whose own fault it may be"
    return _compared(name, found, margin, alpha, "fail", f"{reason}, p {found.p:.2g} below {alpha:.2g}{lone})", pods)


def _errors_told(found: Compared, margin: float) -> str:
    return (
        f"{found.canary:.2%} of {found.requests} requests errors, {found.stable:.2%} of {found.against} of stable's: "
        f"{found.effect * 100:+.2f} points ({found.low * 100:+.2f} to {found.high * 100:+.2f}; margin {margin * 100:g}"
    )


def _latency_told(found: Compared, margin: float) -> str:
    return (
        f"slower than stable {found.canary:.1%} of the time ({0.5 + found.low:.1%} to {0.5 + found.high:.1%}; alike "
        f"would be 50%; {found.requests} and {found.against} requests; margin {0.5 + margin:.1%}"
    )


def _compared(
    name: str, found: Compared | None, margin: float, alpha: float, verdict: Verdict, reason: str, pods: int = 0
) -> Value:
    if found is None:
        return Value(name, 0, 0, 0.0, 0.0, margin, alpha, verdict, reason)
    against = Against(
        found.against, found.stable, found.effect, found.low, found.high, found.p, round(found.spread, 3), pods
    )
    bad = round(found.canary * found.requests) if name == ERRORS else 0
    return Value(name, bad, found.requests, found.canary, found.low, margin, alpha, verdict, reason, against)


def overall(values: Sequence[Value]) -> tuple[Verdict, str]:
    """The verdict of a look: one failure fails it; without data it is no pass."""
    order: Mapping[Verdict, int] = {"fail": 0, "error": 1, "no-data": 2, "too-few": 3, "pass": 4}
    if not values:
        return "no-data", "no guardrail is declared: nothing was judged"
    worst = min(values, key=lambda value: order[value.verdict])
    if worst.verdict == "pass":
        return "pass", "; ".join(f"{value.name}: {value.reason}" for value in values)
    return worst.verdict, f"{worst.name}: {worst.reason}"
