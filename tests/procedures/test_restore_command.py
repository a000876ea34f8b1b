"""``onlyvips restore …``: exit codes, what it prints, and that no secret gets anywhere."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from flows.commands import run, running
from onlyvips.core import restore_report as report
from onlyvips.core.catalog import read_catalog
from onlyvips.core.restored import Restored
from onlyvips.errors import Refused, Transient
from onlyvips.steps.shelves import read_shelves
from onlyvips.wiring import restores
from onlyvips.wiring.backups import Catalog
from onlyvips.wiring.restoring import Done, mongodb
from tasks import restores as tasks
from tests.procedures.test_restore import World
from tests.simulators.target import SimulatedTarget

HERE = ["-e", "lab", "--target", "env:TARGET"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Backups on simulators, the target on another server than the source."""
    found = World(slices=1)
    backups = tuple(read_catalog(read_shelves(found.places, "lab")))
    monkeypatch.setattr(mongodb, "catalog", lambda _: Catalog(backups, {}))
    monkeypatch.setattr(mongodb, "_live", lambda _: {"identity": "live"})
    monkeypatch.setattr(mongodb, "_check_identities", lambda *_: None)
    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: reference)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    return found


def serving(monkeypatch: pytest.MonkeyPatch, target: SimulatedTarget) -> SimulatedTarget:
    monkeypatch.setattr(mongodb, "_target", lambda _: target)
    return target


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-e", "lab", "--target", "env:X", "--kind", "media"], "Kind `media` cannot be restored by this command yet"),
        (["-e", "lab", "--target", ""], "Say where to"),
        (["-e", "lab", "--target", "mongodb://u:hunter2@h/"], "--target is no reference"),
        ([*HERE, "--namespace", "a=b"], "says no namespaces"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_bad_input_is_refused_before_anything_is_asked_and_no_secret_is_shown(
    options: list[str], told: str, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(mongodb, "catalog", nobody)
    monkeypatch.setattr(running, "answering_server", nobody)
    assert run(["restore", verb, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and "hunter2" not in error


def test_a_plan_says_what_is_read_and_written_and_exits_0(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, SimulatedTarget())
    assert run(["restore", "plan", *HERE]) == 0
    told = capsys.readouterr().out
    assert f"out of the base {world.base.id}-e1" in told and "app.users -> app.users: 2 documents" in told
    assert "overwritten: nothing" in told
    assert run(["restore", "plan", *HERE, "--json", "--namespace", "app.users=x.y"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["namespaces"] == [{"source": "app.users", "target": "x.y", "documents": 2}]
    assert found["refusals"] == [] and found["logs"][0]["destinations"]


def test_a_plan_that_would_be_refused_exits_2_with_the_reason_and_writes_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget(identity="live"))
    assert run(["restore", "plan", *HERE]) == 2
    assert "The target is the live source" in capsys.readouterr().err
    assert target.life.writes == 0


def test_a_live_source_that_does_not_answer_does_not_keep_from_restoring(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(SimulatedTarget):
        def describe(self) -> dict[str, str]:
            raise Transient("It is away.")

    monkeypatch.setattr(mongodb.environments, "endpoint", lambda loaded, reference: reference)
    serving(monkeypatch, Away())
    assert mongodb._live(mongodb.environments.load("lab")) is None


def test_run_tells_what_it_did(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, SimulatedTarget())
    done = Restored(
        (), 7, 1, 30, 9, "5:1", "2026-08-01T12:00:00Z", 2, ("a: x is bad",), True, "users and roles: none", 1.5
    )
    told_of = Done(report.done(done), report.result(done))
    monkeypatch.setattr(restores, "run", lambda asked, tell: told_of)
    assert run(["restore", "run", *HERE]) == 0
    told = capsys.readouterr().out
    for part in (
        "7 documents of the base read back equal",
        "30 entries",
        "up to 5:1",
        "2 indexes",
        "1 documents were in",
    ):
        assert part in told
    assert "An earlier run had begun it." in told and "a: x is bad" in told
    assert run(["restore", "run", *HERE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 30


def test_a_refused_run_exits_2(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget())
    target.data["app.orders"] = {}
    assert run(["restore", "run", *HERE]) == 2
    assert "already has app.orders" in capsys.readouterr().err


def test_the_tasks_of_the_flow_refuse_as_the_command_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    target = serving(monkeypatch, SimulatedTarget(identity="live"))
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("restore"))
    with pytest.raises(Refused, match="The target is the live source"):
        tasks.plan.fn("lab", "mongodb", "latest", "env:TARGET", [])
    with pytest.raises(Refused, match="The target is the live source"):
        tasks.run.fn("lab", "mongodb", "latest", "env:TARGET", [])
    assert target.life.writes == 0
