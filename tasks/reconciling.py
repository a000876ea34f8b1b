"""The verbs of the reconciler for Prefect: one task run a service, and a table of what came of it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from onlyvips.core import reconciled
from onlyvips.core.reconciled import Reconciled
from onlyvips.errors import Permanent
from onlyvips.wiring import reconciling
from tasks import approving, showing
from tasks.policies import rollout_task


def services(environment: str, service: str) -> list[str]:
    """Whose turn it is, in order."""
    return reconciling.services(environment, service)


@rollout_task(name="reconcile", task_run_name="reconcile {service}")
def reconcile(environment: str, service: str) -> Reconciled:
    """Finish the service's release when nobody drives it."""
    approving.hear_cancellation(environment, service)
    found = reconciling.one(environment, service, f"reconcile by run {flow_run.name} ({flow_run.id})")
    get_run_logger().log(40 if found.unfinished else 20, "%s: %s", service, found.sentence)
    return found


def conclude(environment: str, found: list[Reconciled]) -> list[dict[str, Any]]:
    """What came of each. Raises Permanent when a release stayed open or could not be finished."""
    told, key = reconciled.headline(environment, found), f"reconcile-{environment}"
    showing.soon(key, partial(create_table_artifact, reconciled.table(found), key=key, description=told))
    showing.settle()
    if any(one.unfinished for one in found):
        raise Permanent(" ".join([told, *(one.sentence for one in found if one.unfinished)]))
    return [asdict(one) for one in found]
