"""Hooks of a release as Jobs, each once a release. One that fails is written down; what follows is decided by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.hooks import HookRun
from onlyvips.core.manifests import fingerprint
from onlyvips.core.plan import HookPlan
from onlyvips.core.record import Record
from onlyvips.ports import Manifest
from onlyvips.steps import jobs, keeping, records
from onlyvips.steps.jobs import JobFailed, Jobs, Wanted
from onlyvips.steps.migrate import jobs_of
from onlyvips.steps.tools import Done, Tools


def run_hook(tools: Tools, record: Record, action: Action) -> Done:
    """The hook that ``action`` names, of a release of one service."""
    plan = next(hook for hook in (*tools.plan.before, *tools.plan.after) if hook.name == action.what)
    witness = keeping.begins(tools.cluster, record.witness, plan.name, record.kept)
    if witness != record.witness:
        record = replace(record, witness=witness)
        records.save(tools.fence, record)
    runs, observed = run(jobs_of(tools, record), plan, record.hooks)
    return replace(record, hooks=runs, witness=keeping.ended(tools.cluster, witness, record.kept)), observed


def run(runner: Jobs, plan: HookPlan, runs: Sequence[HookRun]) -> tuple[tuple[HookRun, ...], str]:
    """What became of all hooks after this one, and a sentence of it; an abort leaves it undecided.

    Only the Job's own failure is one of the hook; raises whatever kept us from running or seeing it.
    """
    try:
        observed = jobs.run(runner, wanted(runner, plan, "hook"))
    except JobFailed as error:
        return (*runs, HookRun(plan.name, "failed", str(error))), str(error)
    if observed is None:
        return tuple(runs), f"an abort was asked for; hook {plan.name} was left running"
    return (*runs, HookRun(plan.name, "complete", observed)), observed


def wanted(runner: Jobs, plan: HookPlan, title: str, *, again: bool = False) -> Wanted:
    """The Job of ``plan``, under a name that is this release's alone."""
    name = f"{plan.name}-{runner.owner.rpartition('-')[2]}"
    asked = fingerprint(asdict(plan))

    def make(own: Manifest) -> Manifest:
        return manifests.hook_job(name, plan.image, list(plan.command), round(plan.timeout), asked, own)

    return Wanted(name, title, asked, make, plan.timeout, again)
