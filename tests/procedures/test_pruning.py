"""Old ConfigMaps and Secrets of releases stay for the way back, and go when nothing refers to them any more."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.core import past
from onlyvips.errors import Permanent
from tests.procedures.test_configs import configs
from tests.procedures.theatre import BAD, Theatre
from tests.procedures.troupe import BRIEF


@pytest.fixture
def theatre(monkeypatch: pytest.MonkeyPatch) -> Theatre:
    """A platform on which a rollback can go back by two releases."""
    monkeypatch.setattr(past, "MOST", 2)
    return Theatre(BRIEF)


def promote(theatre: Theatre, number: int) -> str:
    """A release with a text of its own; the name of its ConfigMap."""
    theatre.texts["backend-settings"] = {"LEVEL": str(number)}
    record = theatre.process(f"run {number}", run=f"run-{number}").release(f"v1.0.{number}")
    assert theatre.assert_outcome("promoted").id == record.id
    return record.configs[0][1]


def step_of(theatre: Theatre) -> str:
    (step,) = [one.observed for one in theatre.record().steps if one.action == "prune configuration"]
    return step


def test_what_the_last_releases_brought_stays_and_what_was_before_goes(theatre: Theatre) -> None:
    names = [promote(theatre, number) for number in range(1, 5)]
    # What runs, and what the two releases that can be undone replaced.
    made = [name for name in configs(theatre) if name != "backend-settings"]
    assert sorted(made) == sorted(names[1:])
    assert f"removed: ConfigMap {names[0]}" in step_of(theatre)
    assert "backend-settings" in configs(theatre), "no release made it, so no release removes it"


def test_what_anything_in_the_cluster_refers_to_stays(theatre: Theatre) -> None:
    first = promote(theatre, 1)
    container = {"name": "report", "envFrom": [{"configMapRef": {"name": first}}]}
    pod = {"spec": {"template": {"spec": {"containers": [container]}}}}
    theatre._make("CronJob", "report", spec={"jobTemplate": pod})
    for number in range(2, 6):
        promote(theatre, number)
    assert first in configs(theatre)
    theatre.cluster.drop("CronJob", "report")
    promote(theatre, 6)
    assert first not in configs(theatre)


def test_a_copy_that_a_person_was_told_of_stays(theatre: Theatre) -> None:
    secret = "backend-jwt-0000000000"

    def change(_: object, action: Any) -> None:
        if action.kind == "look":
            theatre.cluster.change("Secret", secret, lambda it: it["data"].update(JWT_SECRET="bmV3"))

    theatre.process("bad", run="run-bad").release(BAD, change)
    (copy,) = [one.copy for one in theatre.assert_outcome("rolled-back").kept if one.kind == "Secret"]
    for number in range(1, 5):
        promote(theatre, number)
    assert copy in theatre.secrets()


def test_who_may_not_look_at_all_workloads_removes_nothing_and_the_release_ends(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [promote(theatre, number) for number in range(1, 4)]
    process, theatre.texts["backend-settings"] = theatre.process("last", run="run-4"), {"LEVEL": "4"}
    listed = process.list

    def refused(kind: str, labels: Any) -> Any:
        if kind == "CronJob":
            raise Permanent("Kubernetes refused to list CronJob (403)")
        return listed(kind, labels)

    monkeypatch.setattr(process, "list", refused)
    process.release("v1.0.4")
    theatre.assert_outcome("promoted")
    assert step_of(theatre) == "the rest stays until the next release: Kubernetes refused to list CronJob (403)"
    assert set(names) <= set(configs(theatre))
