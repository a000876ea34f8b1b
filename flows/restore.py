"""Bring a kind back to a moment, into a target that has none of it: planned, copies checked, done, compared."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import restores


@flow(name="restore", flow_run_name="restore {kind} of {environment} to {at}", persist_result=False)
def restore(
    environment: str,
    target: str,
    kind: Literal["mongodb"] = "mongodb",
    at: str = "latest",
    namespaces: list[str] | None = None,
) -> dict[str, Any]:
    """Restore into an empty target.

    Every object is read and compared with its manifest before the target is touched. Run again after it died, with the
    same parameters, it goes on.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        target: Reference of the target's URI, which must resolve where the worker runs: env:NAME or file:/path.
        kind: What to restore.
        at: latest, a moment like 2026-08-01T12:00:00Z, SECONDS:ORDINAL, or the name of a base.
        namespaces: Only these, called so: a.b=c.d, or a.*=c.* for a database.
    """
    restores.plan(environment, kind, at, target, namespaces or [])  # what will be read and written, for people
    return restores.run(environment, kind, at, target, namespaces or [])  # copies checked, loaded, compared, replayed
