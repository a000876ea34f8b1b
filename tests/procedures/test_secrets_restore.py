"""Restores of secrets: parameters of SSM (moto) that differ, killed at every write; Vault's snapshot, simulated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest

from onlyvips.adapters.file_private import private_file
from onlyvips.adapters.parameters_ssm import SsmParameters
from onlyvips.adapters.snapshot_vault import VaultSnapshot
from onlyvips.adapters.target_vault import VaultTarget
from onlyvips.core.catalog import read_catalog
from onlyvips.core.points import Point, choose_point
from onlyvips.core.secrets_restore import (
    Parameter,
    RestoredParameters,
    RestoredVault,
    SsmPlan,
    VaultPlan,
    check_ssm,
    check_vault,
    parameters_of,
    result,
    ssm_done,
    ssm_json,
    ssm_lines,
    vault_done,
    vault_json,
    vault_lines,
)
from onlyvips.errors import Permanent, Refused, Transient, UnknownOutcome
from onlyvips.steps.secrets_restore import look, restore_parameters, restore_vault
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.moto import HERE, Moto, serving
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_secret_snapshots import KEPT, back_up
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

ROOT = "/onlyvips"
NAMES = tuple(f"{ROOT}/p{number}" for number in range(4))


class World:
    """Three copies, and how they are read."""

    def __init__(self) -> None:
        self.places = [SimulatedStore(name) for name in "abc"]
        self.clock = SimClock()

    @property
    def point(self) -> Point:
        return choose_point(read_catalog(read_shelves(self.places, "lab")), {}, "secrets", "latest")

    def reader(self, keys: Any = None) -> Reader:
        return Reader({one.name: one for one in self.places}, keys or IDENTITIES[:1], lambda doing, size: None)

    def flip(self, place: int) -> None:
        (key,) = [key for key in self.places[place].objects if "/objects/" in key]
        data = self.places[place].objects[key]
        self.places[place].objects[key] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


# --- SSM


class Dying(SsmParameters):
    """Its process may end before any write. ``life`` counts them."""

    life = Life()

    def _put(self, put: Any, **how: Any) -> None:
        self.life.write()
        super()._put(put, **how)

    def _tag(self, name: str, wanted: Any, there: Any) -> None:
        self.life.write()
        super()._tag(name, wanted, there)


class Ssm(World):
    """Four parameters with tags in moto, backed up."""

    def __init__(self, server: Moto) -> None:
        super().__init__()
        self.server = server
        for name in NAMES:
            server.put(name, f"geheim {name}", Tags=[{"Key": "owner", "Value": "x"}], Description="d")
        back_up(server.source(ROOT), "ssm.jsonl", self.places)
        self.before = self.state()

    def store(self, life: Life | None = None, *paths: str) -> Dying:
        made = Dying(HERE, paths or (ROOT,), "any", "any", self.clock, endpoint=self.server.url)
        made.life = life or Life()
        return made

    def state(self) -> dict[str, dict[str, Any]]:
        return {name: dict(one.put) for name, one in self.store().parameters().items()}

    def plan(self) -> SsmPlan:
        return look("lab", self.point, self.store(), self.reader())[0]

    def restore(self, *over: str, life: Life | None = None, keys: Any = None) -> RestoredParameters:
        return restore_parameters("lab", self.point, self.store(life), self.reader(keys), self.clock, over)

    def wreck(self) -> None:
        """One gone, one changed, one with other tags, one new."""
        client = self.server.client()
        client.delete_parameter(Name=NAMES[0])
        self.server.put(NAMES[1], "wrecked", Overwrite=True)
        client.remove_tags_from_resource(ResourceType="Parameter", ResourceId=NAMES[2], TagKeys=["owner"])
        self.server.put(f"{ROOT}/new", "stays")


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def ssm(process: str) -> Iterator[Ssm]:
    server = Moto(process)
    server.tell("reset")
    yield Ssm(server)
    server.close()


def test_a_plan_names_what_is_new_differs_and_stays_with_versions_and_no_value(ssm: Ssm):
    ssm.wreck()
    plan = ssm.plan()
    told = "\n".join(ssm_lines(plan))
    for part in (
        f"new: {NAMES[0]}, version 1 in the backup",
        f"differs: {NAMES[1]} (Value), version 2 there, 1 in the backup",
        f"differs: {NAMES[2]} (Tags), version 1 there, 1 in the backup",
        f"stays, the backup has it not: {ROOT}/new",
        "the same: 1 parameters",
    ):
        assert part in told, told
    assert plan.overwritten == (NAMES[1], NAMES[2])
    kept = json.dumps(ssm_json(plan))
    assert "geheim" not in told + kept + repr(plan) and ROOT not in kept, "what is kept as evidence has no names"


def test_only_what_differs_is_written_and_all_is_read_back_equal(ssm: Ssm):
    ssm.wreck()
    life = Life()
    found = ssm.restore(NAMES[1], NAMES[2], life=life)
    assert (found.made, found.changed, found.same, found.others) == (1, 2, 1, 1)
    now = ssm.state()
    assert now.pop(f"{ROOT}/new")["Value"] == "stays" and now == ssm.before
    assert life.writes == 3
    assert ssm.store().parameters()[NAMES[3]].version == 1
    assert "all 4 read back equal" in ssm_done(found) and "geheim" not in ssm_done(found) + str(result(found))
    assert ssm.restore(life=(again := Life())).same == 4 and again.writes == 0


def test_what_is_there_otherwise_is_written_over_only_where_each_is_named(ssm: Ssm):
    ssm.wreck()
    life, before = Life(), ssm.state()
    with pytest.raises(Refused, match=f"{NAMES[2]} are there otherwise, and nobody asked"):
        ssm.restore(NAMES[1], life=life)
    assert life.writes == 0 and ssm.state() == before


def test_killed_before_any_write_of_secrets_and_run_again_with_the_same_options_it_ends_the_same(process: str):
    over = NAMES[1:]
    for death in range(1, 7):
        server = Moto(process)
        server.tell("reset")
        ssm = Ssm(server)
        ssm.wreck()
        server.client().delete_parameter(Name=NAMES[3])
        server.put(NAMES[3], "wrecked")  # and without its tag: two writes
        if death < 6:
            with pytest.raises(Killed):
                ssm.restore(*over, life=Life(death))
        assert set(ssm.plan().overwritten) <= set(over)
        ssm.restore(*over, life=(life := Life()))
        assert life.writes == (6 - death or 5)
        now = ssm.state()
        assert now.pop(f"{ROOT}/new")["Value"] == "stays" and now == ssm.before
        server.close()


def test_a_store_that_lost_everything_gets_everything(ssm: Ssm):
    ssm.server.client().delete_parameters(Names=list(NAMES))
    assert ssm.restore().made == 4
    assert ssm.state() == ssm.before


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_a_bad_copy_is_passed_by_for_a_good_one_until_there_is_none(ssm: Ssm, bad: int):
    ssm.server.client().delete_parameters(Names=list(NAMES))
    for place in range(bad):
        ssm.flip(place)
    if bad < 3:
        assert len(ssm.restore().flaws) == bad and ssm.state() == ssm.before
        return
    with pytest.raises(Refused, match="No good copy is left .* so nothing was written"):
        ssm.restore(life=(life := Life()))
    assert life.writes == 0


def test_the_wrong_identity_is_refused_before_anything_is_written(ssm: Ssm):
    with pytest.raises(Refused, match="see that the identity is the right one"):
        ssm.restore(keys=[pyrage.x25519.Identity.generate()])


def test_somebody_who_writes_it_again_is_found_out(ssm: Ssm, monkeypatch: pytest.MonkeyPatch):
    ssm.server.client().delete_parameter(Name=NAMES[0])
    change = SsmParameters.make

    def and_again(self: Any, wanted: Parameter) -> None:
        change(self, wanted)
        ssm.server.put(NAMES[0], "theirs", Overwrite=True)

    monkeypatch.setattr(SsmParameters, "make", and_again)
    with pytest.raises(Permanent, match=f"{NAMES[0]} read back otherwise than they were written") as raised:
        ssm.restore()
    assert "theirs" not in str(raised.value) and "geheim" not in str(raised.value)


def test_another_type_and_what_is_below_no_path_are_refused(ssm: Ssm):
    ssm.server.client().delete_parameter(Name=NAMES[0])
    ssm.server.put(NAMES[0], "x", Type="String")
    with pytest.raises(Refused, match=f"{NAMES[0]}: of another type than in the backup"):
        check_ssm(ssm.plan(), (ROOT,))
    with pytest.raises(Refused, match="of another type than in the backup"):
        ssm.restore(NAMES[0], life=(life := Life()))
    assert life.writes == 0
    ssm.server.client().delete_parameter(Name=NAMES[0])
    with pytest.raises(Refused, match=f"{NAMES[0]} of the backup are not below /other"):
        check_ssm(ssm.plan(), ("/other",))
    check_ssm(ssm.plan(), ("/",))
    with pytest.raises(Refused, match="no lines of parameters") as raised:
        parameters_of(b'{"put": {"Value": "geheim"}}')
    assert "geheim" not in str(raised.value)


# --- Vault


class Vaults(World):
    """A Vault, backed up."""

    def __init__(self, vault: SimulatedVault, url: str) -> None:
        super().__init__()
        self.vault, self.url = vault, url
        vault.storage[KEPT] = {"value": "geheim-jwt"}
        back_up(VaultSnapshot(url, TOKEN), "vault.snap", self.places)
        self.before = dict(vault.storage)

    def plan(self) -> VaultPlan:
        return VaultPlan("lab", self.point, VaultTarget(self.url, TOKEN).describe())

    def restore(self, plan: VaultPlan | None = None, keys: Any = None) -> RestoredVault:
        room = partial(private_file, name="vault.snap")
        target = VaultTarget(self.url, TOKEN)
        return restore_vault(plan or self.plan(), target, self.reader(keys), self.clock, room)


@pytest.fixture
def vaults() -> Iterator[Vaults]:
    vault = SimulatedVault()
    with vault.serving() as url:
        yield Vaults(vault, url)


def test_vault_takes_its_snapshot_from_a_good_copy_and_gives_one_back(vaults: Vaults):
    vaults.vault.storage = {"wrecked": {}}
    vaults.flip(0)
    vaults.flip(1)
    plan = vaults.plan()
    told = "\n".join(vault_lines(plan))
    assert "the same one" in told and "everything in it" in told and plan.overwritten == ("vault",)
    found = vaults.restore(plan)
    assert vaults.vault.storage == vaults.before
    assert (found.force, found.sealed, found.unread, len(found.flaws)) == (False, False, "", 2)
    assert found.read_back > 100_000
    assert "gave a whole snapshot back" in vault_done(found)
    assert SNAPSHOT in vaults.vault.requests and f"{SNAPSHOT}-force" not in vaults.vault.requests
    assert vaults.restore().backup == found.backup and vaults.vault.storage == vaults.before
    assert vault_json(plan)["force"] is False


def test_another_cluster_takes_it_by_force_and_is_then_sealed_with_the_old_keys(vaults: Vaults):
    new = SimulatedVault()
    new.cluster, new.seals_when_forced, new.seal = "9-9-9", True, os.urandom(32)
    with new.serving() as url:
        vaults.url = url
        plan = vaults.plan()
        assert "by force, for its seal is another: it is unsealed then by the keys of vault-cluster-lab" in "\n".join(
            vault_lines(plan)
        )
        found = vaults.restore(plan)
        assert (found.force, found.sealed, new.storage, new.cluster) == (True, True, vaults.before, "0-1-2")
        assert "It is sealed now: unseal it with the keys of the cluster that was backed up" in vault_done(found)


def test_a_token_of_later_than_the_backup_is_told_and_is_no_failure(vaults: Vaults, monkeypatch: pytest.MonkeyPatch):
    def gone(self: Any) -> Iterator[bytes]:
        raise Permanent("the token may not (403).")

    monkeypatch.setattr(VaultTarget, "snapshot", gone)
    found = vaults.restore()
    assert found.unread == "the token may not (403)." and "gave no snapshot back" in vault_done(found)


def test_no_good_copy_or_the_wrong_identity_leaves_vault_as_it_is(vaults: Vaults):
    with pytest.raises(Refused, match="see that the identity is the right one"):
        vaults.restore(keys=[pyrage.x25519.Identity.generate()])
    for place in range(3):
        vaults.flip(place)
    with pytest.raises(Refused, match="No good copy is left"):
        vaults.restore()
    assert not any(request.startswith(SNAPSHOT) for request in vaults.vault.requests[2:])


def test_a_vault_that_does_not_answer_after_it_took_it_may_be_asked_once_more(vaults: Vaults):
    vaults.vault.storage, vaults.vault.hangs_up_on_restores = {}, True
    with pytest.raises(UnknownOutcome):
        vaults.restore()
    vaults.vault.hangs_up_on_restores = False
    vaults.restore()
    assert vaults.vault.storage == vaults.before


def test_it_is_waited_for_until_it_answers_again_and_not_for_ever(vaults: Vaults, monkeypatch: pytest.MonkeyPatch):
    state, away = VaultTarget.state, [3]

    def coming(self: VaultTarget) -> Any:
        away[0] -= 1
        if away[0] >= 0:
            raise Transient("It is away.")
        return state(self)

    monkeypatch.setattr(VaultTarget, "state", coming)
    assert vaults.restore().read_back
    away[0] = 1000
    with pytest.raises(Transient, match="It is away"):
        vaults.restore()


def test_another_cluster_than_the_backups_after_it_is_a_failure(vaults: Vaults, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(VaultTarget, "state", lambda self: {"cluster_id": "7-7-7", "sealed": "false"})
    with pytest.raises(Permanent, match="says that it is cluster 7-7-7, the backup is of 0-1-2"):
        vaults.restore()


def test_an_older_vault_or_one_with_another_kind_of_seal_is_refused(vaults: Vaults):
    plan = vaults.plan()
    check_vault(plan)
    for facts, why in (({"version": "1.19.5"}, "an older one may not"), ({"seal": "awskms"}, "whose seal is shamir")):
        other = VaultPlan("lab", plan.point, {**plan.target, **facts})
        for ask in (partial(check_vault, other), partial(vaults.restore, other)):
            with pytest.raises(Refused, match=why):
                ask()
    assert vaults.vault.requests.count(SNAPSHOT) == 1, "that of the backup"


def test_nothing_of_the_snapshot_is_left_on_this_machine(vaults: Vaults, tmp_path: Path):
    where: list[Path] = []

    def room(size: int) -> Any:
        where.append(tmp_path / "vault.snap")
        return nullcontext(where[0])

    restore_vault(vaults.plan(), VaultTarget(vaults.url, TOKEN), vaults.reader(), vaults.clock, room)
    assert where and where[0].exists(), "it was there, for as long as the room is"
    with private_file(10, "vault.snap") as file:
        file.write_bytes(b"x")
    assert not file.parent.exists()
