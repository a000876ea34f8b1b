"""Restores of an environment: planned from what its destinations have, done into a target that a reference names."""

from __future__ import annotations

from dataclasses import dataclass

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.restore import RestorePlan, Wanted, check_server, names_of, plan_restore
from onlyvips.core.restored import Restored
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps import marker
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import identities
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.places import stores_of

KINDS = ("mongodb",)
"""Kinds that can be restored by a command; the others by hand (runbook)."""


@dataclass(frozen=True)
class Asked:
    """What is to come back, and whereto: ``target`` is a reference (env:NAME, file:/path) of a URI."""

    environment: str
    kind: str
    at: str
    target: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """A plan, and what is in its way: sentences that a run would be refused with; none where it may be run."""

    plan: RestorePlan
    refusals: tuple[str, ...]


def plan(asked: Asked) -> Planned:
    """What a run would do. Nothing is written anywhere, and no object is read. Raises Refused for bad input."""
    loaded, found = _plan(asked)
    refusals = list[str]()
    for check in (_check_target, _check_identities):
        try:
            check(loaded, found, asked)
        except (Refused, Permanent, Transient) as error:
            refusals.append(str(error))
    return Planned(found, tuple(refusals))


def run(asked: Asked, tell: Tell) -> Restored:
    """Do it, or go on with it. Raises Refused, with the target untouched, for all that can be known before."""
    loaded, found = _plan(asked)
    target = _check_target(loaded, found, asked)
    stores = {one.name: one for one in stores_of(loaded)}
    keys = identities(environments.identities(loaded))
    workers = environments.backup_plan(loaded).workers
    return restore(found, target, Reader(stores, keys, tell, workers), SystemClock())


def check(asked: Asked) -> None:
    """All that can be refused without asking anybody. Raises Refused, without showing what stands for the target."""
    if asked.kind not in KINDS:
        raise Refused(
            f"Kind `{asked.kind}` cannot be restored by this command yet ({', '.join(KINDS)} can): nothing was read; "
            "docs/runbooks/restore.md says how it is done by hand."
        )
    if not asked.target:
        raise Refused(
            "Say where to: --target env:NAME or file:/path, a reference of the URI of a server. It is never the live "
            "source by itself. Nothing was read."
        )
    if not references.is_reference(asked.target):
        raise Refused("--target is no reference: write env:NAME or file:/path, where the URI is. Nothing was read.")
    names_of(asked.names)


def _plan(asked: Asked) -> tuple[Environment, RestorePlan]:
    check(asked)
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
