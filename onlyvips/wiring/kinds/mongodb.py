"""Kind mongodb: a base of the platform's database."""

from __future__ import annotations

from onlyvips import environment as environments
from onlyvips.environment import Environment
from onlyvips.steps import preflight
from onlyvips.steps.backup import Session
from onlyvips.steps.base import base
from onlyvips.steps.split import member_of
from onlyvips.wiring.kinds.kind import Kind, Taking
from onlyvips.wiring.places import database_of, oplog_of


def _check(loaded: Environment) -> None:
    preflight.check_source(database_of(loaded), environments.backup_plan(loaded).database)


def _begin(loaded: Environment, taking: Taking) -> Session:
    source = database_of(loaded, member_of(taking.begun))
    log = oplog_of(source) if source.server()["oplog"] != "none" else None
    return base(source, taking.stores, taking.plan, taking.run, taking.begun, log, source)


KIND = Kind(_check, _begin)
