"""Kind secrets: parameters of SSM, those that differ; or Vault's own snapshot, which replaces all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.file_private import private_file
from onlyvips.adapters.parameters_ssm import SsmParameters
from onlyvips.adapters.target_vault import VaultTarget
from onlyvips.core import secrets_restore as core
from onlyvips.core.points import Point, check_name, choose_point
from onlyvips.environment import Environment, references
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports.secrets import ParameterStore, SnapshotTarget
from onlyvips.steps.secrets_restore import look, restore_parameters, restore_vault
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import identities
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.places import stores_of
from onlyvips.wiring.restoring.kind import LIVE, Asked, Done, Kind, Planned


def _check(asked: Asked) -> None:
    if asked.target != LIVE and not references.is_reference(asked.target):
        raise Refused(
            "--target is neither live nor a reference (env:NAME, file:/path) of another place's URL: "
            "ssm://ACCESS_KEY:SECRET_KEY@REGION, or https://:TOKEN@HOST of a Vault. Nothing was read."
        )
    if asked.names:
        raise Refused("--namespace is for mongodb: of secrets all come back. Nothing was read.")


def _planned(asked: Asked) -> Planned:
    """Of SSM the backup is read too: nothing else says what is in it."""
    loaded = environments.load(asked.environment)
    point = _point(asked)
    return (_planned_vault if _is_vault(point) else _planned_ssm)(loaded, asked, point)


def _planned_ssm(loaded: Environment, asked: Asked, point: Point) -> Planned:
    store = _parameters(loaded, asked)
    found, _ = look(loaded.name, point, store, _reader(loaded, lambda doing, size: None))
    refusals = _refusals(_ssm_checks(loaded, asked, found, store))
    return Planned(tuple(core.ssm_lines(found)), core.ssm_json(found), refusals, found.overwritten, point.name)


def _planned_vault(loaded: Environment, asked: Asked, point: Point) -> Planned:
    found = core.VaultPlan(loaded.name, point, _vault(loaded, asked).describe())
    refusals = _refusals(_vault_checks(loaded, asked, found))
    return Planned(tuple(core.vault_lines(found)), core.vault_json(found), refusals, found.overwritten, point.name)


def _refusals(checks: Iterator[Callable[[], object]]) -> tuple[str, ...]:
    found = list[str]()
    for check in checks:
        try:
            check()
        except (Refused, Permanent, Transient) as error:
            found.append(str(error))
    return tuple(found)


def _ssm_checks(
    loaded: Environment, asked: Asked, found: core.SsmPlan, store: ParameterStore
) -> Iterator[Callable[[], object]]:
    written = (*found.overwritten, *(found.new if asked.target == LIVE else ()))
    yield lambda: core.check_ssm(found, store.paths)
    yield lambda: check_name(found.point, asked.at, written)
    yield lambda: _check_elsewhere(asked, store.identity, lambda: _live_parameters(loaded).identity())


def _vault_checks(loaded: Environment, asked: Asked, found: core.VaultPlan) -> Iterator[Callable[[], object]]:
    yield lambda: core.check_vault(found)
    yield lambda: check_name(found.point, asked.at, found.overwritten)
    yield lambda: _reader(loaded, lambda doing, size: None)
    yield lambda: _check_elsewhere(
        asked, lambda: found.target["cluster_id"], lambda: _live_vault(loaded).describe()["cluster_id"]
    )


def _check_elsewhere(asked: Asked, target: Callable[[], str], live: Callable[[], str]) -> None:
    """Raise Refused where a target that was not called live is it; a live one that does not answer is none."""
    if asked.target == LIVE:
        return
    try:
        there = live()
    except (Transient, Refused):
        return
    if target() == there:
        raise Refused("The target is the live one: nothing was changed. When that is meant, say --target live.")


def _run(asked: Asked, tell: Tell) -> Done:
    loaded = environments.load(asked.environment)
    point, reader = _point(asked), _reader(loaded, tell)
    if not _is_vault(point):
        store = _parameters(loaded, asked)
        _check_elsewhere(asked, store.identity, lambda: _live_parameters(loaded).identity())
        restored = restore_parameters(loaded.name, point, store, reader, SystemClock(), asked.overwrite)
        return Done(core.ssm_done(restored), core.result(restored))
    target = _vault(loaded, asked)
    found = core.VaultPlan(loaded.name, point, target.describe())
    for check in _vault_checks(loaded, asked, found):
        check()
    if core.VAULT not in asked.overwrite:
        raise Refused("Everything in that Vault would be written over: nothing was changed; say --overwrite vault.")
    done = restore_vault(found, target, reader, SystemClock(), partial(private_file, name="vault.snap"))
    return Done(core.vault_done(done), core.result(done))


# --- how


def _point(asked: Asked) -> Point:
    found = catalog(asked.environment)
    return choose_point(found.backups, found.away, "secrets", asked.at)


def _is_vault(point: Point) -> bool:
    return point.manifest.server.dialect == "vault"


def _reader(loaded: Environment, tell: Tell) -> Reader:
    return Reader({one.name: one for one in stores_of(loaded)}, _identities(loaded), tell)


def _identities(loaded: Environment) -> tuple[Any, ...]:
    return identities(environments.identities(loaded))


def _parameters(loaded: Environment, asked: Asked) -> ParameterStore:
    if asked.target == LIVE:
        return _live_parameters(loaded)
    url = _url(loaded, asked, "ssm")
    endpoint = parse_qs(url.query).get("endpoint", [""])[0]
    keys = unquote(url.username or ""), unquote(url.password or "")
    return SsmParameters(url.hostname or "", _ssm(loaded).paths, *keys, SystemClock(), endpoint=endpoint)


def _live_parameters(loaded: Environment) -> ParameterStore:
    ssm, look_up = _ssm(loaded), partial(environments.endpoint, loaded)
    keys = look_up(ssm.restorer_access_key or ssm.access_key), look_up(ssm.restorer_secret_key or ssm.secret_key)
    return SsmParameters(ssm.region, ssm.paths, *keys, SystemClock(), endpoint=look_up(ssm.url) if ssm.url else "")


def _ssm(loaded: Environment) -> Any:
    reader = loaded.backup.secrets
    if reader is None or reader.ssm is None:
        raise Refused(f"The backup is of SSM, and {loaded.name} says nothing of it: see backup.secrets.ssm.")
    return reader.ssm


def _vault(loaded: Environment, asked: Asked) -> SnapshotTarget:
    if asked.target == LIVE:
        return _live_vault(loaded)
    url = _url(loaded, asked, "http", "https")
    host = url.netloc.rpartition("@")[2]
    return VaultTarget(urlunsplit((url.scheme, host, url.path, "", "")), unquote(url.password or ""))


def _live_vault(loaded: Environment) -> SnapshotTarget:
    reader, look_up = loaded.backup.secrets, partial(environments.endpoint, loaded)
    if reader is None or reader.vault is None or loaded.endpoints.vault is None:
        raise Refused(
            f"The backup is of Vault, and {loaded.name} names none: see backup.secrets.vault, endpoints.vault."
        )
    vault = reader.vault
    token = look_up(vault.restorer_token or vault.token)
    return VaultTarget(look_up(loaded.endpoints.vault), token, namespace=vault.namespace or "")


def _url(loaded: Environment, asked: Asked, *schemes: str) -> Any:
    try:
        found = urlsplit(environments.endpoint(loaded, asked.target))
        if found.scheme in schemes and found.hostname and found.password:
            return found
    except ValueError:
        pass  # its sentence may quote it
    raise Refused(
        f"What {asked.target} stands for (not shown) is no URL of the place: ssm://ACCESS_KEY:SECRET_KEY@REGION, or "
        "https://:TOKEN@HOST of a Vault. Nothing was changed."
    )


KIND = Kind(_check, _planned, _run, confirmed=True, named=False)
