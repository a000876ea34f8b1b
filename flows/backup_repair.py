"""Finish a degraded or damaged backup from a good copy of it."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks import backups


@flow(name="backup-repair", flow_run_name="repair {backup} of {environment}", persist_result=False)
def backup_repair(environment: str, backup: str, operator: str = "") -> list[dict[str, Any]]:
    """Repair a backup.

    Each object of each copy is read; what is missing or not as the manifest says is written again from a good copy.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        backup: Id of the backup, see the catalog.
        operator: Who asks for it.
    """
    return backups.conclude_repair(backups.repair(environment, backup, operator))
