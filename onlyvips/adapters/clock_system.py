"""The machine's own clock."""

from __future__ import annotations

import time


class SystemClock:
    """``ports.Clock`` by the operating system."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
