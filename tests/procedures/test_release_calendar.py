"""Windows and freezes: a release is refused before anything changes, and begins for a reason that is kept."""

from __future__ import annotations

from typing import Any

import pytest

from flows.commands import following, release
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core import report
from onlyvips.errors import Refused
from onlyvips.steps.deployed import Facts
from onlyvips.steps.opening import Start
from tests.core.broken_environments import PRODUCTION
from tests.procedures.test_release_command import PROMOTED
from tests.procedures.theatre import GOOD, Theatre

FROZEN = PRODUCTION.replace(
    "  rollback: automatic",
    '  freezes:\n    - {start: "2020-01-01T00:00+01:00", end: "2120-01-01T00:00+01:00", why: a century}\n'
    "  rollback: automatic",
    1,
)


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Theatre:
    """Production in a freeze of a century, on a platform in memory."""
    theatre = Theatre()
    loaded = environments.from_text(FROZEN, "production", "production.yaml")
    process = theatre.process("first")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "site_of", lambda *_: process.site)
    monkeypatch.setattr(wiring, "_driven", {})
    return theatre


def test_in_a_freeze_a_release_is_refused_and_nothing_is_changed(theatre: Theatre) -> None:
    before = list(theatre.cluster.all("ConfigMap", {}))
    with pytest.raises(Refused, match=r"frozen until .* \(a century\); the next time is .* Nothing was changed"):
        wiring.begin("production", "backend", Start(GOOD, "Ada", "run-1", "first"))
    assert list(theatre.cluster.all("ConfigMap", {})) == before and list(theatre.cluster.all("Lease", {})) == []


def test_with_a_reason_it_begins_and_the_reason_is_kept_and_told(theatre: Theatre) -> None:
    started = Start(GOOD, "Ada", "run-1", "first", override="the shop is down")
    record = wiring.record(wiring.begin("production", "backend", started))
    assert record.override == "the shop is down"
    told = report.markdown(record, theatre.plan)
    assert "Begun outside of the release windows: the shop is down." in told
    wiring.let_go("run-1")


def test_a_release_that_is_open_goes_on_in_a_freeze(theatre: Theatre) -> None:
    first = wiring.begin("production", "backend", Start(GOOD, "Ada", "run-1", "first", override="why"))
    wiring.let_go("run-1")
    assert wiring.begin("production", "backend", Start(GOOD, "Ada", "run-2", "second")) == first
    wiring.let_go("run-2")


def test_an_abort_and_a_reconcile_are_never_frozen(theatre: Theatre) -> None:
    wiring.begin("production", "backend", Start(GOOD, "Ada", "run-1", "first", override="why"))
    wiring.let_go("run-1")
    wiring.abort("production", "backend", by="Ada", reason="odd")
    finished, _ = wiring.reconcile("production", "backend", holder="second")
    assert finished is not None and finished.result == "rolled-back"


def test_a_dry_run_is_refused_in_a_freeze_too(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="a century"):
        wiring.check("production", "backend", GOOD)
    where = {"environment": "production", "service": "backend", "version": GOOD, "dry_run": True}
    with pytest.raises(Refused, match="a century"):
        release.start(**where)
    assert release.start(**where, override="the shop is down") == 0


def test_the_command_passes_the_reason_on(monkeypatch: pytest.MonkeyPatch, theatre: Theatre) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(wiring, "status", lambda *_: [])
    monkeypatch.setattr(release, "_told", lambda *_: 0)
    monkeypatch.setattr(following, "in_this_process", lambda one, **_: asked.append(one) or PROMOTED)
    where = {"environment": "production", "service": "backend", "version": GOOD}
    assert release.start(**where, local=True, override="the shop is down") == 0
    assert following._parameters(asked[0])["override"] == "the shop is down"


def test_outside_of_a_freeze_the_other_checks_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    facts = Facts("img:v1", "", 4)
    assert wiring.in_time(loaded, lambda: facts) is facts
