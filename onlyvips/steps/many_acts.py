"""What each step of a release of several services does that is not about one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from onlyvips.core import approvals
from onlyvips.core.group import Group
from onlyvips.core.many import Do
from onlyvips.steps import hooks, jobs, keeping, migrate
from onlyvips.steps.backing_up import in_turn

if TYPE_CHECKING:
    from onlyvips.steps.many import Many


def _back_up(many: Many, group: Group, _: Do) -> tuple[Group, str]:
    def tell(why: str) -> None:
        if many.group().waiting != why:
            many.save(replace(group, waiting=why))

    site = many.site
    take = lambda: site.back_up(group.id, many.hearing)  # noqa: E731
    backup = in_turn(take, site.clock, site.plan.waits, many.hearing, tell)
    return replace(group, backup=backup, waiting=""), f"backup {backup} is complete and was read back"


def _migrate(many: Many, group: Group, _: Do) -> tuple[Group, str]:
    plan = many.site.plan.migration
    if plan is None:
        return replace(group, migration="none"), "this version brings no migration"
    if (observed := migrate.run(many.jobs(), plan, many.site.plan.waits.job)) is None:
        return group, f"an abort was asked for; Job {plan.job} was left running, an index more does no harm"
    return replace(group, migration=plan.job), observed


def _run_hook(many: Many, group: Group, do: Do) -> tuple[Group, str]:
    plan = next(hook for hook in (*many.site.plan.before, *many.site.plan.after) if hook.name == do.what)
    kept = [one for record in many.members(group).values() if record is not None for one in record.kept]
    group = replace(group, witness=keeping.begins(many.site.cluster, group.witness, plan.name, kept))
    many.save(group)
    runs, observed = hooks.run(many.jobs(), plan, group.hooks)
    return replace(group, hooks=runs, witness=keeping.ended(many.site.cluster, group.witness, kept)), observed


def _contract(many: Many, group: Group, _: Do) -> tuple[Group, str]:
    """The intent is in the record before the Job is: from then on nothing goes back any more."""
    plan = many.site.plan.contract
    assert plan is not None
    many.save(replace(group, contract="begun"))
    runner = many.jobs()
    observed = jobs.run(runner, hooks.wanted(runner, plan, "contract migration", again=True))
    assert observed is not None
    return replace(group, contract="complete"), observed


def _promote(_many: Many, group: Group, do: Do) -> tuple[Group, str]:
    return replace(group, decision="promoted", reason=do.reason), "decided: promoted"


def _fail(many: Many, group: Group, do: Do) -> tuple[Group, str]:
    over = approvals.settled(group.approvals, many.site.clock.now(), approved=False)
    failed = replace(group, decision="failed", reason=do.reason, approvals=over)
    ends = failed.result == "not-approved"
    return failed, "ended before anything changed" if ends else "decided: all go back, in reverse order"


def _approve(many: Many, group: Group, _: Do) -> tuple[Group, str]:
    over = approvals.settled(group.approvals, many.site.clock.now(), approved=True)
    return replace(group, approvals=over), "approved"


def _write_evidence(many: Many, group: Group, _: Do) -> tuple[Group, str]:
    members = [record for record in many.members(group).values() if record is not None]
    group = replace(group, left=tuple(key for record in members for key in record.left))
    kept = many.site.keep_evidence(group, members)
    return replace(group, evidence=kept.key, evidence_at=kept.stores, stuck=()), kept.observed


def _close(_many: Many, group: Group, _: Do) -> tuple[Group, str]:
    return replace(group, closed=True), f"closed: {group.result}"


ACTS: dict[str, Callable[[Many, Group, Do], tuple[Group, str]]] = {
    "approve": _approve,
    "back-up": _back_up,
    "migrate": _migrate,
    "run-hook": _run_hook,
    "contract": _contract,
    "promote": _promote,
    "fail": _fail,
    "write-evidence": _write_evidence,
    "close": _close,
}
