"""Release one service: backed up, migrated, shifted by weight under watch, promoted when good, rolled back when bad."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import releases


@flow(
    name="release",
    flow_run_name="{service} {version} on {environment}",
    on_cancellation=[releases.go_back],
    persist_result=False,
)
def release(environment: str, service: str, version: str, operator: str = "") -> dict[str, Any]:
    """Release one version of one service by canary.

    Every phase goes on until the release's record leaves it. A phase that the record has left already (a retry) is
    passed over; a release that goes back leaves the forward phases at once and arrives at ``rollback``.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        service: Service of that environment, for example backend.
        version: Tag of the image to release, for example v0.9.0.
        operator: Who asks for it; stands in the record and the evidence.
    """
    with releases.driving(environment, service, version, operator) as name:
        releases.through(name, "prepare")  # snapshot of what would have to come back
        releases.through(name, "backup")  # one base, complete in every copy, read back
        releases.through(name, "secrets")  # new values under new names
        releases.through(name, "migrate")  # the plan's Job
        releases.through(name, "canary")  # stage by stage, looked at
        releases.through(name, "promote")  # stable gets the new version behind the canary
        releases.through(name, "rollback")  # only when something above went wrong
        releases.through(name, "evidence")
        return releases.conclude(name)
