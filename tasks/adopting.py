"""The verb of an adoption for Prefect."""

from __future__ import annotations

from prefect import get_run_logger
from prefect.runtime import flow_run

from onlyvips.wiring import adopting
from tasks.policies import rollout_task


@rollout_task(name="adopt", task_run_name="adopt {service} on {environment}")
def adopt(environment: str, service: str, back: bool) -> list[str]:
    """From what is there to the end; each step in the log."""
    told, log = list[str](), get_run_logger()

    def tell(line: str) -> None:
        told.append(line)
        log.info("%s", line)

    adopting.adopt(environment, service, f"adoption by run {flow_run.name} ({flow_run.id})", tell, back=back)
    return told
