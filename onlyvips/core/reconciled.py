"""What a reconciler found of each service, and what it made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onlyvips.core import report
from onlyvips.core.phases import AWAITING
from onlyvips.core.record import Record

UNFINISHED = ("open", "failed")


@dataclass(frozen=True)
class Reconciled:
    """One service. ``outcome``: promoted, rolled-back or not-approved (finished now), open, failed, left alone, waiting
    (for an approval), cleaned, nothing."""

    service: str
    outcome: str
    sentence: str

    @property
    def unfinished(self) -> bool:
        """Somebody has to look, or to come again."""
        return self.outcome in UNFINISHED


def of(service: str, record: Record | None, orphans: Sequence[str]) -> Reconciled:
    """From the release as it is now, or the orphans that were removed where none was open."""
    if record is not None:
        if record.open and record.phase == AWAITING:
            return Reconciled(service, "waiting", f"{report.headline(record)}. {report.advice(record)}")
        outcome = record.result if not record.open else "open"
        return Reconciled(service, outcome, f"{report.headline(record)}. {report.advice(record)}")
    if orphans:
        return Reconciled(service, "cleaned", f"removed orphans: {', '.join(orphans)}.")
    return Reconciled(service, "nothing", "no release is open, nothing is left over.")


def headline(environment: str, found: Sequence[Reconciled]) -> str:
    """One sentence of all of them."""
    quiet = ("nothing", "left alone")
    told = [f"{one.service}: {one.outcome}" for one in found if one.outcome not in quiet]
    alive = [one.service for one in found if one.outcome == "left alone"]
    told += [f"{', '.join(alive)}: driven by somebody who is alive"] if alive else []
    return f"Reconciled {environment}: {'; '.join(told) or f'nothing to do for {len(found)} services'}."


def table(found: Sequence[Reconciled]) -> list[dict[str, str]]:
    """Rows for people."""
    return [{"service": one.service, "outcome": one.outcome, "what": one.sentence} for one in found]
