"""Kind redis: the RDB of one server, by a server of our own, key by key into another or back into the live one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.keys_redis import RedisKeys
from onlyvips.adapters.server_redis import RedisServer
from onlyvips.core import redis_restore as core
from onlyvips.core.catalog import find
from onlyvips.core.keys import KeyServer
from onlyvips.core.points import check_name, choose_point
from onlyvips.core.redis_restore import RedisPlan, begun_from_json, plan_redis
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports.keys import Loader, NotedKeys
from onlyvips.steps.redis_restore import restore_redis
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import check_opens, identities
from onlyvips.wiring.backups import Catalog, catalog
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned


def _check(asked: Asked) -> None:
    if not asked.target:
        raise Refused(
            "Say where to: --target live (what endpoints.redis names), or env:NAME or file:/path, a reference of the "
            "URL of another Redis. Nothing was read."
        )
    if asked.target != LIVE and not references.is_reference(asked.target):
        raise Refused(
            "--target is neither live nor a reference: write env:NAME or file:/path, where the URL is. Nothing was "
            "read."
        )
    if asked.names:
        raise Refused("--namespace is for mongodb: of Redis all databases come back, or none. Nothing was read.")


def _planned(asked: Asked) -> Planned:
    loaded = environments.load(asked.environment)
    found = _plan(loaded, asked, _target(loaded, asked))
    refusals = list[str]()
    for check in _checks(loaded, asked, found):
        try:
            check()
        except (Refused, Permanent, Transient) as error:
            refusals.append(str(error))
    return Planned(tuple(core.lines(found)), core.as_json(found), tuple(refusals), found.overwritten, found.point.name)


def _run(asked: Asked, tell: Tell) -> Done:
    loaded = environments.load(asked.environment)
    target = _target(loaded, asked)
    found = _plan(loaded, asked, target)
    for check in _checks(loaded, asked, found):
        check()
    reader = Reader({one.name: one for one in stores_of(loaded)}, _identities(loaded, found), tell)
    over = [number for number in found.occupied if core.name_of(number) in asked.overwrite]
    done = restore_redis(found, target, _loader(loaded), reader, SystemClock(), over)
    return Done(core.done(done), core.result(done))


def _plan(loaded: Environment, asked: Asked, target: NotedKeys) -> RedisPlan:
    server = target.describe()
    noted = "" if server.refusal else target.noted(core.MARKED)
    found = catalog(asked.environment)
    at, note = _at(asked, found, noted)
    point = choose_point(found.backups, found.away, "redis", at)
    return plan_redis(asked.environment, replace(point, notes=(*note, *point.notes)), server, noted, asked.overwrite)


def _at(asked: Asked, found: Catalog, noted: str) -> tuple[str, tuple[str, ...]]:
    """``latest`` is, where a restore is under way, what it was when that began: newer backups are of its ruins."""
    begun = begun_from_json(noted)
    if asked.at == "latest" and begun:
        for one in find(found.backups, begun.backup):
            return one.name, ("a restore of this backup is under way there: it is done to its end",)
    return asked.at, ()


def _checks(loaded: Environment, asked: Asked, found: RedisPlan) -> Iterator[Callable[[], object]]:
    """What refuses a restore before any object is read."""
    yield lambda: core.check_target(found)
    yield lambda: check_name(found.point, asked.at, _written(asked, found))
    yield lambda: core.check_source(found, None if asked.target == LIVE else _live(loaded))
    yield lambda: core.check_loader(found, *_loader(loaded).describe())
    yield lambda: _identities(loaded, found)


def _written(asked: Asked, found: RedisPlan) -> Sequence[str]:
    """What a restore changes that ``latest`` may be a backup of: what is live is backed up by schedule, empty too."""
    return found.overwritten or ((LIVE,) if asked.target == LIVE and not found.begun else ())


def _identities(loaded: Environment, found: RedisPlan) -> tuple[Any, ...]:
    keys = identities(environments.identities(loaded))
    check_opens(keys, [found.point.manifest])
    return keys


def _target(loaded: Environment, asked: Asked) -> NotedKeys:
    return _keys(_live_url(loaded) if asked.target == LIVE else environments.endpoint(loaded, asked.target))


def _live(loaded: Environment) -> KeyServer | None:
    """Who the live source is; None where it does not answer, and so cannot be the target either."""
    try:
        return _keys(_live_url(loaded)).describe()
    except Transient:
        return None


def _live_url(loaded: Environment) -> str:
    if loaded.endpoints.redis is None:
        raise Refused(f"{loaded.name} names no Redis: see endpoints.redis. Nothing was read.")
    return environments.endpoint(loaded, loaded.endpoints.redis)


def _keys(url: str) -> NotedKeys:
    return RedisKeys(url)


def _loader(loaded: Environment) -> Loader:
    reader = loaded.backup.redis
    path = environments.endpoint(loaded, reader.server) if reader and reader.server else ""
    return RedisServer(SystemClock(), path)


KIND = Kind(_check, _planned, _run)
