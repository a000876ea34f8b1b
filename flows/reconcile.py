"""Finish releases that nobody drives: back to stable, or, past "stable replaced", to the end."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import reconciling


@flow(name="reconcile", flow_run_name="reconcile {environment}", persist_result=False)
def reconcile(environment: str, service: str = "") -> list[dict[str, Any]]:
    """Reconcile releases.

    Every service has its turn, whatever becomes of the others. A release with a living driver is left alone; of one
    whose driver is dead no weight is raised. Fails when one stays open.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        service: One service; empty for all.
    """
    found = [reconciling.reconcile(environment, name) for name in reconciling.services(environment, service)]
    return reconciling.conclude(environment, found)
