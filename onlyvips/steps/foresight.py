"""What the stages of a canary will see at today's traffic, told before the release: no stage is blind unnoticed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onlyvips.core.judge import increase
from onlyvips.core.plan import ReleasePlan, Stage
from onlyvips.core.power import ASKED, Judging, Sight, Traffic, sights
from onlyvips.core.spans import span
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import Metrics, Sample
from onlyvips.steps.deployed import Where
from onlyvips.steps.looks import judged
from onlyvips.steps.preflight_references import key

_WINDOW, _BEFORE = 900.0, 300.0
_FRESH_LOOKS = 2
_SHORTEST = 60.0
_SEED = 1
_REMEDY = "lengthen its hold or raise its weight, or watch it yourself"
_UNKNOWN = "what would be seen cannot be said"


@dataclass(frozen=True)
class StageSight:
    """Stage ``number`` (from 1); ``sight`` is None where today's traffic is not known or nothing is compared.
    ``doubts`` are for people, none where the stage sees what it should."""

    number: int
    stage: Stage
    sight: Sight | None
    doubts: tuple[str, ...] = ()


def foresight(metrics: Metrics, plan: ReleasePlan) -> tuple[StageSight, ...]:
    """Each stage of the plan, judged beforehand by stable's last 15 minutes; of blue-green the warm window.

    A metrics system that is away or knows nothing is a doubt, no error.
    """
    if not plan.stages:
        return ()
    try:
        traffic: Traffic | str = _traffic(metrics, plan, metrics.now())
    except OnlyVipsError as error:
        traffic = f"today's traffic is not known ({str(error).rstrip('.')}), so {_UNKNOWN}"
    if isinstance(traffic, str) or plan.margins is None:
        alone = [(stage, None, _unseen(plan, stage, traffic)) for stage in plan.stages]
        return tuple(_sight(plan, number, *one) for number, one in enumerate(alone, 1))
    judging = Judging(plan.stages, plan.waits.look, plan.margins, plan.alpha, judged(plan))
    found = sights(judging, traffic, np.random.default_rng(_SEED))
    pairs = zip(plan.stages, found, strict=True)
    return tuple(_sight(plan, number, one, sight, _doubts(sight)) for number, (one, sight) in enumerate(pairs, 1))


def _sight(plan: ReleasePlan, number: int, stage: Stage, sight: Sight | None, doubts: Iterable[str]) -> StageSight:
    return StageSight(number, stage, sight, (*doubts, *_too_short(plan, stage)))


def warnings(told: Sequence[StageSight], plan: ReleasePlan, where: Where = key) -> list[str]:
    """One sentence for each doubt, however many stages have it, with the key of the environment that it is about."""
    stages = dict[str, list[StageSight]]()
    for one in told:
        for doubt in one.doubts:
            stages.setdefault(doubt, []).append(one)
    return [f"{_head(found, plan, where)}: {doubt}." for doubt, found in stages.items()]


def _head(found: Sequence[StageSight], plan: ReleasePlan, where: Where) -> str:
    first = found[0]
    if plan.service.strategy == "blue-green":
        return f"{where('strategies', 'blue_green', 'keep_warm')}: the warm window of {span(first.stage.hold)}"
    if len(found) == 1:
        name = f"stage {first.number} ({first.stage.weight} % for {span(first.stage.hold)})"
        return f"{where('strategies', 'canary', 'stages', first.number - 1)}: {name}"
    numbers = [str(one.number) for one in found]
    return f"{where('strategies', 'canary', 'stages')}: stages {', '.join(numbers[:-1])} and {numbers[-1]}"


def _unseen(plan: ReleasePlan, stage: Stage, traffic: Traffic | str) -> Iterator[str]:
    """What speaks against a stage that is compared with nothing."""
    if isinstance(traffic, str):
        yield traffic
        return
    least, requests = max((rail.minimum_requests for rail in plan.guardrails), default=0), traffic.requests * stage.hold
    if requests < least:
        yield (
            f"at today's traffic it gets about {requests:.2g} requests, and its guardrails need {least}: it would be "
            f"held for more of them, and go back after {span(plan.waits.maximum_hold)}"
        )


def _traffic(metrics: Metrics, plan: ReleasePlan, now: float) -> Traffic | str:
    """Stable's; a sentence where it cannot be told."""
    names, labels = plan.metrics, {"app": plan.service.name}
    if plan.service.strategy == "canary":
        labels["track"] = "stable"

    def samples(metric: str) -> list[Sample]:
        return metrics.samples(metric, labels, now - _WINDOW - _BEFORE, now)

    requests = [one for one in samples(names.requests) if one.points]
    seconds = now - max(now - _WINDOW, min((one.points[0][0] for one in requests), default=now))
    alive = [one for one in requests if one.points[-1][0] > now - max(_SHORTEST, _FRESH_LOOKS * plan.waits.look)]
    total = _grown(requests, now)
    if seconds < _SHORTEST or not alive or not total:
        who = f"{plan.service.name}'s stable" if "track" in labels else plan.service.name
        return f"{who} counted no request in the last {span(_WINDOW)}, so {_UNKNOWN}"
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


def _doubts(sight: Sight) -> Iterator[str]:
    blind = [f"of canaries with {fault} it finds {power:.0%}" for fault, power in sight.powers if power < ASKED]
    if not any(fault for fault, _ in sight.powers if "latency" in fault):
        yield "latency is not compared, for stable's histogram has no sample"
    if not blind:
        return
    sees = f"at today's traffic it gets about {sight.requests:.2g} requests/s, too few to be sure: {', '.join(blind)}"
    least = "no excess of errors is surely found"
    if sight.smallest is not None:
        least = f"{ASKED:.0%} are found from {sight.smallest * 100:.2g} points more errors than today's"
    yield f"{sees}; {least}; {_REMEDY}"


def _too_short(plan: ReleasePlan, stage: Stage) -> Iterator[str]:
    """Alerts look back for longer than the stage lasts, so it is over before all that they would see is of it."""
    rails = [rail for rail in plan.guardrails if rail.recent > stage.hold]
    for recent in dict.fromkeys(rail.recent for rail in rails):
        names = " and ".join(rail.name for rail in rails if rail.recent == recent)
        yield f"shorter than the {span(recent)} of {names}: lengthen {_HOLD[plan.service.strategy == 'blue-green']}"


_HOLD = ("its hold", "keep_warm")
