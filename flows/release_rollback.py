"""Bring back what an earlier release replaced, by a release of its own with all of its looks."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import releases


@flow(
    name="release-rollback",
    flow_run_name="roll back {service} on {environment}",
    on_cancellation=[releases.go_back],
    persist_result=False,
)
def release_rollback(environment: str, service: str, to: str = "", operator: str = "") -> dict[str, Any]:
    """Roll one service back to what an earlier release replaced, by its strategy, with all rules of readiness.

    No Secret is made and no migration run or undone; stages last no longer than a look each.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        service: Service of that environment, for example backend.
        to: What to go back to, as `onlyvips release rollback --list` names it; empty for the newest.
        operator: Who asks for it; stands in the record and the evidence.
    """
    with releases.going_back(environment, service, to, operator) as name:
        releases.through(name, "prepare")
        releases.through(name, "canary")
        releases.through(name, "promote")
        releases.through(name, "preview")
        releases.through(name, "switch")
        releases.through(name, "warm")
        releases.through(name, "roll")
        releases.through(name, "together")
        releases.through(name, "rollback")
        releases.through(name, "evidence")
        return releases.conclude(name)
