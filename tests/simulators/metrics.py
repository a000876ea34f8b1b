"""A Prometheus in memory: ``ports.Metrics``, with a clock of its own that is never the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from onlyvips.errors import Transient
from onlyvips.ports import Sample
from tests.simulators.clock import SimClock

_SKEW = -47.3

Labels = tuple[tuple[str, str], ...]


class SimMetrics:
    """Keeps what is scraped; while it is away nobody is answered and nothing is scraped."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._series: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
        self._away_until = -inf

    def prometheus_away(self, seconds: float = inf) -> None:
        """It is down for that long, or until ``prometheus_back``."""
        self._away_until = self._clock.monotonic() + seconds

    def prometheus_back(self) -> None:
        """It answers again."""
        self._away_until = -inf

    @property
    def away(self) -> bool:
        """Whether it is down."""
        return self._clock.monotonic() < self._away_until

    def scraped(self, metric: str, labels: Mapping[str, str], value: float) -> None:
        """Store one sample, now."""
        if not self.away:
            key = metric, tuple(sorted(labels.items()))
            self._series.setdefault(key, []).append((self._clock.now() + _SKEW, value))

    def now(self) -> float:
        """See ``ports.Metrics``."""
        self._answer()
        return self._clock.now() + _SKEW

    def samples(self, metric: str, labels: Mapping[str, str], start: float, end: float) -> list[Sample]:
        """See ``ports.Metrics``."""
        self._answer()
        found = []
        for (name, series), points in self._series.items():
            if name != metric or not labels.items() <= dict(series).items():
                continue
            if inside := tuple(point for point in points if start < point[0] <= end):
                found.append(Sample((("__name__", metric), *series), inside))
        return found

    def _answer(self) -> None:
        if self.away:
            raise Transient("Prometheus did not answer: ConnectError.")
