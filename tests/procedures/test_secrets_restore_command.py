"""``onlyvips restore … --kind secrets``: what it refuses, prints and does; no secret gets anywhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips.adapters.target_vault import VaultTarget
from onlyvips.core.backup_report import size
from onlyvips.core.catalog import read_catalog
from onlyvips.errors import Refused, Transient
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import secrets as kind
from tests.moto import THERE, Moto, serving
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_secrets_restore import NAMES, ROOT, Ssm, Vaults, World
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

SECRETS = ["-e", "lab", "--kind", "secrets"]
LIVE = [*SECRETS, "--target", "live"]
YES = ["--yes", "lab"]


def wired(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    backups = tuple(read_catalog(read_shelves(world.places, "lab")))
    monkeypatch.setattr(kind, "catalog", lambda _: Catalog(backups, {}))
    monkeypatch.setattr(kind, "_identities", lambda _: tuple(IDENTITIES[:1]))
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    for module in (kind, restores):
        monkeypatch.setattr(module, "stores_of", lambda _: world.places)
    return world


def named(world: World) -> list[str]:
    return ["--at", world.point.name]


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ssm]:
    with serving() as url:
        server = Moto(url)
        found = Ssm(server)
        wired(found, monkeypatch)
        monkeypatch.setattr(kind, "_ssm", lambda _: type("Reader", (), {"paths": (ROOT,)}))
        monkeypatch.setattr(kind, "_live_parameters", lambda _: found.store())
        monkeypatch.setattr(kind, "SystemClock", lambda: found.clock)
        yield found
        server.close()


@pytest.fixture
def vaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vaults]:
    vault = SimulatedVault()
    with vault.serving() as url:
        found = Vaults(vault, url)
        wired(found, monkeypatch)
        monkeypatch.setattr(kind, "_live_vault", lambda _: VaultTarget(url, TOKEN))
        yield found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--target", "https://:hunter2@vault"], "--target is neither live nor a reference"),
        (["--target", ""], "--target is neither live nor a reference"),
        (["--target", "live", "--namespace", "a.b=c.d"], "--namespace is for mongodb"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_input_is_refused_before_anything_is_asked_and_no_secret_is_shown(
    options: list[str], told: str, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(kind, "catalog", nobody)
    assert run(["restore", verb, *SECRETS, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "hunter2" not in error


def test_parameters_that_differ_come_back_once_each_and_the_backup_are_named(
    ssm: Ssm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ssm.wreck()
    assert run(["restore", "plan", *LIVE]) == 2
    told = capsys.readouterr()
    assert f"say --at {ssm.point.name}" in told.err and f"--overwrite '{NAMES[1]}'" in told.out
    assert "how long: not known: none of this kind was restored or rehearsed yet" in told.out
    assert "a run asks for the name `lab`, to be typed; where no terminal is: --yes lab" in told.out
    assert run(["restore", "run", *YES, *LIVE, *named(ssm), "--overwrite", NAMES[1]]) == 2
    assert f"{NAMES[2]} of the target would be written over" in capsys.readouterr().err
    asked = ["--overwrite", NAMES[1], "--overwrite", NAMES[2], "--without-safety-backup", "tried elsewhere"]
    assert run(["restore", "run", *YES, *LIVE, *named(ssm), *asked, "--json"]) == 0
    printed = capsys.readouterr().out
    assert (json.loads(printed)["made"], json.loads(printed)["changed"]) == (1, 2)
    assert run(["restore", "plan", *LIVE, *named(ssm)]) == 0
    assert f"how long: the last one of {size(ssm.point.size)} took" in capsys.readouterr().out
    now = ssm.state()
    now.pop(f"{ROOT}/new")
    assert now == ssm.before
    evidence = [data for key, data in ssm.places[0].objects.items() if "/evidence/restore/" in key]
    assert len(evidence) == 2
    assert not [name for name in NAMES if any(name.encode() in one for one in evidence)]
    assert [json.loads(one)["asked"]["overwrite"] for one in evidence] == [2, 2]
    assert "geheim" not in told.out + told.err + printed + str(evidence)


def test_into_the_live_ssm_latest_is_refused_also_where_parameters_are_only_missing(
    ssm: Ssm, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["restore", "run", *YES, *LIVE]) == 0, "nothing is written"
    ssm.server.client().delete_parameter(Name=NAMES[0])
    for verb in (["plan"], ["run", *YES]):
        capsys.readouterr()
        assert run(["restore", *verb, *LIVE]) == 2
        assert f"say --at {ssm.point.name}" in capsys.readouterr().err
    assert NAMES[0] not in ssm.state()
    assert run(["restore", "run", *YES, *LIVE, *named(ssm)]) == 0
    assert ssm.state() == ssm.before


@pytest.mark.parametrize(
    ("given", "told"),
    [([], "and nobody did"), (["--yes", "production"], "`production` was given, and that is not its name")],
)
def test_into_the_live_ssm_nothing_is_written_without_the_name_of_the_environment(
    ssm: Ssm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    ssm.server.client().delete_parameter(Name=NAMES[0])
    assert run(["restore", "run", *LIVE, *named(ssm), *given]) == 2
    assert told in capsys.readouterr().err
    asked = restores.Asked("lab", "secrets", ssm.point.name, "live", confirmed="".join(given[1:]))
    for step in (lambda: restores.allow(asked, restores.plan(asked)), lambda: restores.run(asked, lambda *_: None)):
        with pytest.raises(Refused, match="types the environment's name"):
            step()
    assert NAMES[0] not in ssm.state() and not [one for one in ssm.places[0].objects if "/evidence/" in one]


@pytest.mark.parametrize(("typed", "code"), [("lab", 0), ("yes", 2), ("", 2)])
def test_in_a_terminal_the_name_is_asked_for_and_typed(
    ssm: Ssm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    ssm.server.client().delete_parameter(Name=NAMES[0])
    master, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(master, f"{typed}\n".encode())
        assert run(["restore", "run", *LIVE, *named(ssm)]) == code
    os.close(master)
    assert "the live secrets of lab; `restore plan` says what. Type the environment's name" in capsys.readouterr().err
    assert (NAMES[0] in ssm.state()) == (code == 0)


def test_another_region_by_a_reference_gets_them_and_the_live_one_is_refused(
    ssm: Ssm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [*SECRETS, "--target", "env:THERE"]
    for value, code, told in (
        ("eu-west-1", 2, "is no URL of the place"),
        (f"ssm://any:hunter2@eu-central-1?endpoint={ssm.server.url}", 2, "The target is the live one"),
        (f"ssm://any:hunter2@{THERE}?endpoint={ssm.server.url}", 0, "4 parameters made"),
    ):
        monkeypatch.setattr(kind.environments, "endpoint", lambda loaded, reference, value=value: value)
        assert run(["restore", "run", *there]) == code
        printed = capsys.readouterr()
        assert told in printed.out + printed.err and "hunter2" not in printed.out + printed.err
    found = ssm.server.source(ROOT, region=THERE).snapshot()
    assert {json.loads(line)["put"]["Name"] for line in b"".join(found).splitlines()} == set(NAMES)


def test_vault_is_written_over_once_it_is_named(vaults: Vaults, capsys: pytest.CaptureFixture[str]) -> None:
    vaults.vault.storage, asked_before = {}, vaults.vault.requests.count(SNAPSHOT)
    assert run(["restore", "plan", *LIVE, *named(vaults)]) == 0
    assert "a run needs: --overwrite 'vault'" in capsys.readouterr().out
    assert run(["restore", "run", *YES, *LIVE, *named(vaults)]) == 2
    assert vaults.vault.storage == {} and vaults.vault.requests.count(SNAPSHOT) == asked_before
    asked = ["--overwrite", "vault", "--without-safety-backup", "it is empty"]
    assert run(["restore", "run", *YES, *LIVE, *asked]) == 2
    assert f"say --at {vaults.point.name}" in capsys.readouterr().err
    assert run(["restore", "run", *YES, *LIVE, *named(vaults), *asked]) == 0
    assert "gave a whole snapshot back" in capsys.readouterr().out
    assert vaults.vault.storage == vaults.before


def test_a_vault_by_a_reference_gets_it_unless_it_is_the_live_one(
    vaults: Vaults, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*SECRETS, *named(vaults), "--overwrite", "vault", "--without-safety-backup", "a scratch one"]
    new = SimulatedVault()
    new.cluster = "9-9-9"
    with new.serving() as url:
        for address, code in ((vaults.url, 2), (url, 0)):
            value = address.replace("http://", f"http://:{TOKEN}@")
            monkeypatch.setattr(kind.environments, "endpoint", lambda loaded, reference, value=value: value)
            assert run(["restore", "run", *asked, "--target", "env:THERE"]) == code
            printed = capsys.readouterr()
            assert TOKEN not in printed.out + printed.err
            assert code == 0 or "The target is the live one" in printed.err
    assert new.storage == vaults.before and f"{SNAPSHOT}-force" in new.requests


def test_a_live_vault_that_is_lost_does_not_keep_from_restoring_elsewhere(
    vaults: Vaults, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def describe(self) -> dict[str, str]:
            raise Transient("It is away.")

    monkeypatch.setattr(kind, "_live_vault", lambda _: Lost())
    value = vaults.url.replace("http://", f"http://:{TOKEN}@")
    monkeypatch.setattr(kind.environments, "endpoint", lambda loaded, reference: value)
    vaults.vault.storage = {}
    asked = [*named(vaults), "--overwrite", "vault", "--without-safety-backup", "it is empty"]
    assert run(["restore", "run", *SECRETS, "--target", "env:THERE", *asked]) == 0
    assert vaults.vault.storage == vaults.before
