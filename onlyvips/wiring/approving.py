"""Waiting for an approval before anything changes, and hearing what the form of a suspended run says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.approvals import TRAFFIC
from onlyvips.core.record import Record
from onlyvips.errors import Refused
from onlyvips.steps import approving
from onlyvips.wiring import commanding

Decision = Literal["approve", "abort"]
_RUN = re.compile(r"\(([0-9a-f]{8}-[0-9a-f-]{27})\)")


def waits(environment: str, release: str) -> Record | None:
    """The record while it waits for an approval before anything changes; None once it does not."""
    loaded, record = environments.load(environment), wiring.load_record(environment, release)
    plan = environments.release_plan(loaded, record.service, record.version)
    return record if approving.waits(record, plan, SystemClock().now()) else None


def wait(environment: str, release: str) -> None:
    """Wait in this process, without a lease."""
    loaded, record = environments.load(environment), wiring.load_record(environment, release)
    plan = environments.release_plan(loaded, record.service, record.version)
    approving.wait(wiring.cluster_of(loaded), SystemClock(), plan, release)


def hear(environment: str, release: str, decision: Decision, by: str, reason: str) -> str:
    """Write down what somebody decided in the form; what came of it, in a sentence."""
    service = wiring.load_record(environment, release).service
    of = {"release": release, "before": TRAFFIC} if decision == "approve" else {}
    try:
        return commanding.ask(environment, service, decision, by=by, reason=reason, **of)[1]
    except Refused as error:
        return str(error)


def runs_of(holders: Sequence[str]) -> list[str]:
    """The Prefect runs that drove a release, the newest first."""
    return [found.group(1) for holder in reversed(holders) if (found := _RUN.search(holder))]
