"""Take one backup of one kind: read once, in every destination, read back from each, and only then published."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from prefect import flow

from onlyvips.steps.backup import Taken
from tasks import backups


@flow(name="backup", flow_run_name="backup {kind} of {environment}", persist_result=False)
def backup(
    environment: str,
    kind: Literal["mongodb", "oplog", "redis", "media", "configuration", "secrets"],
    operator: str = "",
    if_changed: bool = False,
) -> dict[str, Any]:
    """Take one backup.

    It exists once its manifest does, which is written last. A destination that fails is left behind, the backup is
    degraded then, and the run fails with a sentence that says how to repair it.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        kind: What to back up.
        operator: Who asks for it.
        if_changed: Only when something changed since the last one, or that one is old; of the configuration alone.
    """
    if if_changed and (why := backups.unchanged(environment, kind)):
        return {"kind": kind, "unchanged": why}
    taken = backups.anew(partial(_take, environment, kind, operator))  # what can never be whole is begun anew
    backups.measure(environment)  # what monitoring reads
    return backups.conclude(taken)


def _take(environment: str, kind: str, operator: str) -> Taken:
    with backups.taking(environment, kind, operator) as session:
        backups.write_all(session)  # each object a task run: read once, written to every destination, read back
        return backups.publish(session)  # where the copies are, then the manifest
