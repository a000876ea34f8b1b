"""Counters of pods cut into strata: what each pod counted in each look's length of a stage. Pure.

What a pod counts in its first ``warm_up`` seconds, and in those after a restart, is left out: cold caches are no fault
of a version. Guardrails do not leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Cold = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Counter:
    """Raw samples (unix seconds, value) of one series of ``pod``, oldest first; ``bound`` is a bucket's, in seconds."""

    pod: str
    points: Sequence[tuple[float, float]]
    bound: float = 0.0


@dataclass(frozen=True)
class Counters:
    """What one side counts: requests, errors, and requests up to each bound of the histogram."""

    requests: Sequence[Counter]
    errors: Sequence[Counter]
    buckets: Sequence[Counter]


@dataclass(frozen=True)
class Cells:
    """By pod and stratum: ``requests``, ``errors``; ``buckets`` by bucket too, each without the ones below it."""

    requests: Floats
    errors: Floats
    buckets: Floats


def edges(since: float, end: float, length: float) -> Floats:
    """Borders of the strata of ``length`` seconds from ``since``; the last one ends at ``end``, shorter or not."""
    whole = max(0, int(np.floor((end - since) / length + 1e-9)))
    borders = since + length * np.arange(whole + 1)
    return borders if borders[-1] >= end - 1e-6 else np.append(borders, end)


def both_cells(canary: Counters, stable: Counters, borders: Floats, warm_up: float) -> tuple[Cells, Cells]:
    """Both sides, with the bounds that both of their histograms have."""
    bounds = sorted({one.bound for one in canary.buckets} & {one.bound for one in stable.buckets})
    return _cells(canary, borders, warm_up, bounds), _cells(stable, borders, warm_up, bounds)


def _cells(counters: Counters, borders: Floats, warm_up: float, bounds: Sequence[float]) -> Cells:
    pods = sorted({one.pod for one in counters.requests})
    cold = {pod: _cold([one for one in counters.requests if one.pod == pod], warm_up) for pod in pods}
    shape = len(pods), len(borders) - 1
    requests, errors, upto = np.zeros(shape), np.zeros(shape), np.zeros((*shape, len(bounds)))
    for into, series in ((requests, counters.requests), (errors, counters.errors)):
        for one in series:
            if one.pod in cold:
                into[pods.index(one.pod)] += _grown(one.points, borders, cold[one.pod])
    places = {bound: place for place, bound in enumerate(bounds)}
    for one in counters.buckets:
        if one.pod in cold and one.bound in places:
            upto[pods.index(one.pod), :, places[one.bound]] += _grown(one.points, borders, cold[one.pod])
    # Two counters of one pod are not scraped in the same instant: never more errors than requests.
    return Cells(requests, np.minimum(errors, requests), np.clip(np.diff(upto, axis=2, prepend=0.0), 0.0, None))


def _cold(series: Sequence[Counter], warm_up: float) -> Cold:
    """When a pod was warming up, each from and to: since its first request, and since each restart."""
    if not warm_up:
        return ()
    samples = [np.array(one.points, dtype=float).reshape(-1, 2) for one in series]
    starts = [min((one[one[:, 1] > 0, 0].min(initial=np.inf) for one in samples), default=np.inf)]
    for one in samples:
        starts += list(one[1:, 0][np.diff(one[:, 1]) < 0])
    return [(start, start + warm_up) for start in starts]


def _grown(points: Sequence[tuple[float, float]], borders: Floats, cold: Cold) -> Floats:
    """How much a counter grew in each stratum: raw samples, as in ``judge.increase``."""
    samples = np.array(points, dtype=float).reshape(-1, 2)
    at, value = samples[:, 0], samples[:, 1]
    grown = np.diff(value, prepend=0.0)
    grown = np.where(grown < 0, value, grown)
    stratum = np.searchsorted(borders, at, side="left") - 1
    counts = (stratum >= 0) & (stratum < len(borders) - 1)
    for start, until in cold:
        counts &= (at < start) | (at > until)
    found: Floats = np.bincount(stratum[counts], grown[counts], minlength=len(borders) - 1).astype(float)
    return found
