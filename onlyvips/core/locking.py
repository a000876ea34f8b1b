"""Object lock: what is locked when it is written, and for how long. Pure.

Only what makes a backup is locked. Journals, evidence, probes and leases are not, so that they can be cleared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onlyvips.core.catalog import KINDS
from onlyvips.core.manifest import MEDIA
from onlyvips.core.media import tree_of, versions_of

Mode = Literal["compliance", "governance"]


@dataclass(frozen=True)
class LockPlan:
    """How a destination locks what is written there: in which mode, and for how many seconds by kind of backup."""

    mode: Mode
    seconds: Mapping[str, float]

    def span(self, key: str) -> float:
        """Seconds for which an object under ``key`` is locked once it is written; 0 for one that is not."""
        environment, _, rest = key.partition("/")
        if key.startswith((tree_of(environment), versions_of(environment))):
            return self.seconds.get(MEDIA, 0.0)
        kind, *deeper = rest.split("/")
        return 0.0 if kind not in KINDS or "journal" in deeper[:-1] else self.seconds.get(kind, 0.0)
