"""Remove what retention no longer keeps, and make the locks of what it keeps longer."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import backups


@flow(name="backup-prune", flow_run_name="prune backups of {environment}", persist_result=False)
def backup_prune(
    environment: str,
    kind: Literal["", "mongodb", "oplog", "redis", "media", "configuration", "secrets"] = "",
    dry_run: bool = False,
    operator: str = "",
) -> dict[str, Any]:
    """Prune backups.

    What goes and why is written down first. What is locked stays and is told. Fails when something could not be done,
    or when somebody writes backups of a kind just now.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        kind: One kind; empty for all.
        dry_run: Only tell what would go and what stays, with reasons.
        operator: Who asks for it.
    """
    return backups.conclude_prune(backups.prune(environment, kind, dry_run, operator))
