"""What the stages of a canary will see at today's traffic, told before the release: no stage is blind unnoticed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onlyvips.core.judge import increase
from onlyvips.core.plan import ReleasePlan, Stage
from onlyvips.core.power import ASKED, Judging, Sight, Traffic, sights
from onlyvips.core.spans import span
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import Metrics, Sample
from onlyvips.steps.looks import judged

_WINDOW, _BEFORE = 900.0, 300.0
_FRESH_LOOKS = 2
_SHORTEST = 60.0
_SEED = 1
_REMEDY = "lengthen its hold or raise its weight, or watch it yourself"


@dataclass(frozen=True)
class StageSight:
    """Stage ``number`` (from 1); ``sight`` is None where today's traffic is not known. ``warning`` is for people, empty
    where the stage sees what it should."""

    number: int
    stage: Stage
    sight: Sight | None
    warning: str


def foresight(metrics: Metrics, plan: ReleasePlan) -> tuple[StageSight, ...]:
    """Each stage of the plan, judged beforehand by stable's last 15 minutes.

    A metrics system that is away or knows nothing is a warning, no error.
    """
    if not plan.stages:
        return ()
    found: tuple[Sight, ...] | str
    try:
        found = _sights(plan, _traffic(metrics, plan, metrics.now()))
    except OnlyVipsError as error:
        found = f"today's traffic is not known ({str(error).rstrip('.')}), so nobody can say what it will see"
    told = []
    for place, stage in enumerate(plan.stages):
        sight = None if isinstance(found, str) else found[place]
        reasons = [found] if isinstance(found, str) else list(_doubts(plan, sight))
        reasons += _too_short(plan, stage)
        name = f"Stage {place + 1} ({stage.weight} % for {span(stage.hold)})"
        told.append(StageSight(place + 1, stage, sight, f"{name}: {'; '.join(reasons)}." if reasons else ""))
    return tuple(told)


def _sights(plan: ReleasePlan, traffic: Traffic | str) -> tuple[Sight, ...] | str:
    if plan.margins is None:
        return "it is judged by its guardrails alone, not beside stable"
    if isinstance(traffic, str):
        return traffic
    judging = Judging(plan.stages, plan.waits.look, plan.margins, plan.alpha, judged(plan))
    return sights(judging, traffic, np.random.default_rng(_SEED))


def _traffic(metrics: Metrics, plan: ReleasePlan, now: float) -> Traffic | str:
    """Stable's; a sentence where it cannot be told."""
    names, labels = plan.metrics, {"app": plan.service.name, "track": "stable"}

    def samples(metric: str) -> list[Sample]:
        return metrics.samples(metric, labels, now - _WINDOW - _BEFORE, now)

    requests = [one for one in samples(names.requests) if one.points]
    seconds = now - max(now - _WINDOW, min((one.points[0][0] for one in requests), default=now))
    alive = [one for one in requests if one.points[-1][0] > now - max(_SHORTEST, _FRESH_LOOKS * plan.waits.look)]
    total = _grown(requests, now)
    if seconds < _SHORTEST or not alive or not total:
        who = f"{plan.service.name}'s stable"
        return f"{who} counted no request in the last {span(_WINDOW)}, so nobody can say what it will see"
    bounds, buckets = _histogram(samples(f"{names.latency}_bucket"), now)
    errors = min(1.0, _grown(samples(names.errors), now) / total)
    return Traffic(total / seconds, errors, len({_pod(one) for one in alive}), bounds, buckets)


def _grown(samples: list[Sample], now: float) -> float:
    """Without what a series had counted by its first sample: that may be days old."""
    return sum(increase(one.points, max(now - _WINDOW, one.points[0][0])) for one in samples if one.points)


def _pod(sample: Sample) -> str:
    labels = dict(sample.labels)
    return labels.get("pod") or labels.get("instance", "")


def _histogram(samples: list[Sample], now: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bounds and the share of requests in each bucket; nothing where there are none."""
    upto: dict[float, float] = {}
    for one in samples:
        bound = float(dict(one.labels).get("le", "inf"))
        upto[bound] = upto.get(bound, 0.0) + _grown([one], now)
    bounds = tuple(sorted(upto))
    counts = np.clip(np.diff([0.0, *(upto[bound] for bound in bounds)]), 0.0, None)
    if not counts.sum():
        return (), ()
    return bounds, tuple(float(share) for share in counts / counts.sum())


def _doubts(plan: ReleasePlan, sight: Sight | None) -> Iterator[str]:
    if sight is None:
        return
    blind = [f"of canaries with {fault} it finds {power:.0%}" for fault, power in sight.powers if power < ASKED]
    if not any(fault for fault, _ in sight.powers if "latency" in fault):
        yield "stable's histogram of latency has no sample, so latency is not compared"
    if not blind:
        return
    least = "no excess of errors at all" if sight.smallest is None else f"{sight.smallest * 100:.2g} points more errors"
    yield f"at today's traffic it gets about {sight.requests:.2g} requests/s, too few to be sure"
    yield ", ".join(blind)
    yield f"{ASKED:.0%} are found from {least} than today's; {_REMEDY}" if sight.smallest else f"{least}; {_REMEDY}"


def _too_short(plan: ReleasePlan, stage: Stage) -> list[str]:
    long = [rail for rail in plan.guardrails if rail.recent > stage.hold]
    return [f"it is shorter than the {span(rail.recent)} of {rail.name}" for rail in long]
