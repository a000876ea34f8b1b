"""Kind mongodb: a base and the oplog, into collections that are not there yet."""

from __future__ import annotations

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core import restore_report as report
from onlyvips.core.restore import RestorePlan, Wanted, check_server, names_of, plan_restore
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps import marker
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import identities
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring.kind import Asked, Done, Kind, Planned


def _planned(asked: Asked) -> Planned:
    loaded, found = _plan(asked)
    refusals = list[str]()
    for check in (_check_target, _check_identities):
        try:
            check(loaded, found, asked)
        except (Refused, Permanent, Transient) as error:
            refusals.append(str(error))
    return Planned(tuple(report.lines(found)), report.as_json(found), tuple(refusals))


def _run(asked: Asked, tell: Tell) -> Done:
    loaded, found = _plan(asked)
    target = _check_target(loaded, found, asked)
    stores = {one.name: one for one in stores_of(loaded)}
    keys = identities(environments.identities(loaded))
    workers = environments.backup_plan(loaded).workers
    done = restore(found, target, Reader(stores, keys, tell, workers), SystemClock())
    return Done(report.done(done), report.result(done))


def _check(asked: Asked) -> None:
    if not asked.target:
        raise Refused(
            "Say where to: --target env:NAME or file:/path, a reference of the URI of a server. It is never the live "
            "source by itself. Nothing was read."
        )
    if not references.is_reference(asked.target):
        raise Refused("--target is no reference: write env:NAME or file:/path, where the URI is. Nothing was read.")
    names_of(asked.names)


def _plan(asked: Asked) -> tuple[Environment, RestorePlan]:
    loaded = environments.load(asked.environment)
    found = catalog(asked.environment)
    wanted = Wanted(asked.at, asked.names)
    return loaded, plan_restore(asked.environment, found.backups, found.away, wanted)


def _check_target(loaded: Environment, found: RestorePlan, asked: Asked) -> MongoTarget:
    target = _target(environments.endpoint(loaded, asked.target))
    check_server(found, target.describe(), _live(loaded))
    marker.look(found, target)
    return target


def _check_identities(loaded: Environment, found: RestorePlan, asked: Asked) -> None:
    identities(environments.identities(loaded))


def _target(uri: str) -> MongoTarget:
    return MongoTarget(MongoDatabase(uri))


def _live(loaded: Environment) -> dict[str, str] | None:
    """Who the live source is; None where it does not answer, and so cannot be the target either."""
    try:
        return dict(_target(environments.endpoint(loaded, loaded.endpoints.mongodb)).describe())
    except Transient:
        return None


KIND = Kind(_check, _planned, _run)
