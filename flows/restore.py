"""Bring a kind back to a moment: planned, what is written over backed up, copies checked, done, compared."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from tasks import restores


@flow(name="restore", flow_run_name="restore {kind} of {environment} to {at}", persist_result=False)
def restore(
    environment: str,
    target: str,
    kind: Literal["mongodb", "redis", "media", "configuration", "secrets"] = "mongodb",
    at: str = "latest",
    namespaces: list[str] | None = None,
    overwrite: list[str] | None = None,
    without_safety_backup: str = "",
    users_and_roles: bool = False,
    confirmed: str = "",
    operator: str = "",
) -> dict[str, Any]:
    """Restore into a target that has none of it, or over what is named.

    Every object is read and compared with its manifest before the target is touched. Run again after it died, with the
    same parameters, it goes on.

    Args:
        environment: Name of a file in deployments/environments, for example lab or production.
        target: Reference of the target's URI, of media a directory's path, which must resolve where the worker runs:
            env:NAME or file:/path; or live, what the backups are of.
        kind: What to restore.
        at: latest, a moment like 2026-08-01T12:00:00Z, SECONDS:ORDINAL, or the name of a base (of media: of a backup).
        namespaces: Only these, called so: a.b=c.d, or a.*=c.* for a database; of media a/=c/, or a/x=c/y for one file.
        overwrite: What of the target may be written over, by the names that the plan says.
        without_safety_backup: Why what is written over is not backed up first; empty to back it up.
        users_and_roles: Whether users and roles of the database come back too, merged into admin; of kind mongodb, and
            with the whole database under its own name.
        confirmed: Of secrets, into live: the environment's name once more, without which nothing is written there.
        operator: Who asks for it.
    """
    asked = restores.asked(
        environment, kind, at, target, namespaces, overwrite, without_safety_backup, users_and_roles, confirmed
    )
    with restores.alone(asked, operator):  # one restore of a kind at a time
        planned = restores.plan(asked)  # what will be read and written, for people; refused unless that was named
        safety = restores.protect(asked, planned, operator)  # what brings back what is written over
        evidence = restores.keep_begun(asked, planned, safety, operator)
        done = restores.run(asked)  # copies checked, loaded, compared, replayed
        restores.keep_ended(asked, done, safety, operator, evidence)
        restores.flush_cache(asked, operator)
        restores.new_base(asked, operator)  # so that protection never lapses
        restores.finish(asked)  # until here the same parameters, run again, do only what is left
        return dict(done.values)
