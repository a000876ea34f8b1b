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
def release(environment: str, service: str, version: str, operator: str = "", override: str = "") -> dict[str, Any]:
    """Release one version of one service by its strategy.

    Every phase goes on until the release's record leaves it. A phase that the record has left already (a retry), or
    that its strategy has not, is passed over; a release that goes back leaves the forward phases at once and arrives
    at ``rollback``.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        service: Service of that environment, for example backend.
        version: Tag of the image to release, for example v0.9.0, or with its digest: v0.9.0@sha256:…
        operator: Who asks for it; stands in the record and the evidence.
        override: Why it begins outside of the release windows or in a freeze; stands there, too.
    """
    with releases.driving(environment, service, version, operator, override) as name:
        releases.through(name, "awaiting-approval")  # nobody holds the lease until somebody approved it, or time is up
        releases.through(name, "prepare")  # snapshot of what would have to come back
        releases.through(name, "backup")  # one base, complete in every copy, read back
        releases.through(name, "secrets")  # new values under new names
        releases.through(name, "migrate")  # the plan's Job
        releases.through(name, "canary")  # canary: stage by stage, looked at
        releases.through(name, "promote")  # canary: stable gets the new version behind it
        releases.through(name, "preview")  # blue-green: the other colour, tested before any user sees it
        releases.through(name, "switch")  # blue-green: the Service selects it
        releases.through(name, "warm")  # blue-green: the old colour stays for an instant way back
        releases.through(name, "roll")  # rolling and recreate: the Deployment's own update, watched
        releases.through(name, "together")  # one of several services: the others have to arrive, too
        releases.through(name, "rollback")  # only when something above went wrong
        releases.through(name, "evidence")
        return releases.conclude(name)
