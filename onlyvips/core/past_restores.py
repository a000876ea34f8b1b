"""How long a restore takes, by the evidence of the last one of its kind, where no drill measured it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from onlyvips.core.backup_report import size as told_size
from onlyvips.core.spans import span


@dataclass(frozen=True)
class PastRestore:
    """One that ended: when its evidence was ``written``, how many bytes it was planned to be of (0: not said)."""

    kind: str
    written: str
    seconds: float
    size: int = 0


def past_restore(ended: bytes) -> PastRestore | None:
    """What evidence of the end says; None where that tells no time of a whole restore: it is damaged, or an earlier run
    had begun it."""
    try:
        found = json.loads(ended)
        result = found["result"]
        if result.get("resumed"):
            return None
        return PastRestore(str(found["asked"]["kind"]), str(found["written"]), float(result["seconds"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def planned_size(begun: bytes) -> int:
    """Bytes that evidence of the beginning says; 0 where it does not."""
    try:
        return int(json.loads(begun)["plan"]["size"])
    except (ValueError, KeyError, TypeError):
        return 0


def how_long(last: PastRestore | None) -> str:
    """In words."""
    if last is None:
        return "not known: none of this kind was restored or rehearsed yet"
    of = f" of {told_size(last.size)}" if last.size else ""
    return f"the last one{of} took {span(last.seconds)}, {last.written}"
