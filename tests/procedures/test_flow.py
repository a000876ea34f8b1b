"""The flow and its tasks without Prefect's engine: the order of phases, retries, what a run's end says."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from flows.release import release
from onlyvips import wiring
from onlyvips.core.action import Action
from onlyvips.core.phases import phases_of
from onlyvips.core.plan import Strategy
from onlyvips.errors import Driven, Fenced, Misuse, OnlyVipsError, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.steps.backup import Taken
from onlyvips.steps.copies import Outcome
from onlyvips.wiring import evidence
from tasks import policies, releases
from tests.core.decisions import RECORD

LOG = SimpleNamespace(info=lambda *_: None)


def test_the_flow_goes_through_every_phase_in_the_records_order(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    monkeypatch.setattr(releases, "driving", lambda *_: nullcontext("r1"))
    monkeypatch.setattr(releases, "through", lambda _, phase: passed.append(phase))
    monkeypatch.setattr(releases, "conclude", lambda _: {"ended": passed[-1]})
    assert release.fn("lab", "backend", "v2") == {"ended": "evidence"}
    for strategy in get_args(Strategy):
        mine = phases_of(strategy)
        assert [phase for phase in passed if phase in mine] == list(mine[:-1]), strategy


def test_a_cancelled_run_goes_back() -> None:
    assert release.on_cancellation_hooks == [releases.go_back]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Transient("away"), True),
        (UnknownOutcome("no answer"), True),
        (Permanent("broken"), False),
        (Refused("no"), False),
        (Driven("Bob lives"), False),
        (Fenced("taken over"), False),
        (Misuse("a bug"), False),
        (ValueError("a bug"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_may_pass_by_itself_is_tried_again(error: BaseException, again: bool) -> None:
    state: Any = SimpleNamespace(result=lambda: (_ for _ in ()).throw(error))
    assert policies.passes_by_itself(None, None, state) is again  # type: ignore[arg-type]
    if isinstance(error, OnlyVipsError):
        assert policies.passes_by_itself(None, None, Failed(data=error)) is again  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [releases.begin, releases.upcoming, releases.act], ids=lambda task: task.name)
def test_no_cache_says_that_a_step_of_a_release_was_done_and_patience_is_minutes(task: Any) -> None:
    assert task.cache_policy is NO_CACHE and task.persist_result is False
    assert task.retry_condition_fn is policies.passes_by_itself
    assert 600 < sum(task.retry_delay_seconds) < 1200 and task.retries == len(task.retry_delay_seconds)


def test_a_retry_that_finds_something_else_due_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[Action] = []
    due = Action("set-weight", "only 1 pod is ready", number=0)
    rollout = SimpleNamespace(next=lambda: due, perform=lambda action: did.append(action) or "done")
    monkeypatch.setattr(wiring, "driven", lambda _: rollout)
    monkeypatch.setattr(releases, "show", lambda _: None)
    monkeypatch.setattr(releases, "get_run_logger", lambda: LOG)
    assert releases.act.fn("r1", Action("set-weight", "stage 2", number=25)) == "decided anew: only 1 pod is ready"
    assert did == []
    assert releases.act.fn("r1", Action("set-weight", "stage 2", number=0)) == "done"
    assert did == [due]


def test_nothing_is_decided_in_a_phase_that_the_record_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Action("look", "why")
    monkeypatch.setattr(wiring, "record", lambda _: replace(RECORD, phase="canary"))
    monkeypatch.setattr(wiring, "driven", lambda _: SimpleNamespace(next=lambda: look))
    assert releases.upcoming.fn("r1", "canary") == look
    assert releases.upcoming.fn("r1", "backup") is None


@pytest.mark.parametrize("result", ["promoted", "rolled-back"])
def test_a_run_is_green_only_when_it_promoted(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    monkeypatch.setattr(wiring, "record", lambda _: replace(RECORD, phase="closed", result=result, reason="bad"))
    monkeypatch.setattr(evidence, "places", lambda _: [])
    monkeypatch.setattr(releases, "get_run_logger", lambda: LOG)
    if result == "promoted":
        assert releases.conclude("r1")["result"] == "promoted"
        return
    with pytest.raises(Permanent, match="was rolled back: bad. backend serves on img:v1"):
        releases.conclude("r1")


@pytest.mark.parametrize("error", [None, Permanent("broken"), KeyboardInterrupt()], ids=["ends", "fails", "Ctrl-C"])
def test_a_run_gives_its_lease_up_however_it_ends(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    gave_up: list[str] = []
    monkeypatch.setattr(releases, "begin", lambda *_: "r1")
    monkeypatch.setattr(wiring, "record", lambda _: RECORD)
    monkeypatch.setattr(wiring, "let_go", lambda run: gave_up.append(run))
    monkeypatch.setattr(releases, "get_run_logger", lambda: LOG)
    monkeypatch.setattr(releases, "flow_run", SimpleNamespace(id="run-1"))
    with pytest.raises(type(error)) if error else nullcontext(), releases.driving("lab", "backend", "v2", "Ada"):
        if error:
            raise error
    assert gave_up == ["run-1"]


def test_the_reconciler_is_unattended_and_waits_for_the_plans_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    waits = SimpleNamespace(ready=60.0, propagation=6.0)
    loaded = SimpleNamespace(release=SimpleNamespace(version="v2"))
    monkeypatch.setattr(wiring.environments, "load", lambda _: loaded)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: None)
    monkeypatch.setattr(wiring, "site_of", lambda *_: SimpleNamespace(plan=SimpleNamespace(waits=waits)))
    monkeypatch.setattr(wiring.records, "find_open", lambda *_: RECORD)
    monkeypatch.setattr(wiring.opening, "finish", lambda *_, **more: given.update(more) or RECORD)
    assert wiring.reconcile("lab", "backend", holder="reconcile") == (RECORD, ())
    assert given == {"attended": False, "limit": 132.0}


def test_a_degraded_backup_stops_a_release_and_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = (Outcome("near", True), Outcome("far", False, "far: no space is left."))
    manifest = SimpleNamespace(prefix="lab/mongodb/x/")
    taken = [Taken(manifest, outcomes), Taken(manifest, outcomes[:1])]  # type: ignore[arg-type]
    monkeypatch.setattr(wiring.backups, "take_one", lambda *_: taken.pop(0))
    with pytest.raises(Permanent, match=r"is degraded \(far: far: no space is left.\): it is kept as lab/mongodb/x/"):
        wiring._back_up(None, RECORD, lambda: None)  # type: ignore[arg-type]
    assert wiring._back_up(None, RECORD, lambda: None) == "lab/mongodb/x/manifest.json"  # type: ignore[arg-type]
