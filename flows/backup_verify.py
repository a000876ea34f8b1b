"""Read copies back from where they are, and compare them with what was written."""

from __future__ import annotations

from typing import Any

from prefect import flow

from onlyvips.wiring.backups import Asked
from tasks import backups


@flow(name="backup-verify", flow_run_name="verify backups of {environment}", persist_result=False)
def backup_verify(
    environment: str, backup: str = "", share: float = 1.0, decrypt: bool = False, unread_hours: float = 0.0
) -> list[dict[str, Any]]:
    """Verify backups.

    Every copy is read and hashed. What was found is kept as evidence, which the audit counts.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        backup: Id of one backup; empty for all.
        share: Share of the objects of a backup to read, above 0 and at most 1; less than all counts for no audit.
        decrypt: Decrypt too, and check framing, counts and checksums; needs an identity where this runs.
        unread_hours: Only copies that were not read back for so many hours; 0 for all.
    """
    asked = Asked(share, decrypt, unread_hours * 3600)
    return backups.conclude_verification(backups.verify(environment, backup, asked))
