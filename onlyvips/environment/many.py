"""From the environment to the plan of a release of all its services."""

from __future__ import annotations

from onlyvips.core import plan
from onlyvips.core.order import in_order
from onlyvips.environment.delivery import Hooks
from onlyvips.environment.model import Environment
from onlyvips.environment.plans import approvals_of, hook, is_the_release, migration_of, waits_of
from onlyvips.errors import Refused


def many_plan(environment: Environment, version: str) -> plan.ManyPlan:
    """A release of all services of ``release.services``, in order: what another needs comes before it."""
    release = environment.release
    if "@" in version:
        raise Refused(
            "Several services have an image each, so one digest cannot be theirs: nothing was changed; write "
            f"them as `release.digests` of {environment.name}, and give --version {version.partition('@')[0]}."
        )
    ours = is_the_release(release, version)
    hooks = release.hooks if ours else Hooks()
    contract = hook(release.contract) if ours and release.contract else None
    return plan.ManyPlan(
        environment=environment.name,
        services=in_order(release.services, release.depends),
        waits=waits_of(environment),
        lease_duration=environment.waits.lease,
        migration=migration_of(environment) if ours else None,
        before=tuple(map(hook, hooks.before)),
        after=tuple(map(hook, hooks.after)),
        contract=contract,
        approvals=approvals_of(environment),
    )
