"""Kind redis: the RDB of the platform's one Redis server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from onlyvips import environment as environments
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.steps import preflight
from onlyvips.steps.backup import Session
from onlyvips.steps.redis_snapshots import rdb_piece
from onlyvips.steps.secret_snapshots import about
from onlyvips.wiring.kinds.kind import Kind, Taking

if TYPE_CHECKING:
    from onlyvips.adapters.snapshot_redis import RedisSnapshot


def _source(loaded: Environment) -> RedisSnapshot:
    if loaded.endpoints.redis is None:
        raise Refused(f"{loaded.name} names no Redis to back up: see endpoints.redis.")
    from onlyvips.adapters.snapshot_redis import RedisSnapshot  # its client takes half a second to import

    reader = loaded.backup.redis
    return RedisSnapshot(environments.endpoint(loaded, loaded.endpoints.redis), replica=bool(reader and reader.replica))


def _check(loaded: Environment) -> None:
    preflight.check_snapshot(_source(loaded))


def _begin(loaded: Environment, taking: Taking) -> Session:
    source = _source(loaded)
    told = partial(about, source)
    return Session([rdb_piece(source)], told, taking.stores, taking.plan, taking.run, begun=taking.begun)


KIND = Kind(_check, _begin)
