"""3-2-1-1-0 by evidence: how many good copies there are, where, and to which moment one can go back."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import backups


@flow(name="backup-audit", flow_run_name="audit backups of {environment}", persist_result=False)
def backup_audit(environment: str, read: Literal["newest", "all", "nothing"] = "newest") -> dict[str, Any]:
    """Audit backups.

    Fails, with every finding, when the environment's copies, media, sites, or recovery point are not what it asks for.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        read: Which backups are read back first: the newest of each kind, all, or nothing (earlier read-backs count).
    """
    return backups.conclude_audit(backups.audit(environment, read))
