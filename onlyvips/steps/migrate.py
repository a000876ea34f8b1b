"""The plan's index migration as a Kubernetes Job, once per plan: a Job that did the same before is believed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import PREFIX, RELEASE, annotations_of, fingerprint, own_metadata
from onlyvips.core.phases import Phase, forward_of
from onlyvips.core.plan import MigrationPlan
from onlyvips.core.record import Record
from onlyvips.errors import Permanent
from onlyvips.ports import Manifest
from onlyvips.steps import records
from onlyvips.steps.tools import Done, Tools


def migrate(tools: Tools, record: Record, _: Action) -> Done:
    """Run the Job to its end. Raises Permanent when it fails or outlasts ``waits.job``."""
    plan = tools.plan.migration
    if plan is None:
        return replace(record, phase=_next(record), migration="none"), "this version brings no migration"
    job = _wanted(tools, record, plan)
    if (observed := _finished(tools, record, job)) is None:
        return record, f"an abort was asked for; Job {plan.job} was left running, an index more does no harm"
    return replace(record, phase=_next(record), migration=plan.job), observed


def _next(record: Record) -> Phase:
    return forward_of(record.strategy)[0]


def _wanted(tools: Tools, record: Record, plan: MigrationPlan) -> Manifest:
    """A Job with this very plan: the one that is there, or a new one in place of one with another, or that failed."""
    asked = fingerprint(asdict(plan))
    found = tools.cluster.get("Job", plan.job)
    if found is not None:
        same = annotations_of(found).get(f"{PREFIX}/plan") == asked
        ours = (found["metadata"].get("labels") or {}).get(RELEASE) == record.id
        over = _condition(found, "Failed") or _condition(found, "Complete")
        if same and (ours or _condition(found, "Failed") is None):
            return found
        if not over:
            raise Permanent(
                f"Job {plan.job} is running and does something else than this release's migration: it was left alone; "
                "see who started it, wait until it is done, then start the release again."
            )
        _clear(tools, plan.job)
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    reference = {"secretKeyRef": {"name": plan.uri_secret, "key": plan.uri_key}}
    env: list[Manifest] = [
        {"name": "MONGODB_URI", "valueFrom": reference},
        {"name": "MIGRATION", "value": json.dumps({"database": plan.database, "indexes": _indexes(plan)})},
    ]
    return tools.fence.create(manifests.migration_job(plan.job, plan.image, list(plan.command), env, asked, own))


def _indexes(plan: MigrationPlan) -> list[Manifest]:
    return [{"collection": each.collection, "keys": each.keys, "unique": each.unique} for each in plan.indexes]


def _clear(tools: Tools, name: str) -> None:
    tools.fence.delete("Job", name)
    until = tools.clock.monotonic() + tools.plan.waits.job
    while tools.cluster.get("Job", name) is not None:
        tools.fence.progress()
        if tools.clock.monotonic() > until:
            raise Permanent(f"The old Job {name} was deleted and does not go: see what holds it, then start again.")
        tools.clock.sleep(tools.plan.waits.poll)


def _condition(job: Manifest, kind: str) -> Manifest | None:
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _finished(tools: Tools, record: Record, job: Manifest) -> str | None:
    """Watch the Job to its end; None when an abort comes first."""
    name = job["metadata"]["name"]
    until = tools.clock.monotonic() + tools.plan.waits.job
    while True:
        if _condition(job, "Complete"):
            return f"Job {name} is complete"
        if (failed := _condition(job, "Failed")) is not None:
            raise Permanent(
                f"The migration Job {name} failed ({failed.get('message', 'no message')}): read the logs of its pods, "
                "put the cause right, and start the release again."
            )
        if tools.clock.monotonic() > until:
            raise Permanent(
                f"The migration Job {name} is not done after {tools.plan.waits.job:g} s: it was left running; start "
                "the release again when it is done."
            )
        tools.fence.progress()
        tools.clock.sleep(tools.plan.waits.poll)
        if records.load(tools.cluster, record.id).aborted:
            return None
        found = tools.cluster.get("Job", name)
        if found is None:
            raise Permanent(f"The migration Job {name} was deleted while it ran: start the release again.")
        job = found
