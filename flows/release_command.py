"""Ask something of a running release: abort, hold, resume, promote now, approve."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import commanding


@flow(name="release-command", flow_run_name="{action} {service} on {environment}", persist_result=False)
def release_command(
    environment: str,
    action: Literal["abort", "hold", "resume", "promote", "approve"],
    service: str = "",
    reason: str = "",
    by: str = "",
    release: str = "",
    before: str = "",
) -> dict[str, Any]:
    """Ask the open release of a service for something. Fails, with the sentence why, where it cannot be done.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        action: What to ask for; an abort beats everything else.
        service: Service of that environment, for example backend; empty for the release of all (approve, abort).
        reason: Why; stands in the record and the evidence.
        by: Who asks; stands in the record as claimed, for nothing proves it.
        release: Of an approval: the release that is meant, as it asked; empty for the open one.
        before: Of an approval: what it is for (traffic, switch, promotion, or a weight); empty for what waits now.
    """
    return commanding.ask(environment, service, action, by, reason, release, before)
