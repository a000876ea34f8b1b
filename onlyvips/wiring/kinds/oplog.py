"""Kind oplog: slices of the database's transaction log."""

from __future__ import annotations

from onlyvips.core.audit import whole
from onlyvips.core.catalog import by_kind, read_catalog
from onlyvips.core.manifest import OPLOG
from onlyvips.core.oplog import breaks
from onlyvips.environment import Environment
from onlyvips.steps import preflight
from onlyvips.steps.backup import Session
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.slices import Known, slice_session
from onlyvips.wiring.kinds.kind import Kind, Taking
from onlyvips.wiring.places import database_of, oplog_of


def _check(loaded: Environment) -> None:
    preflight.check_oplog(oplog_of(database_of(loaded)))


def _begin(loaded: Environment, taking: Taking) -> Session:
    shelves = read_shelves(taking.stores, loaded.name, ("mongodb", OPLOG))
    kinds = by_kind(read_catalog(shelves))
    broken = breaks(key for shelf in shelves for key in shelf.sizes)
    away = [shelf.name for shelf in shelves if shelf.away]
    known = Known(whole(kinds.get("mongodb", [])), whole(kinds.get(OPLOG, [])), broken, away)
    return slice_session(oplog_of(database_of(loaded)), known, taking.stores, taking.plan, taking.run)


KIND = Kind(_check, _begin)
