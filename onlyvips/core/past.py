"""What a service can go back to: the versions that earlier promoted releases replaced, by their records. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.report import clock_time
from onlyvips.errors import Refused

MOST = 10
"""How many are offered, the newest first."""


@dataclass(frozen=True)
class Past:
    """What ran until release ``replaced_by``: its image, and the ConfigMap with its Deployment. ``name`` is the release
    that had brought it, or ``before-<release>`` where none had."""

    name: str
    image: str
    snapshot: str
    replaced_by: str
    at: float


def pasts(records: Sequence[Record]) -> list[Past]:
    """Of records oldest first, what each promoted one replaced, the newest first and each named once."""
    found: dict[str, Past] = {}
    for record in reversed(records):
        if record.result == "promoted" and record.snapshot:
            name = record.from_release or f"before-{record.id}"
            found.setdefault(name, Past(name, record.from_image, record.snapshot, record.id, record.created))
    return list(found.values())[:MOST]


def choose(found: Sequence[Past], service: str, to: str) -> Past:
    """The one that is named, or the newest. Raises Refused with what there is."""
    if not found:
        raise Refused(f"No release of {service} was promoted yet, so there is nothing recorded to go back to.")
    if not to:
        return found[0]
    for past in found:
        if past.name == to:
            return past
    names = ", ".join(past.name for past in found)
    raise Refused(f"{service} cannot go back to `{to}`: nothing was changed; there is {names}.")


def lines(found: Sequence[Past]) -> list[str]:
    """For a terminal."""
    return [f"{past.name}  {past.image}  until {past.replaced_by} ({clock_time(past.at)})" for past in found]


def hurried(plan: ReleasePlan) -> ReleasePlan:
    """The plan of a rollback: every stage is looked at, none is held for longer than a look; what changes Secrets,
    ConfigMaps or data is left out, and nobody has to approve it."""
    stages = tuple(replace(stage, hold=min(stage.hold, plan.waits.look)) for stage in plan.stages)
    return replace(plan, stages=stages, migration=None, secrets=(), configs=(), approvals=None)
