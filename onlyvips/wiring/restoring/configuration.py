"""Kind configuration: objects of a backup, into the environment's own namespace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from onlyvips import environment as environments
from onlyvips.adapters.applier_kubernetes import KubernetesApplier
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.inventory_kubernetes import KubernetesInventory
from onlyvips.core import configuration_restored as report
from onlyvips.core.configuration_restore import check_names
from onlyvips.core.kinds import parse_kind
from onlyvips.core.points import choose_point
from onlyvips.core.swap import missing
from onlyvips.environment import Environment
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps import configuration_restore as steps
from onlyvips.steps.configuration_restore import Place, Ready, prepare, restore_configuration
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import identities
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.places import kubeconfig_of, stores_of
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned


def _check(asked: Asked) -> None:
    if asked.target != LIVE:
        raise Refused(
            f"The configuration comes back into the cluster and namespace of the environment alone: --target {LIVE}. "
            "Nothing was read. For another cluster, make an environment that names it, or do it by hand "
            "(docs/runbooks/restore.md)."
        )
    check_names(asked.names)


def _planned(asked: Asked) -> Planned:
    loaded = environments.load(asked.environment)
    place = _place(loaded)
    ready = _prepared(loaded, place, asked, _silent)
    refusals, plan = list[str](), ready.plan
    try:
        steps.check(ready, place, asked.at)
    except (Refused, Permanent, Transient) as error:
        refusals.append(str(error))
    return Planned(
        tuple(report.lines(plan)),
        report.as_json(plan),
        tuple(refusals),
        plan.overwritten,
        plan.point.name,
        {"diffs": report.diffs(plan)},
        logged=tuple(report.lines(plan, differences=False)),
    )


def _run(asked: Asked, tell: Tell) -> Done:
    loaded = environments.load(asked.environment)
    place = _place(loaded)
    ready = _prepared(loaded, place, asked, tell)
    if unnamed := missing(ready.plan.overwritten, asked.overwrite):
        raise Refused(f"{', '.join(unnamed)} would be changed: nothing was; name each by --overwrite.")
    done = restore_configuration(ready, place, asked.at, SystemClock(), lambda: tell("restoring", 0))
    return Done(report.done(done), report.result(done))


def _prepared(loaded: Environment, place: Place, asked: Asked, tell: Tell) -> Ready:
    found = catalog(asked.environment)
    point = choose_point(found.backups, found.away, "configuration", asked.at)
    stores = {one.name: one for one in stores_of(loaded)}
    reader = Reader(stores, identities(environments.identities(loaded)), tell)
    return prepare(point, reader, place, asked.names)


def _place(loaded: Environment) -> Place:
    asked = loaded.backup.configuration
    if asked is None:
        raise Refused(f"{loaded.name} does not say which objects are its configuration: see backup.configuration.")
    where, namespace = kubeconfig_of(loaded), loaded.platform.namespace
    return Place(
        KubernetesInventory(where, namespace),
        KubernetesApplier(where, namespace),
        [parse_kind(text) for text in asked.kinds],
        partial(_objects, loaded),
        loaded.platform.automatic_managers,
    )


def _objects(loaded: Environment, services: Sequence[str]) -> list[str]:
    """What releases of these services change."""
    found = list[str]()
    for one in (loaded.services[name] for name in services if name in loaded.services):
        found.append(f"Deployment/{one.deployment}")
        found += [f"Service/{one.service}"] if one.service else []
        found += [f"HTTPRoute/{one.route.name}"] if one.route else []
    return found


def _silent(doing: str, size: int) -> None:
    """Nobody asked how far it is."""


KIND = Kind(_check, _planned, _run)
