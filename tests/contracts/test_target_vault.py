"""SnapshotTarget: one suite for the simulator and, when there is one, a real Vault whose contents may be lost.

As tests/contracts/test_snapshot_vault.py says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onlyvips.adapters.target_vault import VaultTarget
from onlyvips.errors import Permanent, Refused, Transient, UnknownOutcome
from tests.contracts.test_snapshot_vault import VAULT, VAULT_TOKEN, Place
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

SECRET = "hvs.geheim"


@pytest.fixture
def vault() -> SimulatedVault:
    return SimulatedVault()


@pytest.fixture
def simulated(vault: SimulatedVault) -> Iterator[Place]:
    with vault.serving() as url:
        yield Place(url, TOKEN)


@pytest.fixture(params=["simulator", *(["vault"] if VAULT else [])])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(VAULT, VAULT_TOKEN) if request.param == "vault" else request.getfixturevalue("simulated")


def target(place: Place) -> VaultTarget:
    return VaultTarget(place.url, place.token)


def kept(place: Place, folder: Path) -> Path:
    file = folder / "vault.snap"
    file.write_bytes(b"".join(target(place).snapshot()))
    return file


@pytest.mark.parametrize("force", [False, True])
def test_a_snapshot_goes_back_and_all_is_as_it_was(place: Place, force: bool, tmp_path: Path):
    place.keep("before")
    file, before = kept(place, tmp_path), target(place).state()
    place.keep("after")
    target(place).restore(file, force=force)
    assert place.comes_back("before")
    assert target(place).state() == before == {"cluster_id": before["cluster_id"], "sealed": "false"}
    assert before["cluster_id"] == target(place).describe()["cluster_id"]


def test_a_token_without_the_right_is_told_which_policy_it_needs_and_nothing_changes(place: Place, tmp_path: Path):
    place.keep("before")
    file = kept(place, tmp_path)
    place.keep("after")
    with pytest.raises(
        Permanent, match=r'may not restore \(403\), nothing was changed.*capabilities = \["read"'
    ) as raised:
        VaultTarget(place.url, SECRET).restore(file, force=False)
    assert SECRET not in str(raised.value) and place.kept() == "after"


def test_what_is_no_snapshot_of_its_is_refused_and_nothing_changes(place: Place, tmp_path: Path):
    place.keep("before")
    file = kept(place, tmp_path)
    place.keep("after")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises((Refused, Transient), match="does not take the snapshot|cannot restore just now"):
        target(place).restore(file, force=False)
    assert place.kept() == "after"


# --- what only the simulator does when it is told


def test_a_snapshot_of_other_unseal_keys_is_refused_without_force(
    vault: SimulatedVault, simulated: Place, tmp_path: Path
):
    simulated.keep("elsewhere")
    file = kept(simulated, tmp_path)
    vault.seal, vault.storage = os.urandom(32), {}
    with pytest.raises(Refused, match="made under other unseal keys: nothing was changed"):
        target(simulated).restore(file, force=False)
    assert vault.storage == {}
    vault.seals_when_forced = True
    target(simulated).restore(file, force=True)
    assert target(simulated).state() == {"cluster_id": "", "sealed": "true"}


def test_a_standby_sends_to_the_active_node(vault: SimulatedVault, simulated: Place, tmp_path: Path):
    simulated.keep("before")
    file = kept(simulated, tmp_path)
    vault.storage = {}
    standby = SimulatedVault()
    standby.is_standby_of(simulated.url)
    with standby.serving() as url:
        VaultTarget(url, TOKEN).restore(file, force=False)
    assert simulated.kept() == "before" and vault.requests[-2:][0] == SNAPSHOT


def test_no_answer_after_the_snapshot_was_given_is_no_answer(vault: SimulatedVault, simulated: Place, tmp_path: Path):
    simulated.keep("before")
    file = kept(simulated, tmp_path)
    vault.storage, vault.hangs_up_on_restores = {}, True
    with pytest.raises(UnknownOutcome, match="was given the snapshot and did not answer.*may be run again"):
        target(simulated).restore(file, force=False)
    assert simulated.kept() == "before"


def test_a_vault_that_is_away_may_be_asked_again(tmp_path: Path):
    file = tmp_path / "vault.snap"
    file.write_bytes(b"x")
    away = VaultTarget("http://127.0.0.1:1", TOKEN)
    with pytest.raises(Transient, match="does not answer: nothing was changed"):
        away.restore(file, force=False)
    with pytest.raises(Transient):
        away.state()
