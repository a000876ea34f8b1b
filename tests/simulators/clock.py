"""Time that moves only when somebody sleeps: the world's events happen on the way."""

from __future__ import annotations

import heapq
from collections.abc import Callable

EPOCH = 1_760_000_000.0


class SimClock:
    """``ports.Clock``. ``after`` plans an event of the world; events run in order of time, then of planning."""

    def __init__(self) -> None:
        self._now = 0.0
        self._planned = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> float:
        """Unix seconds."""
        return EPOCH + self._now

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` go by, with all that happens in them. Safe inside an event."""
        until = self._now + max(0.0, seconds)
        while self._events and self._events[0][0] <= until:
            at, _, event = heapq.heappop(self._events)
            self._now = max(self._now, at)
            event()
        self._now = max(self._now, until)

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Do ``event`` in ``seconds``."""
        self._planned += 1
        heapq.heappush(self._events, (self._now + seconds, self._planned, event))

    def every(self, seconds: float, event: Callable[[], object]) -> None:
        """Do ``event`` each ``seconds``, until it returns True."""

        def once() -> None:
            if event() is not True:
                self.after(seconds, once)

        self.after(seconds, once)
