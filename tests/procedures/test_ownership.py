"""Whose an object is: what a release did not make is never taken over, changed or removed by it."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.core.manifests import MANAGED, RELEASE, epoch_key, object_of, own_metadata
from onlyvips.errors import Permanent, Refused
from onlyvips.steps import opening
from onlyvips.steps.fence import Fence, highest_epoch
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre import GOOD, OLD, Theatre


@pytest.mark.parametrize(
    ("labels", "whose"), [({RELEASE: "r0"}, "left by release r0"), ({}, "not made by a release")], ids=["r0", "nobody"]
)
def test_an_object_of_ours_is_not_made_out_of_somebody_elses(labels: dict[str, str], whose: str) -> None:
    theatre = Theatre()
    theatre._make("ConfigMap", "ours", labels, data={"a": "theirs"})
    fence = Fence(theatre.cluster, "backend", 3, lambda: None)
    with pytest.raises(Permanent, match=f"ConfigMap ours exists already, {whose}"):
        fence.create(object_of("ConfigMap", "ours", own_metadata("r1", "backend", 3), data={"a": "ours"}))
    found = theatre.cluster.see("ConfigMap", "ours")
    assert found is not None and found["data"] == {"a": "theirs"} and "annotations" not in found["metadata"]


def test_a_canary_that_somebody_put_in_place_of_ours_is_left_alone_and_named() -> None:
    theatre = Theatre()

    def replace_it() -> None:
        theatre.cluster.drop("Deployment", "backend-canary")
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": "theirs"}}, "template": {"metadata": {"labels": {}}}}
        spec["template"]["spec"] = {"containers": []}  # type: ignore[index]
        theatre._make("Deployment", "backend-canary", {"team": "theirs"}, spec=spec)

    with pytest.raises(Permanent, match="Deployment backend-canary was not made by release .*: it was left alone"):
        theatre.process("first").release(GOOD, Once("remove-canary", replace_it))
    assert theatre.cluster.see("Deployment", "backend-canary") is not None


def orphan(theatre: Theatre, name: str) -> None:
    labels = {**MANAGED, "track": "canary", RELEASE: "gone"}
    theatre._make("Service", name, labels, spec={"selector": {"track": "canary"}, "ports": [{"port": 8000}]})


def test_orphans_that_the_route_still_sends_to_are_left_and_told() -> None:
    theatre = Theatre()
    orphan(theatre, "backend-canary")
    entry: Any = {"name": "backend-canary", "port": 8000, "weight": 25}
    theatre.cluster.change("HTTPRoute", "onlyvips", lambda live: live["spec"]["rules"][1]["backendRefs"].append(entry))
    process = theatre.process("reconciler")
    with pytest.raises(Refused, match="gives 20 % to backend-canary and there is no open release: nothing was changed"):
        process.reconcile()
    assert theatre.cluster.see("Service", "backend-canary") is not None
    assert process.writes == 0


def test_orphans_of_another_service_are_left() -> None:
    theatre = Theatre()
    orphan(theatre, "bot-canary")
    assert opening.remove_orphans(theatre.process("reconciler").site, "reconciler") == ()
    assert theatre.cluster.see("Service", "bot-canary") is not None


def test_the_highest_epoch_is_the_services_own_of_what_is_there() -> None:
    theatre = Theatre()
    for kind, name, service, epoch in (
        ("Deployment", "backend", "backend", "41"),
        ("HTTPRoute", "onlyvips", "backend", "7"),
        ("Service", "backend", "bot", "99"),
    ):
        notes = {epoch_key(service): epoch}
        theatre.cluster.change(kind, name, lambda live, notes=notes: live["metadata"].update(annotations=notes))
    objects = [("Deployment", "backend"), ("HTTPRoute", "onlyvips"), ("Service", "backend"), ("Deployment", "nobody")]
    assert highest_epoch(theatre.cluster, "backend", objects) == 41
    assert highest_epoch(theatre.cluster, "miniapp", objects) == 0


def test_an_abort_is_heard_while_the_backup_runs() -> None:
    theatre = Theatre()
    process = theatre.process("first")

    def hours(record: Any, progress: Any) -> str:
        theatre.clock.after(10.0, theatre.abort)
        for _ in range(60):
            theatre.clock.sleep(2.0)
            progress()
        raise AssertionError("nobody heard the abort for two minutes")

    theatre.back_up = hours  # type: ignore[method-assign]
    process.release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert record.reason == "Ada asked for an abort: looks odd"
    assert theatre.stable_image() == OLD


def test_a_driver_that_lost_the_race_to_another_version_changes_nothing_and_gives_the_lease_back() -> None:
    """Both saw no open release; the lease decides, and the loser looks again before it writes."""
    theatre = Theatre()
    late, first = theatre.process("late", run="run-2"), theatre.process("first")
    acquire = late.lease.acquire

    def after_the_first_was_killed(holder: str) -> int:
        with pytest.raises(BaseException, match="^$"):
            first.release(GOOD, lambda rollout, action: first.die() if action.kind == "look" else None)
        theatre.clock.sleep(30.0)
        return acquire(holder)

    late.lease.acquire = after_the_first_was_killed  # type: ignore[method-assign]
    with pytest.raises(Refused, match=f"{GOOD} is still open.*v0.9.1 was refused"):
        late.release("v0.9.1")
    assert late.lease.holder() == ""
    theatre.process("again").release(GOOD)
    theatre.assert_outcome("promoted")
