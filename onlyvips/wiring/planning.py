"""What a release would do, from the environment and what can be read: nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.around import Around, Backup
from onlyvips.core.bulletin import EVENTS
from onlyvips.core.forecast import Forecast, Found, forecast
from onlyvips.core.images import tag_of
from onlyvips.core.plan import DestinationPlan, ReleasePlan, Strategy
from onlyvips.environment import Environment
from onlyvips.errors import Permanent, Transient, UnknownOutcome
from onlyvips.ports import Cluster
from onlyvips.steps import records
from onlyvips.steps.deployed import Facts
from onlyvips.steps.foresight import foresight, warnings
from onlyvips.steps.several import at_once
from onlyvips.wiring import charting
from onlyvips.wiring.telling import targets_of

T = TypeVar("T")


def foresee(environment: str, service: str, version: str, strategy: Strategy | None = None) -> Forecast:
    """All that a release of ``version`` would do, and everything that would refuse it now, not the first alone.

    Raises Refused for what is wrong with the question: the environment's file, the service, the version, the strategy.
    """
    loaded = environments.load(environment)
    plan = environments.release_plan(loaded, service, version, strategy)
    found = _found(loaded, plan, version)
    # What keeps the metrics system from being asked at all is among the refusals already.
    sights = _asked(lambda: foresight(wiring.metrics_of(loaded), plan), []) or ()
    told = [*environments.left_out(loaded, version, service), *warnings(sights, plan, loaded.where)]
    return forecast(_with_keys(loaded, plan), tag_of(version), found, _around(loaded), told)


def _around(loaded: Environment) -> Around:
    release, plan = loaded.release, environments.backup_plan(loaded)
    return Around(
        calendar=environments.release_calendar(loaded),
        now=SystemClock().now(),
        backup=Backup(plan.database, tuple(map(_place, plan.destinations)), len(plan.recipients)),
        told=tuple((target.name, tuple(sorted(target.wants, key=EVENTS.index))) for target in targets_of(loaded)),
        escalate_after=loaded.people.notifications.escalate_after,
        contract=environments.hook(release.contract) if release.contract else None,
    )


def _place(destination: DestinationPlan) -> str:
    extra = (("off site", destination.offsite), ("locked", destination.immutable))
    return ", ".join([destination.name, *(what for what, holds in extra if holds)])


def _with_keys(loaded: Environment, plan: ReleasePlan) -> ReleasePlan:
    """With the keys that files of folders will have, where they can be read here."""
    service = plan.service.name
    read = [_asked(partial(environments.config_values, loaded, service, one.name), []) for one in plan.configs]
    told = zip(plan.configs, read, strict=True)
    return replace(
        plan, configs=tuple(replace(one, keys=tuple(keys), folder="") if keys else one for one, keys in told)
    )


def _found(loaded: Environment, plan: ReleasePlan, version: str) -> Found:
    refusals = list[str]()
    _asked(lambda: environments.check_digest(loaded, plan, version), refusals)
    cluster = _asked(lambda: wiring.cluster_of(loaded), refusals)
    facts = None if cluster is None else _in_cluster(loaded, cluster, plan, version, refusals)
    _asked(lambda: wiring.check_calendar(loaded), refusals)
    _asked(lambda: wiring.check_configs(loaded, plan), refusals)
    _asked(lambda: wiring.check_secrets(loaded, plan), refusals)
    for one in at_once(wiring.checks_of(loaded, plan)):
        if isinstance(one, Permanent | Transient | UnknownOutcome):
            refusals.append(str(one))
        elif isinstance(one, Exception):
            raise one
    found = Found("", 0) if facts is None else Found(facts.image, facts.capacity)
    return replace(found, refusals=tuple(dict.fromkeys(refusals)))


def _in_cluster(
    loaded: Environment, cluster: Cluster, plan: ReleasePlan, version: str, refusals: list[str]
) -> Facts | None:
    facts = _asked(lambda: charting.check_platform(loaded, cluster, plan, version), refusals)
    still_open = _asked(lambda: records.find_open(cluster, plan.service.name), refusals)
    if still_open is not None:
        refusals.append(f"Release {still_open.id} of {still_open.version} is open (phase {still_open.phase}).")
    return facts


def _asked(ask: Callable[[], T], refusals: list[str]) -> T | None:
    """What it answers; what it raises becomes a refusal, and the next one is asked all the same."""
    try:
        return ask()
    except (Permanent, Transient, UnknownOutcome) as error:
        refusals.append(str(error))
        return None
