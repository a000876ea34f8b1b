"""The tasks of a release of all services: whatever asks the cluster is patient, and none of it fails the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from onlyvips import wiring
from onlyvips.core.action import Action
from onlyvips.core.many import Do
from onlyvips.errors import Fenced, OnlyVipsError, Permanent, Transient
from onlyvips.wiring import several as wired
from tasks import policies, releases, several
from tests.core.decisions import RECORD

FORWARD = Do("forward", "1 of 2 services", "backend")
ASKING = (several.begin, several.upcoming, several.act, several._take, several._left, several._ended)
ASKING = (*ASKING, several._moves, several._pass_over)


@pytest.mark.parametrize("task", ASKING, ids=lambda task: task.fn.__name__)
def test_whatever_asks_the_cluster_is_patient_for_minutes(task: Any) -> None:
    assert task.retry_condition_fn is policies.passes_by_itself
    assert 600 < sum(task.retry_delay_seconds) < 1200


def test_a_service_is_driven_to_where_the_whole_wants_it_and_its_lease_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did, record = list[str](), SimpleNamespace(now=replace(RECORD, phase="canary"))

    @contextmanager
    def member(_group: str, do: Do) -> Iterator[Any]:
        did.append(f"take {do.service}")
        yield SimpleNamespace(release=RECORD.id)
        did.append("give up")

    def through(_release: str, phase: str) -> None:
        did.append(phase)
        record.now = replace(RECORD, phase="together")

    monkeypatch.setattr(wired, "member", member)
    monkeypatch.setattr(wiring, "record", lambda _: record.now)
    monkeypatch.setattr(releases, "through", through)
    for task in ("_take", "_left"):
        monkeypatch.setattr(several, task, getattr(several, task).fn)
    several._drive("all-1", FORWARD)
    assert did == ["take backend", "canary", "give up"]


@pytest.mark.parametrize("error", [None, Permanent("the snapshot is gone"), Fenced("another run drives it")])
def test_a_service_that_stands_still_on_its_way_back_is_passed_over_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: OnlyVipsError | None
) -> None:
    passed = list[str]()
    driver = SimpleNamespace(moves=lambda *_: False, pass_over=lambda _do, why, _error: passed.append(why))
    gone = Action("wait", "the rule is gone", what="gone")

    def upcoming(*_: object) -> Action:
        if error is not None:
            raise error
        return gone

    monkeypatch.setattr(wired, "driven", lambda _: driver)
    monkeypatch.setattr(several, "_take", lambda *_: RECORD.id)
    monkeypatch.setattr(several, "_left", lambda *_: "rollback")
    monkeypatch.setattr(releases, "upcoming", upcoming)
    for task in ("_moves", "_pass_over"):
        monkeypatch.setattr(several, task, getattr(several, task).fn)
    with pytest.raises(Fenced) if isinstance(error, Fenced) else nullcontext():
        several._drive("all-1", Do("back", "it failed", "backend"))
    assert passed == ([] if isinstance(error, Fenced) else [str(error or gone.reason)])


def test_a_service_that_cannot_be_driven_is_left_to_the_next_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def member(_group: str, _do: Do) -> Iterator[None]:
        yield None

    monkeypatch.setattr(wired, "member", member)
    with ExitStack() as held:
        assert several._take.fn(held, "all-1", FORWARD) == ""


def test_a_cluster_that_blinks_costs_the_artifact_and_not_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise Transient("The cluster is away.")

    monkeypatch.setattr(wired, "driven", lambda _: SimpleNamespace(group=away))
    several.show("all-1")
