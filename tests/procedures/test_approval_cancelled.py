"""A run that was cancelled while it was suspended: nobody of it can hear that, so the reconciler asks Prefect."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelling

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.steps import approving as steps
from onlyvips.steps import opening
from onlyvips.steps.herald import SILENT
from onlyvips.steps.opening import Start
from onlyvips.wiring import approving as waiting
from onlyvips.wiring import several
from tasks import approving, reconciling
from tests.core.broken_environments import PRODUCTION
from tests.procedures.approvals import ASKING, Asked
from tests.procedures.test_approval_many import ASKING as ALL_ASKING
from tests.procedures.test_approval_suspended import client as client
from tests.procedures.test_approval_suspended import run as run
from tests.procedures.test_approval_suspended import run_it
from tests.procedures.theatre import GOOD
from tests.procedures.troupe import Troupe

RUN = "0b0e6f6e-3c1c-4a55-9a0e-0123456789ab"
HOLDER = f"run merry-owl ({RUN}), attempt 1"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without anybody to tell; tasks without an engine."""
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "herald_of", lambda *_: SILENT)
    monkeypatch.setattr(reconciling, "get_run_logger", lambda: SimpleNamespace(log=lambda *_: None))
    monkeypatch.setattr(reconciling, "flow_run", SimpleNamespace(id="r", name="reconciler"))


def waits_alone(monkeypatch: pytest.MonkeyPatch, holder: str = HOLDER) -> Asked:
    """A release that waits for its approval; its run is suspended."""
    theatre = Asked(ASKING)
    site = theatre.process("reconciler").site
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "site_of", lambda *_: site)
    monkeypatch.setattr(waiting, "SystemClock", lambda: theatre.clock)
    opening.open_release(theatre.process(holder).site, Start(GOOD, "Ada", RUN, holder)).tools.fence.progress()
    theatre.process(holder).lease.release()
    theatre.clock.sleep(60.0)
    return theatre


def says(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    """What Prefect says of every run."""

    def cancelled(run: str) -> str:
        assert run == RUN
        if isinstance(name, Exception):
            raise name
        return str(name)

    monkeypatch.setattr(approving, "_cancelled", cancelled)


def test_the_reconciler_closes_what_a_cancelled_run_waited_for_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = waits_alone(monkeypatch)
    says(monkeypatch, "merry-owl")
    found = reconciling.reconcile.fn("production", "backend")
    assert found.outcome == "not-approved"
    assert "run merry-owl was cancelled in Prefect while it waited for an approval" in theatre.assert_untouched().reason


@pytest.mark.parametrize("answer", ["", ConnectionError("refused")], ids=["not cancelled", "away"])
def test_one_that_is_not_known_to_be_cancelled_goes_on_waiting(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    theatre = waits_alone(monkeypatch)
    says(monkeypatch, answer)
    assert reconciling.reconcile.fn("production", "backend").outcome == "waiting"
    assert theatre.record().commands == () and theatre.record().open


@pytest.mark.parametrize("holder", ["Ada's terminal", f"{HOLDER[:20]}"])
def test_prefect_is_not_asked_about_what_it_did_not_begin(monkeypatch: pytest.MonkeyPatch, holder: str) -> None:
    waits_alone(monkeypatch, holder)
    says(monkeypatch, AssertionError("asked"))
    assert waiting.suspended("production", "backend") is None
    assert reconciling.reconcile.fn("production", "backend").outcome == "waiting"


def test_a_release_of_all_whose_run_was_cancelled_is_closed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = Troupe(ALL_ASKING)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(several, "site_of_all", lambda *_: theatre.actor("reconciler").many)
    says(monkeypatch, "merry-owl")
    driver = theatre.actor(HOLDER, RUN)
    several.many.open_many(driver.many, Start(GOOD, "Ada", RUN, HOLDER))
    driver.whole.release()
    assert steps.waits_all(theatre.group(), ALL_ASKING, theatre.clock.now())
    reconciling.reconcile.fn("production", "miniapp")
    group = theatre.assert_all("not-approved")
    assert "run merry-owl was cancelled" in group.reason and len(group.commands) == 1
    assert waiting.suspended("production", "backend") is None


def test_what_goes_on_or_was_aborted_is_no_question_to_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = waits_alone(monkeypatch)
    assert waiting.suspended("production", "backend") == waiting.Suspended("production", "backend", RUN, False)
    found = theatre.record()
    for changed in (replace(found, phase="canary"), replace(found, approvals=())):
        monkeypatch.setattr(waiting.records, "find_open", lambda *_, it=changed: it)
        assert waiting.suspended("production", "backend") is None


def test_prefect_says_that_a_suspended_run_was_cancelled_at_once(
    client: SyncPrefectClient, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "waits", lambda *_: "an approval")
    assert run_it(client, run) == "Suspended"
    assert approving._cancelled(str(run.id)) == ""
    client.set_flow_run_state(run.id, Cancelling())
    assert client.read_flow_run(run.id).state.name == "Cancelled"
    assert approving._cancelled(str(run.id)) == run.name
    assert approving._cancelled(RUN) == "", "a run that Prefect does not know says nothing"
