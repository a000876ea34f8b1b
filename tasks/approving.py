"""How a run waits for an approval before anything changes: suspended where it can be, else here, where it is seen.

Nothing is believed because Prefect says so: the answer of the form is written into the record, which decides.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING
from uuid import UUID

from onlyvips.errors import OnlyVipsError
from onlyvips.wiring import approving
from onlyvips.wiring.approving import Decision
from tasks.policies import rollout_task

if TYPE_CHECKING:
    from prefect.input import RunInput


def wait(environment: str, release: str) -> None:
    """Return once something else is due; a run of a deployment is suspended until somebody resumes it, and begins anew
    then. Its answers are heard in the order in which they were given."""
    from prefect.runtime import deployment

    if not deployment.id:
        _here(environment, release)
        return
    from prefect.flow_runs import suspend_flow_run

    for number in count(1):
        if (told := _waits(environment, release)) is None:
            return
        answer = suspend_flow_run(wait_for_input=_form(told), key=f"{release}-approval-{number}")
        _hear(environment, release, answer.decision, answer.by, answer.reason)


def _form(told: str) -> type[RunInput]:
    from prefect.input import RunInput

    class Approval(RunInput):
        """What the form of a suspended run asks."""

        by: str
        reason: str
        decision: Decision = "approve"

    return Approval.with_initial_data(description=told)


@rollout_task(name="wait", task_run_name="waiting for an approval of {release}")
def _here(environment: str, release: str) -> None:
    """Wait in this process."""
    approving.wait(environment, release)


@rollout_task(name="read", task_run_name="what {release} waits for")
def _waits(environment: str, release: str) -> str | None:
    """What people are asked; None when nobody is asked any more."""
    return approving.waits(environment, release)


@rollout_task(name="hear", task_run_name="{decision} by {by}")
def _hear(environment: str, release: str, decision: Decision, by: str, reason: str) -> None:
    """Write down what somebody decided."""
    from prefect import get_run_logger

    get_run_logger().info("%s", approving.hear(environment, release, decision, by, reason))


def wake(holders: Sequence[str], decision: Decision, by: str, reason: str) -> bool:
    """Resume the suspended run that waits for this, where there is one. Raises what Prefect's client raises."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for run in approving.runs_of(holders):
            state = client.read_flow_run(UUID(run)).state
            if state is not None and state.is_paused():
                client.resume_flow_run(UUID(run), run_input={"decision": decision, "by": by, "reason": reason})
                return True
    return False


def hear_cancellation(environment: str, service: str) -> None:
    """What was cancelled while it was suspended had no process to hear it: that is an abort, written down now. A
    Prefect that does not answer, or does not know the run, says nothing about it."""
    try:
        waits = approving.suspended(environment, service)
        if waits is not None and (name := _cancelled(waits.run)):
            approving.cancelled(waits, name)
    except OnlyVipsError:
        return  # who reconciles meets it, and tells
    except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises: the deadline ends it all the same
        logging.getLogger(__name__).warning("Whether the run of %s was cancelled is not known: %s", service, error)


def _cancelled(run: str) -> str:
    """Its name when it was cancelled, else ""."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(UUID(run))
        except ObjectNotFound:
            return ""
    return found.name if found.state is not None and found.state.is_cancelled() else ""
