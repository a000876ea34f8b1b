"""The evidence of a release: one JSON document in every store of the backups, written once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from onlyvips.core import report
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.errors import Conflict, OnlyVipsError, Transient
from onlyvips.ports import Clock, ObjectStore


def key_of(record: Record) -> str:
    """Where the evidence of a release is, in every store."""
    return f"{record.environment}/evidence/release/{record.id}.json"


@dataclass(frozen=True)
class Kept:
    """Where the evidence is: ``stores`` have it under ``key``, ``refusals`` say why others do not."""

    key: str
    stores: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def observed(self) -> str:
        """One sentence of it."""
        lacking = f"; not kept by {'; '.join(self.refusals)}" if self.refusals else ""
        return f"evidence {self.key} in {', '.join(self.stores)}{lacking}"


def keep_evidence(
    stores: Mapping[str, Callable[[], ObjectStore]], clock: Clock, plan: ReleasePlan, record: Record
) -> Kept:
    """Write it to every store that takes it; one that has it from an earlier attempt took it.

    Raises Transient when no store took it: the release is over, its evidence is not lost, for the record stays open.
    """
    document, key = _document(clock, plan, record), key_of(record)
    taken, refusals = [], []
    for name, opened in stores.items():
        try:
            opened().put_new(key, document)
        except Conflict:
            pass
        except OnlyVipsError as error:
            refusals.append(f"{name}: {error}")
            continue
        taken.append(name)
    if not taken:
        raise Transient(
            f"No store took the evidence {key}: {'; '.join(refusals)} Users are served, the release stays open: "
            "correct one of them, then run `onlyvips "
            f"release reconcile -e {record.environment} -s {record.service}`."
        )
    return Kept(key, tuple(taken), tuple(refusals))


def _document(clock: Clock, plan: ReleasePlan, record: Record) -> bytes:
    written = datetime.fromtimestamp(clock.now(), UTC).isoformat()
    release = report.summary(replace(record, phase="closed", evidence=key_of(record)))
    document = {"schema": 1, "kind": "release", "written": written, "release": release, "plan": asdict(plan)}
    return json.dumps(document, indent=1, ensure_ascii=False).encode()
