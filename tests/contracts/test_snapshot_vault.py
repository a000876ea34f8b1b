"""SnapshotSource of Vault: one suite for the simulator and, when there is one, a real Vault with raft storage.

``ONLYVIPS_TEST_VAULT_ADDR`` and ``ONLYVIPS_TEST_VAULT_TOKEN`` (of root) name one whose contents may be lost; without
them that half is not collected.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import httpx
import pytest

from onlyvips.adapters.snapshot_vault import VaultSnapshot
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

VAULT, VAULT_TOKEN = os.environ.get("ONLYVIPS_TEST_VAULT_ADDR", ""), os.environ.get("ONLYVIPS_TEST_VAULT_TOKEN", "")
SECRET = "hvs.geheim"


@dataclass(frozen=True)
class Place:
    """A Vault to ask, and its HTTP interface as anybody uses it."""

    url: str
    token: str

    @property
    def source(self) -> VaultSnapshot:
        return VaultSnapshot(self.url, self.token)

    def ask(self, method: str, path: str, **arguments: object) -> httpx.Response:
        headers = {"X-Vault-Token": self.token}
        return httpx.request(method, f"{self.url}/v1/{path}", headers=headers, trust_env=False, **arguments)  # type: ignore[arg-type]

    def keep(self, value: str) -> None:
        """In the token's own cubbyhole, which is in the raft storage as everything is."""
        assert self.ask("POST", "cubbyhole/contract", json={"value": value}).status_code == 204

    def kept(self) -> str:
        return str(self.ask("GET", "cubbyhole/contract").json()["data"]["value"])

    def comes_back(self, value: str) -> bool:
        """A real Vault says that it restores, and then does it: it is away meanwhile."""
        for _ in range(600):
            answer = self.ask("GET", "cubbyhole/contract")
            if answer.status_code == 200 and answer.json()["data"]["value"] == value:
                return True
            time.sleep(0.1)
        return False


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


# --- the contract


def test_vault_says_who_it_is_and_whose_unseal_keys_it_needs(place: Place):
    told = place.source.describe()
    assert told["dialect"] == "vault"
    assert re.match(r"\d+\.\d+", told["version"])
    assert set(told) == {"dialect", "version", "seal", "cluster", "cluster_id"}
    assert "unknown" not in told.values()


@pytest.mark.parametrize("path", ["snapshot", "snapshot-force"])
def test_a_snapshot_that_vault_itself_restores_brings_back_what_was_there(place: Place, path: str):
    place.keep("before")
    snapshot = b"".join(place.source.snapshot())
    place.keep("after")
    assert place.ask("POST", f"sys/storage/raft/{path}", content=snapshot).is_success
    assert place.comes_back("before")


def test_a_token_without_the_right_is_told_which_policy_it_needs(place: Place):
    with pytest.raises(Permanent, match=r'path "sys/storage/raft/snapshot" \{ capabilities = \["read"\] \}') as raised:
        list(VaultSnapshot(place.url, SECRET).snapshot())
    assert SECRET not in str(raised.value)


def test_a_snapshot_may_be_given_up_and_taken_again(place: Place):
    first = place.source.snapshot()
    assert list(islice(first, 1))
    first.close()  # type: ignore[attr-defined]
    assert b"".join(place.source.snapshot())


# --- what only the simulator does when it is told


def test_the_bytes_are_exactly_those_that_vault_sent(vault: SimulatedVault, simulated: Place):
    snapshot = vault.snapshot()
    vault.snapshot = lambda: snapshot  # type: ignore[method-assign]
    assert b"".join(simulated.source.snapshot()) == snapshot


def test_a_snapshot_of_another_seal_is_restored_by_force_alone(vault: SimulatedVault, simulated: Place):
    simulated.keep("elsewhere")
    snapshot = b"".join(simulated.source.snapshot())
    vault.seal, vault.storage = os.urandom(32), {}
    refused = simulated.ask("POST", "sys/storage/raft/snapshot", content=snapshot)
    assert (refused.status_code, vault.storage) == (400, {})
    assert simulated.ask("POST", "sys/storage/raft/snapshot-force", content=snapshot).is_success
    assert simulated.kept() == "elsewhere"


@pytest.mark.parametrize("keep", [1, 5000, 50_000, -1])
@pytest.mark.parametrize("then", [b"", b'{"errors": ["seal is away"]}'])
def test_a_snapshot_that_ends_too_early_though_http_says_it_is_whole_is_found(
    vault: SimulatedVault, simulated: Place, keep: int, then: bytes
):
    vault.cuts_snapshots(keep, then=then)
    with pytest.raises(Transient, match="not a whole snapshot.*take it again"):
        list(simulated.source.snapshot())


def test_an_error_that_vault_adds_behind_a_whole_snapshot_is_found(vault: SimulatedVault, simulated: Place):
    vault.cuts_snapshots(len(vault.snapshot()) + 100, then=b'{"errors": ["seal is away"]}')
    with pytest.raises(Transient, match="not a whole snapshot"):
        list(simulated.source.snapshot())


