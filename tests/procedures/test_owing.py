"""What the driver of a closed release could not tell any more is told by the reconciler, once and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.bulletin import EVENTS
from onlyvips.core.message import Message
from onlyvips.errors import Refused, Transient
from onlyvips.steps import group_records, records
from onlyvips.steps.herald import Target
from onlyvips.wiring import owing, reconciling, telling
from tests.core.broken_environments import PRODUCTION
from tests.procedures.test_telling import listen
from tests.procedures.theatre import BAD, GOOD, Theatre
from tests.procedures.troupe import Troupe
from tests.simulators.notifier import SimNotifier


def nobody(_: Message) -> None:
    raise Transient("nobody there")


def closed(
    monkeypatch: pytest.MonkeyPatch, version: str = GOOD, wants: Any = EVENTS
) -> tuple[Theatre, SimNotifier, Callable[[], list[str]]]:
    """A release whose target was away until it was closed; the target is back, and the reconciler meets all of it."""
    theatre, notifier = Theatre(), SimNotifier()
    listen(theatre).before = nobody
    theatre.process("driver").release(version)
    return theatre, notifier, _reconciler(monkeypatch, theatre, notifier, "backend", wants)


def _reconciler(
    monkeypatch: pytest.MonkeyPatch, theatre: Any, notifier: SimNotifier, service: str, wants: Any = EVENTS
) -> Callable[[], list[str]]:
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    monkeypatch.setattr(environments, "load", lambda _: loaded)
    monkeypatch.setattr(environments, "release_plan", lambda *_: theatre.plan)
    monkeypatch.setattr(wiring, "cluster_of", lambda _: theatre.cluster)
    monkeypatch.setattr(wiring, "reconcile", lambda *_, **__: (None, ()))
    monkeypatch.setattr(telling, "targets_of", lambda _: [Target("slack", frozenset(wants), lambda: notifier)])
    for module in (owing, telling):
        monkeypatch.setattr(module, "SystemClock", lambda: theatre.clock)

    def titles() -> list[str]:
        assert reconciling.one("production", service, "reconciler").outcome == "nothing"
        return [one.title.partition(":")[0] for one in notifier.arrived]

    return titles


@pytest.mark.parametrize(("version", "end"), [(GOOD, "Promoted"), (BAD, "Rolled back")])
def test_the_end_of_a_closed_release_is_told_once_its_target_is_back_and_nothing_that_was_overtaken(
    monkeypatch: pytest.MonkeyPatch, version: str, end: str
) -> None:
    theatre, _, titles = closed(monkeypatch, version)
    assert titles() == [], "its driver may still be telling"
    theatre.clock.sleep(60.0)
    assert titles() == [end] and titles() == [end]
    told = {one.news: one.failed for one in theatre.record().told}
    assert told["promoted" if version == GOOD else "rolled-back"] == "" and told["started"]
    assert records.every(theatre.cluster, "backend", news="owed") == []


def test_a_target_that_stays_away_is_asked_again_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre, notifier, titles = closed(monkeypatch)
    notifier.before = nobody
    theatre.clock.sleep(60.0)
    assert titles() == [] and titles() == []
    theatre.clock.sleep(owing._AT_MOST)
    assert titles() == []
    notifier.before = lambda _: None
    assert titles() == [] and records.every(theatre.cluster, "backend", news="owed") == []


def test_who_does_not_want_the_end_is_owed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre, _, titles = closed(monkeypatch, wants=("started", "held"))
    theatre.clock.sleep(60.0)
    assert titles() == [] and records.every(theatre.cluster, "backend", news="owed") == []


def test_the_end_of_a_release_of_all_is_owed_like_one_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre, notifier = Troupe(), SimNotifier()
    theatre.actor("driver").release_all(GOOD)
    monkeypatch.setattr(environments, "many_plan", lambda *_: theatre.many)
    second = _reconciler(monkeypatch, theatre, notifier, "miniapp")
    first = _reconciler(monkeypatch, theatre, notifier, "backend")
    theatre.clock.sleep(60.0)
    assert second() == ["Promoted"], "its own, and not that of all"
    assert first() == ["Promoted"] * 3 and second() == ["Promoted"] * 3
    assert notifier.arrived[2].title == f"Promoted: all services {GOOD} in simulated"
    assert group_records.every(theatre.cluster, news="owed") == []


@pytest.mark.parametrize("trouble", [Transient("away"), KeyError("a defect")], ids=repr)
def test_news_that_cannot_be_told_does_not_disturb_the_reconciler(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception, caplog: Any
) -> None:
    theatre, notifier, titles = closed(monkeypatch)

    def fail(*_: Any) -> None:
        raise trouble

    theatre.clock.sleep(60.0)
    monkeypatch.setattr(environments, "release_plan", fail)
    assert titles() == [] and "backend" in caplog.text


def test_a_version_that_the_environment_knows_no_more_owes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre, _, titles = closed(monkeypatch)

    def refuse(*_: Any) -> None:
        raise Refused("no version here")

    monkeypatch.setattr(environments, "release_plan", refuse)
    theatre.clock.sleep(60.0)
    assert titles() == [] and records.every(theatre.cluster, "backend", news="owed") == []
