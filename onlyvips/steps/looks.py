"""One look of the judge: wait, read the canary's counters, give a verdict with its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onlyvips.core.judge import alpha_of_look, increase, judge, overall, planned_looks
from onlyvips.core.plan import Guardrail, ReleasePlan
from onlyvips.core.record import Look, Record, Value
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import Metrics, Sample

REQUESTS, ERRORS = "api_request_total", "api_errors_total"
DURATION = "api_request_duration_seconds"
_MARGIN = 300.0
_STALE_LOOKS = 2


@dataclass(frozen=True)
class Window:
    """Where to look: series of the canary born after ``born``, counted after ``since``, up to ``end``."""

    born: float
    since: float
    end: float


def take_look(metrics: Metrics, plan: ReleasePlan, record: Record, *, at: float, elapsed: float) -> Look:
    """Judge the current stage by its own window; an outage of the metrics system is an ``error``, not a verdict."""
    try:
        window = _window(record, metrics.now())
        values = _values(metrics, plan, record, window)
    except OnlyVipsError as error:
        return Look(at, record.stage, record.weight, elapsed, "error", str(error))
    verdict, reason = overall(values)
    return Look(at, record.stage, record.weight, elapsed, verdict, reason, values)


def _window(record: Record, end: float) -> Window:
    since = record.stage_since or end - _MARGIN
    return Window(record.canary_since or since - _MARGIN, since, end)


def _values(metrics: Metrics, plan: ReleasePlan, record: Record, window: Window) -> tuple[Value, ...]:
    number = 1 + sum(1 for look in record.looks if look.values)
    planned = planned_looks(plan.stages, plan.waits.look)
    alpha = alpha_of_look(number, planned, len(plan.guardrails), plan.alpha)
    labels = {"app": plan.service.name, "track": "canary", "version": record.version}
    fresh = window.end - _STALE_LOOKS * plan.waits.look
    judged = (judge(rail, _counts(metrics, rail, labels, window, fresh), alpha) for rail in plan.guardrails)
    return tuple(_grown(value, record) for value in judged)


def _grown(value: Value, record: Record) -> Value:
    """Counts that stand still while the canary has weight prove nothing new."""
    stage = [look for look in record.looks if look.stage == record.stage and look.values]
    before = [old.total for old in stage[-1].values if old.name == value.name] if stage else []
    if value.verdict == "pass" and before and value.total <= before[0]:
        return replace(value, verdict="too-few", reason=f"no request since the last look ({value.total} in all)")
    return value


def _counts(
    metrics: Metrics, rail: Guardrail, labels: dict[str, str], window: Window, fresh: float
) -> tuple[int, int] | None:
    """(bad, total) since the stage began; None without series, or when none has a sample after ``fresh``."""

    def series(metric: str, **more: str) -> list[Sample]:
        return metrics.samples(metric, {**labels, **more}, window.born, window.end)

    def count(metric: str, **more: str) -> int | None:
        found = series(metric, **more)
        lives = any(sample.points[-1][0] > fresh for sample in found if sample.points)
        return round(_total(found, window.since)) if lives else None

    if rail.kind == "errors":
        total = count(REQUESTS)
        # Errors that were counted stay counted, also when their series ended with the pod that had them.
        return None if total is None else (round(_total(series(ERRORS), window.since)), total)
    total, quick = count(f"{DURATION}_count"), count(f"{DURATION}_bucket", le=f"{rail.bound:g}")
    return None if total is None or quick is None else (total - quick, total)


def _total(samples: list[Sample], since: float) -> float:
    return sum(increase(sample.points, since) for sample in samples)
