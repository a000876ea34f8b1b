"""The evidence of a release of all services: what they share, and where the evidence of each is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from onlyvips.core import group as groups
from onlyvips.core.group import Group
from onlyvips.core.plan import ManyPlan
from onlyvips.core.record import Record
from onlyvips.errors import Transient
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps.evidence import Kept, put

Stores = Mapping[str, Callable[[], ObjectStore]]


def keep(stores: Stores, clock: Clock, plan: ManyPlan, group: Group, members: Sequence[Record]) -> Kept:
    """Write it to every store that takes it, as ``evidence.keep_evidence`` does. Raises Transient when none took it."""
    key = f"{group.environment}/evidence/release/{group.id}.json"
    document = _document(clock, plan, replace(group, evidence=key), members)
    taken, refusals = put(stores, key, document)
    if not taken:
        raise Transient(
            f"No store took the evidence {key}: {'; '.join(refusals)} Users are served, the release stays open: "
            f"correct one of them, then run `onlyvips release reconcile -e {group.environment}`."
        )
    return Kept(key, tuple(taken), tuple(refusals))


def _document(clock: Clock, plan: ManyPlan, group: Group, members: Sequence[Record]) -> bytes:
    document = {
        "schema": 1,
        "kind": "release-of-several",
        "written": datetime.fromtimestamp(clock.now(), UTC).isoformat(),
        "release": groups.summary(replace(group, closed=True)),
        "services": [
            {"service": one.service, "id": one.id, "result": one.result, "evidence": one.evidence} for one in members
        ],
        "plan": asdict(plan),
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()
