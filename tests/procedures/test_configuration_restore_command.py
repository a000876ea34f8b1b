"""``onlyvips restore … --kind configuration``: what it prints, what it refuses, and what a run needs."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import tasks.restores
from flows.commands import run, running
from onlyvips import environment as environments
from onlyvips.core.catalog import read_catalog
from onlyvips.errors import Refused
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restores import Asked
from onlyvips.wiring.restoring import configuration
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_configuration_restore import World

HERE = ["-e", "lab", "--kind", "configuration", "--target", "live"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A backup on simulators; the live cluster too."""
    found = World()
    backups = tuple(read_catalog(read_shelves(found.stores, "lab")))
    monkeypatch.setattr(configuration, "catalog", lambda _: Catalog(backups, {}))
    for module in (restores, configuration):
        monkeypatch.setattr(module, "stores_of", lambda _: found.stores)
    monkeypatch.setattr(configuration.environments, "identities", lambda _: ())
    monkeypatch.setattr(configuration, "identities", lambda _: IDENTITIES[:1])
    monkeypatch.setattr(configuration, "_place", lambda _: found.place)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    return found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--target", "env:KUBECONFIG"], "into the cluster and namespace of the environment alone: --target live"),
        (["--target", "live", "--namespace", "a.b=c.d"], "says no objects"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(configuration, "catalog", nobody)
    assert run(["restore", "plan", "-e", "lab", "--kind", "configuration", *options]) == 2
    assert told in capsys.readouterr().err


def test_a_plan_shows_the_difference_and_what_stays_and_how_to_get_the_repository(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.wreck()
    assert run(["restore", "plan", *HERE, "--at", world.backup]) == 0
    told = capsys.readouterr().out
    for part in (
        f"Configuration of namespace production of the backup {world.backup}",
        "  created: Service/web, HTTPRoute/onlyvips",
        "  changed: ConfigMap/settings, Deployment/web",
        '    -  "LEVEL": "debug"',
        '    +  "LEVEL": "info"',
        "    kubectl owns .data.LEVEL",
        "there and not in the backup, they stay: ConfigMap/since",
        "git: this backup has no repository",
        "--overwrite 'ConfigMap/settings' --overwrite 'Deployment/web'",
    ):
        assert part in told
    assert world.applier.writes == []
    assert run(["restore", "plan", *HERE, "--at", world.backup, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert '-  "LEVEL": "debug"' in found["diffs"]["ConfigMap/settings"]
    assert found["overwritten"] == found["changed"] == ["ConfigMap/settings", "Deployment/web"]


def test_a_log_that_is_kept_gets_the_plan_without_what_the_backup_encrypts(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.wreck()
    monkeypatch.setattr(tasks.restores, "get_run_logger", lambda: logging.getLogger("a run"))
    overwrite = ["ConfigMap/settings", "Deployment/web"]
    asked = tasks.restores.asked("lab", "configuration", world.backup, "live", overwrite=overwrite)
    with caplog.at_level(logging.INFO, "a run"):
        planned = tasks.restores.plan.fn(asked)
    assert '"LEVEL": "debug"' in "\n".join(planned.lines) and '"LEVEL"' not in caplog.text
    for part in ("changed: ConfigMap/settings, Deployment/web", "kubectl owns .data.LEVEL", "git: this backup has no"):
        assert part in caplog.text


def test_a_run_changes_what_is_named_and_nothing_else(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.wreck()
    options = ["restore", "run", *HERE, "--at", world.backup, "--overwrite", "ConfigMap/settings"]
    assert run(options) == 2
    assert "Deployment/web of the target would be written over" in capsys.readouterr().err
    with pytest.raises(Refused, match="Deployment/web would be changed"):
        configuration.KIND.run(
            Asked("lab", "configuration", world.backup, "live", (), ("ConfigMap/settings",)), lambda doing, size: None
        )
    assert world.applier.writes == []
    more = ["--overwrite", "Deployment/web", "--without-safety-backup", "a test"]
    assert run([*options, *more]) == 0
    told = capsys.readouterr().out
    assert "created Service/web, HTTPRoute/onlyvips, changed ConfigMap/settings, Deployment/web" in told
    kept = [data for key, data in world.stores[0].objects.items() if "/evidence/restore/" in key]
    assert len(kept) == 2 and not any(b"debug" in data for data in kept), "evidence is not encrypted"


def test_a_plan_that_would_be_refused_exits_2_with_the_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.wreck()
    assert run(["restore", "plan", *HERE]) == 2
    assert f"say --at {world.backup}" in capsys.readouterr().err


def test_the_objects_of_a_service_are_those_that_its_release_changes() -> None:
    loaded = environments.load("lab")
    assert configuration._objects(loaded, ["backend", "none"]) == [
        "Deployment/backend",
        "Service/backend",
        "HTTPRoute/onlyvips",
    ]
