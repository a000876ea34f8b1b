"""Kind mongodb: a base and the oplog, into collections that are not there yet."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import Any

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.memory_glibc import give_back_large_blocks
from onlyvips.adapters.memory_python import passing_by_what_is_loaded
from onlyvips.adapters.target_accounts_mongodb import MongoAccounts
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core import restore_report as report
from onlyvips.core.manifest import moment
from onlyvips.core.restore import RestorePlan, Wanted, check_server, names_of, plan_restore
from onlyvips.core.restore_accounts import check_whole, with_people
from onlyvips.core.restore_space import check_space, space_notes
from onlyvips.core.swap import shadowed
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports.accounts import AccountsTarget
from onlyvips.steps import marker, restore_accounts
from onlyvips.steps.marker import Claim
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.swap import looked, replaced
from onlyvips.steps.verify import check_opens, identities
from onlyvips.wiring import drill_records, past_restores
from onlyvips.wiring.backups import Catalog, catalog
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned


def _planned(asked: Asked) -> Planned:
    loaded, found = _plan(asked)
    refusals, over, restored = list[str](), tuple[str, ...](), ""
    for check in (_check_target, _check_accounts, _check_identities):
        try:
            check(loaded, found, asked)
        except (Refused, Permanent, Transient) as error:
            refusals.append(str(error))
    found = _with_notes(loaded, found, asked)
    if asked.target == LIVE and asked.at == "latest":
        refusals.append(
            "Over the live database the moment is said exactly, for the safety backup becomes the latest: nothing was "
            f"changed; say --at {marker.told_until(found)}."
        )
    elif found.over is not None and not refusals:
        target = _target(_uri(loaded, asked))
        restored = marker.look(found, target).restored
        over = () if restored else replaced(found, target)
    measured = drill_records.how_long(loaded, "mongodb", found.size)
    how_long = measured or past_restores.how_long(lambda: stores_of(loaded), loaded.name, "mongodb")
    lines, values = (*_already(restored), *report.lines(found, how_long)), report.as_json(found, how_long)
    return Planned(lines, values, tuple(refusals), over, marker.told_until(found))


def _already(restored: str) -> list[str]:
    if not restored:
        return []
    return [
        f"All of it was restored by an earlier run already, at {restored}. A run restores nothing again, it does only "
        "what was left: the cache is flushed, a new base is taken. What the restore was:"
    ]


def _finish(asked: Asked) -> None:
    loaded, found = _plan(asked)
    if found.over is not None:
        marker.finish(found, _target(_uri(loaded, asked)))


def _run(asked: Asked, tell: Tell) -> Done:
    give_back_large_blocks()
    loaded, found = _plan(asked)
    target = _check_target(loaded, found, asked)
    stores = {one.name: one for one in stores_of(loaded)}
    keys = _identities(loaded, found)
    workers = environments.backup_plan(loaded).workers
    accounts = _accounts(_uri(loaded, asked)) if found.people else None
    with passing_by_what_is_loaded():
        done = restore(found, target, Reader(stores, keys, tell, workers), SystemClock(), accounts, _claim())
    return Done(report.done(done, asked.target == LIVE), report.result(done))


def _check(asked: Asked) -> None:
    if not asked.target:
        raise Refused(
            "Say where to: --target env:NAME or file:/path, a reference of the URI of a server; or live, for the "
            "database that the backups are of. Nothing was read."
        )
    if asked.target != LIVE and not references.is_reference(asked.target):
        raise Refused(
            "--target is no reference: write env:NAME or file:/path, where the URI is, or live. Nothing was read."
        )
    names = names_of(asked.names)
    if asked.users_and_roles:
        check_whole(names)
    if asked.target == LIVE and names and any(source != target for source, target in names.pairs):
        raise Refused(
            "To the live database things come back under their own names: --namespace 'DB.COLLECTION=DB.COLLECTION'. "
            "To bring them back beside it, give a reference of its URI as --target. Nothing was read."
        )


def _plan(asked: Asked) -> tuple[Environment, RestorePlan]:
    loaded = environments.load(asked.environment)
    found = catalog(asked.environment)
    plan = _by(asked, found, "")
    if base := _under_way(loaded, plan, asked):
        note = f"it was begun by the base {base}, and goes on by it"
        with suppress(Refused):  # where that one leads there no more, the marker says what to do
            plan = _by(asked, found, base)
            plan = replace(plan, notes=(note, *plan.notes))
    return loaded, plan


def _by(asked: Asked, found: Catalog, base: str) -> RestorePlan:
    wanted = Wanted(asked.at, asked.names, base=base)
    plan = plan_restore(asked.environment, found.backups, found.away, wanted)
    if asked.users_and_roles:
        plan = with_people(plan, found.backups)
    return shadowed(plan, asked.overwrite) if asked.target == LIVE else plan


def _under_way(loaded: Environment, plan: RestorePlan, asked: Asked) -> str:
    """The base that a restore to the same moment goes by in the target, where it is another one."""
    try:
        return marker.base_under_way(plan, _target(_uri(loaded, asked)))
    except (Refused, Permanent, Transient):
        return ""  # told by whoever asks it for more


def _check_target(loaded: Environment, found: RestorePlan, asked: Asked) -> MongoTarget:
    target = _target(_uri(loaded, asked))
    told = target.describe()
    check_server(found, told, None if asked.target == LIVE else live(loaded))
    if not marker.look(found, target).resumed:  # what goes on has its space already
        check_space(found, told)
    return target


def _with_notes(loaded: Environment, found: RestorePlan, asked: Asked) -> RestorePlan:
    """What a look at the target adds; nothing where it does not answer, which is a refusal already."""
    try:
        target = _target(_uri(loaded, asked))
        found = replace(found, notes=(*found.notes, *space_notes(found, target.describe())))
        return found if found.over is None else looked(found, target)
    except (Refused, Permanent, Transient):
        return found


def _check_accounts(loaded: Environment, found: RestorePlan, asked: Asked) -> None:
    if found.people:
        restore_accounts.check(found, _accounts(_uri(loaded, asked)))


def _check_identities(loaded: Environment, found: RestorePlan, asked: Asked) -> None:
    _identities(loaded, found)


def _identities(loaded: Environment, found: RestorePlan) -> tuple[Any, ...]:
    keys = identities(environments.identities(loaded))
    check_opens(keys, {one.manifest.prefix: one.manifest for one in (*found.archives, *found.logs)}.values())
    return keys


def _claim() -> Claim:
    """This run, for whoever goes on with the restore while it lives."""
    return Claim(by=f"process {os.getpid()} on {socket.gethostname()}", since=moment(SystemClock().now()))


def _uri(loaded: Environment, asked: Asked) -> str:
    return environments.endpoint(loaded, loaded.endpoints.mongodb if asked.target == LIVE else asked.target)


def _target(uri: str) -> MongoTarget:
    return MongoTarget(MongoDatabase(uri, writes=True))


def _accounts(uri: str) -> AccountsTarget:
    return MongoAccounts(MongoDatabase(uri, writes=True))


def live(loaded: Environment) -> dict[str, str] | None:
    """Who the live source is; None where it does not answer, and so cannot be the target either. Raises Refused for one
    that does not say who it is."""
    try:
        return dict(_target(environments.endpoint(loaded, loaded.endpoints.mongodb)).describe())
    except Transient:
        return None
    except (Permanent, Refused) as error:
        raise Refused(
            "The live database (endpoints.mongodb) does not say who it is, so whether the target is it is not known, "
            f"and nothing was changed: {error} Where that server is lost, let endpoints.mongodb's reference name an "
            "address where nobody answers; else correct its user, or give a URI of the whole set."
        ) from error


KIND = Kind(_check, _planned, _run, finish=_finish)
