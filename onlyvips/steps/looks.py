"""One look of the judge: read the canary's counters and stable's, give a verdict with its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from onlyvips.core.judge import alpha_of_look, increase, judge, judge_against, overall, planned_looks
from onlyvips.core.plan import Guardrail, Margins, MetricNames, ReleasePlan
from onlyvips.core.record import Look, Record, Value
from onlyvips.core.strata import Cells, Counter, Counters, both_cells, edges
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import Metrics, Sample

_MARGIN = 300.0
_STALE_LOOKS = 2
_COMPARISONS = 2


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
        alpha = _alpha(plan, record)
        values = _values(metrics, plan, record, window, alpha)
    except OnlyVipsError as error:
        return Look(at, record.stage, record.weight, elapsed, "error", str(error))
    verdict, reason = overall(values)
    return Look(at, record.stage, record.weight, elapsed, verdict, reason, values, alpha * judged(plan))


def judged(plan: ReleasePlan) -> int:
    """How many metrics share alpha."""
    return len(plan.guardrails) + (_COMPARISONS if plan.margins else 0)


def _alpha(plan: ReleasePlan, record: Record) -> float:
    """Of this look, for each metric."""
    number = 1 + sum(1 for look in record.looks if look.judged)
    return alpha_of_look(number, _planned(plan), judged(plan), plan.alpha)


def _window(record: Record, end: float) -> Window:
    since = record.stage_since or end - _MARGIN
    return Window(record.canary_since or since - _MARGIN, since, end)


def _values(metrics: Metrics, plan: ReleasePlan, record: Record, window: Window, alpha: float) -> tuple[Value, ...]:
    labels = _labels(plan, record)
    fresh = window.end - _STALE_LOOKS * plan.waits.look
    values = [
        _judged(rail, _series(metrics, plan, rail, labels, window), window, fresh, alpha) for rail in plan.guardrails
    ]
    if plan.margins:
        sides = _sides(metrics, plan, plan.margins, labels, window, fresh)
        values += judge_against(*sides, plan.margins, alpha)
    return tuple(_grown(value, record) for value in values)


def _labels(plan: ReleasePlan, record: Record) -> dict[str, str]:
    """What the new version's series carry."""
    app = {"app": plan.service.name}
    if plan.blue_green is not None:
        return {**app, plan.blue_green.label: record.colours[1]}
    version = {**app, "version": record.version}
    return {**version, "track": "canary"} if record.strategy == "canary" else version


def _planned(plan: ReleasePlan) -> int:
    """Looks that a release needs when nothing holds it up; in place, as many as fit into the wait for one pod."""
    return planned_looks(plan.stages, plan.waits.look) or ceil(plan.waits.ready / plan.waits.look)


def _sides(
    metrics: Metrics, plan: ReleasePlan, margins: Margins, labels: dict[str, str], window: Window, fresh: float
) -> tuple[Cells | None, Cells | None]:
    """The canary's counters and stable's, cut into looks since the stage's first moments; None where none is fresh.

    Stable's are asked for from before the stage began: what they had counted by then is no increase.
    """
    before = max(_MARGIN, 2 * margins.warm_up)
    canary, alive = _counters(metrics, plan.metrics, labels, (window.born, window.end), fresh)
    others = {"app": plan.service.name, "track": "stable"}
    stable, steady = _counters(metrics, plan.metrics, others, (window.since - before, window.end), fresh)
    borders = edges(window.since + margins.warm_up, window.end, plan.waits.look)
    mine, theirs = both_cells(canary, stable, borders, margins.warm_up)
    return (mine if alive else None), (theirs if steady else None)


def _counters(
    metrics: Metrics, names: MetricNames, labels: dict[str, str], between: tuple[float, float], fresh: float
) -> tuple[Counters, bool]:
    def samples(metric: str) -> list[Sample]:
        return metrics.samples(metric, labels, *between)

    requests = samples(names.requests)
    others = (samples(names.errors), samples(f"{names.latency}_bucket"))
    found = ([_counter(one) for one in each] for each in (requests, *others))
    return Counters(*found), _lives(requests, fresh)


def _counter(sample: Sample) -> Counter:
    labels = dict(sample.labels)
    return Counter(labels.get("pod") or labels.get("instance", ""), sample.points, float(labels.get("le", "inf")))


def _judged(rail: Guardrail, series: Series, window: Window, fresh: float, alpha: float) -> Value:
    """The whole stage, and its last minutes on their own: hours of good ones must not hide them. Each has its share
    of alpha."""
    if not rail.recent:
        return judge(rail, series.counts(window.since, fresh), alpha)
    if (since := window.end - rail.recent) > window.since:
        recent = judge(rail, series.counts(since, fresh), alpha / 2)
        if recent.verdict == "fail":
            return replace(recent, reason=f"in the last {rail.recent:g} s: {recent.reason}")
    return judge(rail, series.counts(window.since, fresh), alpha / 2)


def _grown(value: Value, record: Record) -> Value:
    """Counts that stand still while the canary has weight prove nothing new."""
    stage = [look for look in record.looks if look.stage == record.stage and look.values]
    before = [old.total for old in stage[-1].values if old.name == value.name] if stage else []
    if value.verdict == "pass" and before and value.total <= before[0]:
        return replace(value, verdict="too-few", reason=f"no request since the last look ({value.total} in all)")
    return value


@dataclass(frozen=True)
class Series:
    """A guardrail's counters. ``counted``: what is bad, or, for latency, what is quick enough; ``may_lack``: none of
    what is bad was counted where no series is."""

    kind: str
    total: list[Sample]
    counted: list[Sample]
    may_lack: bool = False

    def counts(self, since: float, fresh: float) -> tuple[int, int] | None:
        """(bad, total) after ``since``; None without series, or when none has a sample after ``fresh``."""
        total, counted = (sum(increase(one.points, since) for one in each) for each in (self.total, self.counted))
        if not _lives(self.total, fresh):
            return None
        if self.kind == "errors":
            # Errors that were counted stay counted, also when their series ended with the pod that had them.
            known = self.may_lack or any(one.points for one in self.counted)
            return (round(counted), round(total)) if known else None
        return (round(total) - round(counted), round(total)) if _lives(self.counted, fresh) else None


def _series(metrics: Metrics, plan: ReleasePlan, rail: Guardrail, labels: dict[str, str], window: Window) -> Series:
    names = plan.metrics

    def samples(metric: str, **more: str) -> list[Sample]:
        return metrics.samples(metric, {**labels, **more}, window.born, window.end)

    if rail.kind == "errors":
        return Series(rail.kind, samples(names.requests), samples(names.errors), names.errors_may_be_absent)
    written = (samples(f"{names.latency}_bucket", le=bound) for bound in buckets(rail.bound))
    return Series(rail.kind, samples(f"{names.latency}_count"), next(filter(None, written), []))


def buckets(bound: float) -> tuple[str, ...]:
    """How a bucket's bound is written: of a whole second Prometheus 3 makes 1.0, Prometheus 2 makes 1."""
    return f"{bound:g}", str(bound)


def _lives(samples: list[Sample], fresh: float) -> bool:
    return any(sample.points[-1][0] > fresh for sample in samples if sample.points)
