"""The plan's index migration as a Kubernetes Job, once per plan: a Job that did the same before is believed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import fingerprint
from onlyvips.core.phases import Phase, forward_of
from onlyvips.core.plan import MigrationPlan
from onlyvips.core.record import Record
from onlyvips.ports import Manifest
from onlyvips.steps import jobs, records
from onlyvips.steps.jobs import Jobs, Wanted
from onlyvips.steps.tools import Done, Tools


def migrate(tools: Tools, record: Record, _: Action) -> Done:
    """Run the Job to its end. Raises Permanent when it fails or outlasts ``waits.job``."""
    plan = tools.plan.migration
    if plan is None:
        return replace(record, phase=_next(record), migration="none"), "this version brings no migration"
    if record.group:
        return replace(record, phase=_next(record), migration=plan.job), f"done by release {record.group}"
    if (observed := run(jobs_of(tools, record), plan, tools.plan.waits.job)) is None:
        return record, f"an abort was asked for; Job {plan.job} was left running, an index more does no harm"
    return replace(record, phase=_next(record), migration=plan.job), observed


def jobs_of(tools: Tools, record: Record) -> Jobs:
    """Who runs Jobs for the release of one service."""
    waits = tools.plan.waits
    return Jobs(
        cluster=tools.cluster,
        clock=tools.clock,
        fence=tools.fence,
        owner=record.id,
        service=record.service,
        poll=waits.poll,
        patience=waits.job,
        aborted=lambda: records.load(tools.cluster, record.id).aborted is not None,
    )


def run(runner: Jobs, plan: MigrationPlan, timeout: float) -> str | None:
    """The migration to its end; None when an abort comes first."""
    reference = {"secretKeyRef": {"name": plan.uri_secret, "key": plan.uri_key}}
    env: list[Manifest] = [
        {"name": "MONGODB_URI", "valueFrom": reference},
        {"name": "MIGRATION", "value": json.dumps({"database": plan.database, "indexes": _indexes(plan)})},
    ]
    asked = fingerprint(asdict(plan))

    def make(own: Manifest) -> Manifest:
        return manifests.migration_job(plan.job, plan.image, list(plan.command), env, asked, own)

    return jobs.run(runner, Wanted(plan.job, "migration", asked, make, timeout))


def _next(record: Record) -> Phase:
    return forward_of(record.strategy)[0]


def _indexes(plan: MigrationPlan) -> list[Manifest]:
    return [{"collection": each.collection, "keys": each.keys, "unique": each.unique} for each in plan.indexes]
