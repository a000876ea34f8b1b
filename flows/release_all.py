"""Release all services of a version as one: forward in order, back as one in reverse."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import several


@flow(
    name="release-all",
    flow_run_name="all services {version} on {environment}",
    on_cancellation=[several.go_back],
    persist_result=False,
)
def release_all(environment: str, version: str, operator: str = "", override: str = "") -> dict[str, Any]:
    """Release one version of all services that the environment's release names.

    Each service goes forward by its own strategy and waits, with the new version, for the others. Until all are there
    nothing is decided; a failure or an abort before that takes all of them back.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        version: Tag of the images to release, for example v0.9.0.
        operator: Who asks for it; stands in the records and the evidence.
        override: Why it begins outside of the release windows or in a freeze; stands there, too.
    """
    with several.driving(environment, version, operator, override) as group:
        several.through(group, "approve")  # one approval for all, where one is wanted
        several.through(group, "run-hook", "back-up")  # hooks before anything changes; one backup for all
        several.through(group, "prepare")  # of each: snapshot, new values under new names
        several.through(group, "migrate")  # the plan's Job, once
        several.through(group, "forward")  # one after the other, in order
        several.through(group, "run-hook", "promote")  # hooks after; decided: all of them, from here on
        several.through(group, "fail", "back")  # only when something above went wrong: in reverse order
        several.through(group, "finish")  # evidence of each
        several.through(group, "contract")  # the point of no return, where one is declared
        several.through(group, "write-evidence", "close")
        return several.conclude(group)
