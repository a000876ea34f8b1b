"""``onlyvips release …``: exit codes, and what each command asks of the library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from flows.commands import following, release, run, running
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.record import Driver, Record
from onlyvips.errors import Driven, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.steps.preflight import Facts
from onlyvips.wiring import evidence, several
from tests.core.decisions import RECORD
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster

PROMOTED = replace(RECORD, phase="closed", result="promoted")
ROLLED_BACK = replace(RECORD, phase="closed", result="rolled-back", reason="bad")
STILL_OPEN = replace(RECORD, phase="rollback")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No environment, no server; what would release is written down."""
    did: list[str] = []
    loaded = SimpleNamespace(name="lab", waits=SimpleNamespace(lease=15.0), services={"backend": None}, where=str)
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(running, "answering_server", lambda _: "")
    monkeypatch.setattr(following, "in_this_process", lambda *_, **__: did.append("release") or PROMOTED)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: SimCluster(SimClock()))
    monkeypatch.setattr(evidence, "places", lambda _: [])
    return did


@pytest.mark.parametrize(("record", "code"), [(PROMOTED, 0), (ROLLED_BACK, 1)], ids=["promoted", "rolled back"])
@pytest.mark.parametrize("json", [True, False])
def test_a_release_exits_0_only_when_it_promoted(
    monkeypatch: pytest.MonkeyPatch, record: Record, code: int, json: bool
) -> None:
    monkeypatch.setattr(following, "in_this_process", lambda *_, **__: record)
    assert release.start(environment="lab", service="backend", version="v2", json=json) == code


def test_a_dry_run_checks_and_releases_nothing(monkeypatch: pytest.MonkeyPatch, asked: list[str], capsys: Any) -> None:
    monkeypatch.setattr(wiring, "check", lambda *_, **__: Facts("img:v1", "", 4))
    assert release.start(environment="lab", service="backend", version="v2", dry_run=True) == 0
    assert "it replaces img:v1 on 4 pods. Nothing was changed." in capsys.readouterr().out
    assert asked == []


@pytest.mark.parametrize(
    ("record", "code"),
    [(ROLLED_BACK, 0), (PROMOTED, 1), (STILL_OPEN, 1)],
    ids=["went back", "came too late", "is not finished"],
)
def test_an_abort_exits_0_only_when_it_went_back(monkeypatch: pytest.MonkeyPatch, record: Record, code: int) -> None:
    given: list[Any] = []
    monkeypatch.setattr(wiring, "abort", lambda *_, **more: given.append(more["reason"]) or RECORD)
    monkeypatch.setattr(wiring, "reconcile", lambda *_, **more: given.append(more["attended"]) or (record, ()))
    assert release.abort(environment="lab", service="backend", reason="odd") == code
    assert given == ["odd", True], "who asks for an abort attends to it: stable is taken back behind the canary"


def test_an_abort_of_what_a_living_driver_drives_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def lives(*_: Any, **__: Any) -> Any:
        raise Driven("Bob lives.")

    monkeypatch.setattr(wiring, "abort", lambda *_, **__: RECORD)
    monkeypatch.setattr(wiring, "reconcile", lives)
    monkeypatch.setattr(wiring, "load_record", lambda *_: ROLLED_BACK)
    assert release.abort(environment="lab", service="backend") == 0


@pytest.mark.parametrize(
    ("record", "code"),
    [(ROLLED_BACK, 0), (PROMOTED, 0), (STILL_OPEN, 1), (None, 0)],
    ids=["went back", "completed", "is not finished", "none is open"],
)
def test_a_reconcile_exits_0_unless_a_release_stays_open(
    monkeypatch: pytest.MonkeyPatch, record: Record | None, code: int
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(wiring, "reconcile", lambda *_, **more: given.append(more) or (record, ()))
    assert release.reconcile(environment="lab", service="backend") == code
    assert not given[0].get("attended"), "the reconciler never raises a weight"


def test_status_shows_what_is_open_with_its_driver_and_else_the_newest(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    nobody, bob = Driver("", ""), Driver("Bob", "2026-08-01T12:00:00.0Z")
    old, newest = replace(PROMOTED, id="r0"), replace(ROLLED_BACK, id="r2")
    found = [(old, nobody), (RECORD, bob), (newest, nobody)]
    monkeypatch.setattr(wiring, "status", lambda *_: found)
    assert release.status(environment="lab") == 0
    out = capsys.readouterr().out
    assert "Release r1: " in out and "Driver: Bob, its Lease last renewed 12:00:00 UTC" in out
    assert "Release r0" not in out and "Release r2" not in out
    found.pop(1)
    release.status(environment="lab")
    assert "Release r2" in capsys.readouterr().out


@pytest.mark.parametrize("error", [Transient("The API did not answer."), Permanent("No access.")])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_cluster_that_does_not_answer_is_told_before_a_run_is_made(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], error: OnlyVipsError, dry_run: bool
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(wiring, "status", away)
    monkeypatch.setattr(wiring, "check", away)
    with pytest.raises(Refused, match=str(error)):
        release.start(environment="lab", service="backend", version="v2", dry_run=dry_run)
    assert asked == []


def test_a_dry_run_of_all_services_answers_in_json_and_what_is_in_its_way_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], capsys: Any
) -> None:
    line = ["release", "start", "-e", "lab", "--all", "-v", "v2", "--dry-run", "--json"]
    monkeypatch.setattr(several, "check", lambda *_, **__: ["a, b v2 can be released.", "Nothing was changed."])
    assert run(line) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "told": several.check("lab", "v2")}

    def away(*_: Any, **__: Any) -> Any:
        raise Transient("The API did not answer.")

    monkeypatch.setattr(several, "check", away)
    assert run(line) == 2
    assert json.loads(capsys.readouterr().out) == {"error": "The API did not answer.", "exit": 2}
    assert asked == []


def test_detach_without_a_server_is_refused_and_releases_nothing(asked: list[str]) -> None:
    with pytest.raises(Refused, match="--detach needs a Prefect server"):
        release.start(environment="lab", service="backend", version="v2", detach=True)
    assert asked == []


@pytest.mark.parametrize(
    "command",
    [
        lambda: release.start(environment="lab", service="bakend", version="v2"),
        lambda: release.status(environment="lab", service="bakend"),
        lambda: release.abort(environment="lab", service="bakend"),
        lambda: release.reconcile(environment="lab", service="bakend"),
    ],
    ids=["start", "status", "abort", "reconcile"],
)
def test_a_service_that_is_misspelt_is_never_told_that_all_is_well(command: Callable[[], int]) -> None:
    with pytest.raises(Refused, match="lab has no service `bakend`; did you mean `backend`"):
        command()


def test_with_json_an_error_is_json_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["release", "status", "-e", "lab", "-s", "bakend", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"].startswith("lab has no service `bakend`")
