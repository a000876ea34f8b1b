"""Resume the Prefect run of a release that waited, suspended, for what was just decided."""

from __future__ import annotations

import os

from flows.commands import running
from onlyvips import environment as environments
from onlyvips.core.group import Group
from onlyvips.core.record import Record
from onlyvips.wiring import approving
from onlyvips.wiring.approving import Decision


def wake(environment: str, record: Record | Group, decision: Decision, by: str, reason: str) -> str:
    """What became of its run, in a sentence; "" where none waits, or it still has to. The record says what was decided,
    whatever Prefect does."""
    loaded = environments.load(environment)
    runs = approving.runs_of(record.holders)
    if (
        not runs
        or (record.open and approving.rests(environment, record.id))
        or not (api := running.answering_server(loaded))
    ):
        return ""
    os.environ["PREFECT_API_URL"] = api
    from tasks import approving as waiting

    try:
        return "Its run was resumed." if waiting.wake(record.holders, decision, by, reason) else ""
    except Exception as error:  # noqa: BLE001 - whatever its client raises: the record has the decision
        told = f"{type(error).__name__}: {error}"
        return f"Its run was not resumed ({told}): resume it at {running.address_of(loaded, api, runs[0])}."
