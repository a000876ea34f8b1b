"""Waiting for an approval before anything changes, and hearing what the form of a suspended run says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core import approvals, report
from onlyvips.core import group as groups
from onlyvips.core.approvals import TRAFFIC
from onlyvips.core.group import PREFIX
from onlyvips.core.phases import AWAITING
from onlyvips.core.record import Record
from onlyvips.errors import Refused
from onlyvips.steps import approving, group_records, records
from onlyvips.wiring import commanding, several

Decision = Literal["approve", "abort"]
_RUN = re.compile(r"\(([0-9a-f]{8}-[0-9a-f-]{27})\)")


def waits(environment: str, release: str) -> str | None:
    """What people are asked while a release, or one of all services, waits for an approval before anything changes;
    None once nobody is asked."""
    loaded, now = environments.load(environment), SystemClock().now()
    if release.startswith(f"{PREFIX}-"):
        group = several.load(environment, release)
        whole = environments.many_plan(loaded, group.version)
        told = [f"{groups.headline(group)}.", *several.no_return(whole), groups.advice(group)]
        return "\n\n".join(told) if approving.waits_all(group, whole, now) else None
    record = wiring.load_record(environment, release)
    plan = environments.release_plan(loaded, record.service, record.version)
    told = [f"{report.headline(record)}.", f"It waits: {record.waiting}"]
    return "\n\n".join(told) if approving.waits(record, plan, now) else None


def wait(environment: str, release: str) -> None:
    """Wait in this process, without a lease."""
    loaded, clock = environments.load(environment), SystemClock()
    if release.startswith(f"{PREFIX}-"):
        whole = environments.many_plan(loaded, several.load(environment, release).version)
        approving.wait_all(wiring.cluster_of(loaded), clock, whole, release)
        return
    record = wiring.load_record(environment, release)
    plan = environments.release_plan(loaded, record.service, record.version)
    approving.wait(wiring.cluster_of(loaded), clock, plan, release)


def hear(environment: str, release: str, decision: Decision, by: str, reason: str) -> str:
    """Write down what somebody decided in the form; what came of it, in a sentence."""
    if release.startswith(f"{PREFIX}-"):
        return _hear_of_all(environment, release, decision, by, reason)
    service = wiring.load_record(environment, release).service
    of = {"release": release, "before": TRAFFIC} if decision == "approve" else {}
    try:
        return commanding.ask(environment, service, decision, by=by, reason=reason, **of)[1]
    except Refused as error:
        return str(error)


def _hear_of_all(environment: str, group: str, decision: Decision, by: str, reason: str) -> str:
    try:
        if decision == "abort":
            return f"{groups.headline(several.abort(environment, by=by, reason=reason))}."
        return several.approve(environment, by=by, reason=reason, release=group, before=TRAFFIC)[1]
    except Refused as error:
        return str(error)


def rests(environment: str, release: str) -> bool:
    """Whether it still waits for people before anything changes."""
    return waits(environment, release) is not None


@dataclass(frozen=True)
class Suspended:
    """The Prefect run that waits, or waited, for the approval of ``service``'s release, or of the one of all."""

    environment: str
    service: str
    run: str
    of_all: bool


def suspended(environment: str, service: str) -> Suspended | None:
    """The last run that asked for an approval before anything changes and has none yet; None where nothing waits, or
    no run of Prefect began it."""
    cluster = wiring.cluster_of(environments.load(environment))
    whole = group_records.find_open(cluster)
    of_all = whole is not None and service in whole.services
    found = whole if of_all else records.find_open(cluster, service)
    if found is None or found.aborted or approvals.pending(found.approvals) is None:
        return None
    if isinstance(found, Record) and found.phase != AWAITING:
        return None
    runs = runs_of(found.holders[-1:])
    return Suspended(environment, service, runs[0], of_all) if runs else None


def cancelled(waits: Suspended, name: str) -> None:
    """Write down that the run was cancelled: an abort, which no process of it could hear."""
    asked = {"by": "a cancelled run", "reason": f"run {name} was cancelled in Prefect while it waited for an approval"}
    if waits.of_all:
        several.abort(waits.environment, **asked)
    else:
        wiring.abort(waits.environment, waits.service, **asked)


def runs_of(holders: Sequence[str]) -> list[str]:
    """The Prefect runs that drove a release, the newest first."""
    return [found.group(1) for holder in reversed(holders) if (found := _RUN.search(holder))]
