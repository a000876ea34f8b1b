"""A backup of secrets, whole: from the secret manager through zstd and age to every copy, and back to where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import httpx
import pyrage
import pytest
from backports import zstd

from onlyvips.adapters.snapshot_vault import VaultSnapshot
from onlyvips.core.manifest import Fact, Server, manifest_from_json
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient
from onlyvips.ports import SnapshotSource
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.opened import open_object
from onlyvips.steps.pipe import Progress
from onlyvips.steps.preflight import check_snapshot
from onlyvips.steps.secret_snapshots import about, snapshot_piece
from tests.moto import HERE, THERE, Moto, serving
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.proxy import proxy_of
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

PLAN = replace(BASE_PLAN, kind="secrets", database="")
KEPT = "/v1/cubbyhole/jwt"


@pytest.fixture
def stores() -> list[SimulatedStore]:
    return [SimulatedStore(name) for name in "abc"]


@pytest.fixture
def vault() -> SimulatedVault:
    made = SimulatedVault()
    made.storage[KEPT] = {"value": "geheim-jwt"}
    return made


@pytest.fixture
def url(vault: SimulatedVault) -> Iterator[str]:
    with vault.serving() as address:
        yield address


def back_up(
    source: SnapshotSource,
    name: str,
    stores: list[SimulatedStore],
    on_progress: Progress = lambda size, documents: None,
    epoch: int = 1,
) -> Taken:
    run = Run(epoch, SimClock(), lambda size: b"\xab" * size, on_progress)
    return take(Session([snapshot_piece(source, name)], lambda: about(source), stores, PLAN, run))


def plain(taken: Taken, store: SimulatedStore, identity: int = 0) -> bytes:
    """What ``age -d | zstd -d`` gives."""
    (record,) = taken.manifest.objects
    return zstd.decompress(pyrage.decrypt(store.objects[taken.manifest.prefix + record.key], [IDENTITIES[identity]]))


def test_a_backup_of_vault_is_vaults_own_snapshot_and_vault_takes_it_back(
    vault: SimulatedVault, url: str, stores: list[SimulatedStore]
):
    taken = back_up(VaultSnapshot(url, TOKEN), "vault.snap", stores)
    assert taken.manifest.objects[0].key == "objects/0001-vault.snap.zst.age"
    assert taken.manifest.server == Server("vault", "1.20.0")
    facts = (Fact("cluster", "vault-cluster-lab"), Fact("cluster_id", "0-1-2"), Fact("seal", "shamir"))
    assert taken.manifest.facts == facts
    for number, store in enumerate(stores):
        vault.storage = {}
        snapshot = plain(taken, store, number % 2)
        headers = {"X-Vault-Token": TOKEN}
        assert httpx.post(url + SNAPSHOT, content=snapshot, headers=headers, trust_env=False).is_success
        assert vault.storage[KEPT] == {"value": "geheim-jwt"}


@pytest.mark.parametrize("keep", [50_000, -1])
def test_a_snapshot_that_was_cut_short_is_published_nowhere(
    vault: SimulatedVault, url: str, stores: list[SimulatedStore], keep: int
):
    vault.cuts_snapshots(keep)
    with pytest.raises(Transient, match="not a whole snapshot"):
        back_up(VaultSnapshot(url, TOKEN), "vault.snap", stores)
    for store in stores:
        assert store.objects == {}
        assert store.uploads == set()


def test_a_vault_that_is_sealed_meanwhile_is_no_backup(vault: SimulatedVault, url: str, stores: list[SimulatedStore]):
    def seal(size: int, documents: int) -> None:
        vault.sealed = size > 0

    with pytest.raises(Permanent, match="unseal it"):
        back_up(VaultSnapshot(url, TOKEN), "vault.snap", stores, seal)
    assert [key for store in stores for key in store.objects if "manifest" in key] == []


def test_an_abort_ends_the_reading(url: str, stores: list[SimulatedStore]):
    class Aborted(OnlyVipsError):
        pass

    def abort(size: int, documents: int) -> None:
        if size:
            raise Aborted

    with pytest.raises(Aborted):
        back_up(VaultSnapshot(url, TOKEN), "vault.snap", stores, abort)
    assert [store.objects for store in stores] == [{}, {}, {}]


def test_a_death_at_any_write_leaves_no_manifest_without_the_object_and_the_next_one_is_whole(url: str):
    alive = Life()
    back_up(VaultSnapshot(url, TOKEN), "vault.snap", [SimulatedStore(name, alive) for name in "ab"])
    for death in range(1, alive.writes + 1):
        life = Life(death)
        places = [SimulatedStore(name, life) for name in "ab"]
        with pytest.raises(Killed):
            back_up(VaultSnapshot(url, TOKEN), "vault.snap", places)
        again = [SimulatedStore(name) for name in "ab"]
        for place, before in zip(again, places, strict=True):
            place.objects = dict(before.objects)
            for manifest in (manifest_from_json(data) for key, data in before.objects.items() if "manifest" in key):
                (record,) = manifest.objects
                assert open_object(iter([before.objects[manifest.prefix + record.key]]), record, IDENTITIES[:1]) == ""
        assert not back_up(VaultSnapshot(url, TOKEN), "vault.snap", again, epoch=2).degraded


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with serving() as address:
        made = Moto(address)
        for number in range(12):
            made.put(f"/onlyvips/k{number}", f"geheim-{number}", Tags=[{"Key": "owner", "Value": f"t{number}"}])
        yield made
        made.close()


def test_a_backup_of_ssm_comes_back_in_another_region_line_by_line(moto: Moto, stores: list[SimulatedStore]):
    taken = back_up(moto.source("/onlyvips"), "ssm.jsonl", stores)
    assert taken.manifest.facts == (Fact("parameters", "12"), Fact("region", HERE))
    for line in plain(taken, stores[-1]).splitlines():
        moto.client(region=THERE).put_parameter(**json.loads(line)["put"])
    here, there = (
        [json.loads(line)["put"] for line in b"".join(moto.source("/onlyvips", region=region).snapshot()).splitlines()]
        for region in (HERE, THERE)
    )
    assert here == there
    assert len(here) == 12


def test_an_ssm_that_dies_in_the_middle_leaves_nothing_published(moto: Moto, stores: list[SimulatedStore]):
    with proxy_of(moto.url) as proxy:

        def die(size: int, documents: int) -> None:
            proxy.fault = "is down" if size else ""

        with pytest.raises(Transient, match=r"SSM .*"):
            back_up(Moto(proxy.url).source("/onlyvips"), "ssm.jsonl", stores, die)
        assert proxy.met
    assert [(store.objects, store.uploads) for store in stores] == [({}, set())] * 3


def test_nothing_that_is_not_encrypted_has_a_name_or_a_value(moto: Moto, stores: list[SimulatedStore]):
    source = moto.source("/onlyvips")
    back_up(source, "ssm.jsonl", stores)
    for store in stores:
        for key, data in store.objects.items():
            assert b"geheim" not in data
            assert b"/onlyvips/k" not in data
            assert "k1" not in key
    assert "geheim" not in repr(source) + repr(vars(source))


@pytest.mark.parametrize("error", [Transient("Nothing answers."), Permanent("It is sealed: unseal it.")])
def test_a_secret_manager_that_does_not_answer_us_is_refused_before_anything_is_read(error: OnlyVipsError):
    class Away:
        def describe(self) -> Mapping[str, str]:
            raise error

        def snapshot(self) -> Iterator[bytes]:
            raise AssertionError("must not be read")

    with pytest.raises(Refused, match=f"{error} Nothing was read."):
        check_snapshot(Away())
