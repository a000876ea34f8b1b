"""Rehearse a restore: the newest base with slices into a scratch database, compared, timed, signed, cleaned up."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import drills


@flow(name="drill", flow_run_name="drill {kind} of {environment}", persist_result=False)
def drill(
    environment: str, kind: Literal["mongodb"] = "mongodb", at: str = "latest", operator: str = ""
) -> dict[str, Any]:
    """Rehearse a restore.

    Its record, signed, is kept at every destination of backups, also that of a drill that failed; the run fails then.
    Cancelled, it cleans up first. Run again after it died, it is another drill, which removes what the dead one left.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        kind: What to rehearse.
        at: latest, a moment like 2026-08-01T12:00:00Z, or SECONDS:ORDINAL; a base and slices must lead there. Only a
            drill of latest counts as the newest one.
        operator: Who asks for it.
    """
    with drills.rehearsing(environment, kind, at, operator) as id:
        with drills.noted(id):  # what fails in here is in the record
            drills.clear(id)  # what drills that died have left
            drills.restore(id)  # base and slices, into a database of its own
            drills.verify(id)  # read again, and compared with what the objects themselves say
        drills.clean(id)
        record = drills.keep(id)  # signed, at every destination
    drills.show(environment)
    return drills.conclude(record)
