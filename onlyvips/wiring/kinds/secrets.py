"""Kind secrets: the secret manager's own snapshot, Vault's or SSM's."""

from __future__ import annotations

from functools import partial

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.snapshot_ssm import SsmSnapshot
from onlyvips.adapters.snapshot_vault import VaultSnapshot
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.ports import SnapshotSource
from onlyvips.steps import preflight
from onlyvips.steps.backup import Session
from onlyvips.steps.secret_snapshots import about, snapshot_piece
from onlyvips.wiring.kinds.kind import Kind, Taking


def _source(loaded: Environment) -> tuple[SnapshotSource, str]:
    """The environment's secret manager, and what its snapshot is called. Raises Refused where there is none."""
    reader, look_up = loaded.backup.secrets, partial(environments.endpoint, loaded)
    if reader and reader.vault and loaded.endpoints.vault:
        vault = reader.vault
        url = look_up(loaded.endpoints.vault)
        return VaultSnapshot(url, look_up(vault.token), namespace=vault.namespace or ""), "vault.snap"
    if reader and reader.ssm:
        ssm = reader.ssm
        keys, endpoint = (look_up(ssm.access_key), look_up(ssm.secret_key)), look_up(ssm.url) if ssm.url else ""
        return SsmSnapshot(ssm.region, ssm.paths, *keys, SystemClock(), endpoint=endpoint), "ssm.jsonl"
    raise Refused(f"{loaded.name} has no secret manager to back up: see backup.secrets.")


def _check(loaded: Environment) -> None:
    preflight.check_snapshot(_source(loaded)[0])


def _begin(loaded: Environment, taking: Taking) -> Session:
    source, name = _source(loaded)
    piece, told = snapshot_piece(source, name), partial(about, source)
    return Session([piece], told, taking.stores, taking.plan, taking.run, begun=taking.begun)


KIND = Kind(_check, _begin)