def test_a_connection_that_drops_in_the_middle_may_be_asked_again(vault: SimulatedVault, simulated: Place):
    vault.cuts_snapshots(50_000, drops=True)
    with pytest.raises(Transient, match="did not answer, or not to the end"):
        list(simulated.source.snapshot())


def test_a_sealed_vault_is_told_to_be_unsealed(vault: SimulatedVault, simulated: Place):
    vault.sealed = True
    for ask in (simulated.source.describe, lambda: list(simulated.source.snapshot())):
        with pytest.raises(Permanent, match="it is sealed: unseal it"):
            ask()


def test_a_storage_that_is_not_raft_is_refused_by_name(vault: SimulatedVault, simulated: Place):
    vault.storage_type = "consul"
    with pytest.raises(Refused, match="its storage is `consul` and not raft"):
        simulated.source.describe()
    with pytest.raises(Refused, match="not raft"):
        list(simulated.source.snapshot())


def test_a_standby_leads_to_the_active_node(vault: SimulatedVault, simulated: Place):
    standby = SimulatedVault()
    standby.is_standby_of(simulated.url)
    simulated.keep("here")
    with standby.serving() as url:
        snapshot = b"".join(VaultSnapshot(url, TOKEN).snapshot())
    vault.storage = {}
    assert vault.restore(snapshot, force=False) == ""
    assert simulated.kept() == "here"


def test_standbys_that_lead_in_a_circle_are_left_to_be_asked_again(vault: SimulatedVault, simulated: Place):
    vault.is_standby_of(simulated.url)
    with pytest.raises(Transient, match="names another one as the active node"):
        list(simulated.source.snapshot())
    assert len(vault.requests) == 3


def test_an_active_node_that_cannot_be_reached_is_named(vault: SimulatedVault, simulated: Place):
    vault.is_standby_of("http://127.0.0.1:1")
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1 did not answer"):
        list(simulated.source.snapshot())


def test_the_token_is_not_sent_to_a_log_in_page(vault: SimulatedVault, simulated: Place):
    vault.answers(302, {"Location": "http://login/sso?next=vault"})
    with pytest.raises(Permanent, match=r"a page elsewhere \(login\).*log-in page"):
        list(simulated.source.snapshot())


def test_the_token_is_never_sent_in_the_clear_when_it_was_asked_by_tls():
    with pytest.raises(Permanent, match="without TLS, so the token was not sent there"):
        VaultSnapshot("https://vault", TOKEN)._active(f"https://vault{SNAPSHOT}", f"http://active{SNAPSHOT}")


def test_a_redirect_may_go_from_the_clear_to_tls_and_be_relative():
    source = VaultSnapshot("http://vault:8200", TOKEN)
    assert source._active(f"http://vault:8200{SNAPSHOT}", f"https://active{SNAPSHOT}") == f"https://active{SNAPSHOT}"
    assert source._active(f"http://vault:8200{SNAPSHOT}", SNAPSHOT) == f"http://vault:8200{SNAPSHOT}"


def test_a_namespace_is_told_to_vault(vault: SimulatedVault, simulated: Place):
    list(VaultSnapshot(simulated.url, TOKEN, namespace="admin").snapshot())
    list(simulated.source.snapshot())
    assert vault.namespaces == ["admin", ""]


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (404, b'{"errors": ["1 error occurred:\\n\\t* unsupported path\\n\\n"]}', Refused, "or of another namespace"),
        (404, b"404 page not found", Permanent, r"\(404: 404 page not found\): correct endpoints\.vault"),
        (429, b'{"errors": ["request rate limit exceeded"]}', Transient, "request rate limit exceeded"),
        (500, b'{"errors": ["no active node"]}', Transient, r"just now \(500: no active node\): try again"),
        (502, b"\x1b[31m<html>", Transient, r"\(502: \[31m<html>\)"),
        (503, b"", Transient, "no reason given"),
        (200, b"<html>welcome</html>", Permanent, "not a whole snapshot|is not Vault"),
    ],
)
def test_other_answers_are_told_as_they_are(
    vault: SimulatedVault, simulated: Place, status: int, body: bytes, kind: type[OnlyVipsError], sentence: str
):
    vault.answers(status, body=body)
    with pytest.raises(kind if status != 200 else OnlyVipsError, match=sentence):
        list(simulated.source.snapshot())
    with pytest.raises(kind, match=sentence):
        simulated.source.describe()


def test_a_vault_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match=r"127\.0\.0\.1:1 did not answer.*see that it runs"):
        VaultSnapshot("http://127.0.0.1:1", TOKEN).describe()


@pytest.mark.parametrize(
    "url", ["vault:8200", f"http://me:{SECRET}@vault", f"http://v?t={SECRET}", "http://v:port", ""]
)
def test_an_address_that_is_no_plain_url_is_not_shown(url: str):
    with pytest.raises(Permanent, match=r"no plain http\(s\) URL") as raised:
        VaultSnapshot(url, TOKEN)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("token", ["", f"{SECRET}\n", f"{SECRET} x", "clé"])
def test_a_token_that_none_can_be_is_not_shown(token: str):
    with pytest.raises(Permanent, match="no token has") as raised:
        VaultSnapshot("http://vault", token)
    assert SECRET not in str(raised.value)
