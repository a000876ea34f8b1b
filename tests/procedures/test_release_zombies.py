"""A driver that was frozen before a write, taken over, and then wakes: it writes nothing to what others drive now."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.errors import Fenced, Refused
from onlyvips.ports import Manifest
from onlyvips.steps import opening, records
from tests.procedures.test_release_kills import SHORT, writes_of
from tests.procedures.theatre import GOOD, Process, Theatre


def state(theatre: Theatre) -> dict[str, Manifest]:
    """All objects but pods, whose lives go on, and what controllers say of Deployments."""
    kinds = ("ConfigMap", "Secret", "Service", "Deployment", "Job", "Lease", "HorizontalPodAutoscaler", "HTTPRoute")
    found = {}
    for kind in kinds:
        for each in theatre.cluster.list(kind, {}):
            each["metadata"].pop("resourceVersion")
            each.pop("status", None)
            found[f"{kind} {each['metadata']['name']}"] = each
    return found


def wake_after(theatre: Theatre, write: int, others: Any) -> tuple[Process, dict[str, Manifest], tuple[str, str]]:
    """Freeze the first driver before ``write``, let ``others`` act, wake it; what was there when it woke."""
    zombie, seen = theatre.process("zombie"), {}

    def freeze(number: int, verb: str, kind: str) -> None:
        if number == write:
            zombie.frozen = True
            others()
            zombie.frozen = False
            seen["state"], seen["write"] = state(theatre), (verb, kind)

    zombie.at_write = freeze
    with pytest.raises((Fenced, Refused)):
        zombie.release(GOOD)
    return zombie, seen["state"], seen["write"]


def changes(before: dict[str, Manifest], after: dict[str, Manifest]) -> dict[str, str]:
    """What differs, by name."""
    names = before.keys() | after.keys()
    return {
        name: "created" if name not in before else "deleted" if name not in after else "changed"
        for name in names
        if before.get(name) != after.get(name)
    }


# The last write gives up the lease of a release that is closed: nobody takes that over.


def test_a_zombie_changes_nothing_of_what_the_reconciler_finished() -> None:
    for write in range(3, writes_of(GOOD)):
        theatre = Theatre(SHORT)
        zombie, before, asked = wake_after(theatre, write, lambda it=theatre: it.process("reconciler").reconcile())
        found = changes(before, state(theatre))
        if asked[0] != "create":
            assert found == {}, (write, asked, found)
        # A POST has no version to be refused by: what it makes bears the old epoch, and the reconciler removes it.
        assert set(found.values()) <= {"created"} and len(found) <= 1, (write, asked, found)
        theatre.process("later").reconcile()
        theatre.assert_clean(theatre.stable_image())


def test_a_zombie_changes_nothing_of_what_a_second_attempt_finished() -> None:
    for write in range(3, writes_of(GOOD)):
        theatre = Theatre(SHORT)
        zombie, before, asked = wake_after(theatre, write, lambda it=theatre: it.process("second").release(GOOD))
        found = changes(before, state(theatre))
        assert set(found.values()) <= {"created"}, (write, asked, found)
        theatre.process("later").reconcile()
        theatre.assert_clean(GOOD)


def test_a_zombie_changes_nothing_while_the_one_who_took_over_has_only_begun() -> None:
    for write in range(4, writes_of(GOOD), 2):
        theatre, second = Theatre(SHORT), {}

        def take_over(it: Theatre = theatre, second: dict[str, Any] = second) -> None:
            process = it.process("second")
            second["lease"] = process
            start = opening.Start(GOOD, "somebody", "run-1", "second")
            second["rollout"] = opening.open_release(process.site, start)

        _, before, asked = wake_after(theatre, write, take_over)
        found = changes(before, state(theatre))
        found.pop("Lease onlyvips-release-backend", None)  # renewed by the second driver
        assert set(found.values()) <= {"created"}, (write, asked, found)
        rollout = second["rollout"]
        while rollout.record().open:
            rollout.perform(rollout.next())
        second["lease"].lease.release()
        theatre.process("later").reconcile()
        theatre.assert_outcome("promoted")


def test_a_driver_without_progress_is_not_renewed_and_loses_its_lease() -> None:
    theatre = Theatre(SHORT)
    stuck = theatre.process("stuck")
    theatre.during_backup = lambda: theatre.clock.sleep(300.0)
    with pytest.raises(Fenced, match="made no progress for 60 s"):
        stuck.release(GOOD)
    theatre.during_backup = lambda: None
    theatre.process("reconciler").reconcile()
    theatre.assert_outcome("rolled-back")


def test_a_canary_that_a_zombie_made_after_the_end_is_removed_and_named() -> None:
    theatre = Theatre(SHORT)
    process = theatre.process("first")
    process.release(GOOD)
    record = records.every(theatre.cluster)[0]
    for kind in ("Deployment", "Service"):
        live = theatre.cluster.get(kind, "backend")
        assert live is not None
        labels = {
            "track": "canary",
            "app.kubernetes.io/managed-by": "onlyvips-rollout",
            "onlyvips.com/release": record.id,
        }
        live["metadata"] = {"name": "backend-canary", "labels": labels}
        if kind == "Deployment":
            live["spec"]["selector"]["matchLabels"]["track"] = "canary"
            live["spec"]["template"]["metadata"]["labels"]["track"] = "canary"
        theatre.cluster.create(live)
    removed = opening.remove_orphans(theatre.process("reconciler").site, "reconciler")
    assert set(removed) == {"Deployment backend-canary", "Service backend-canary"}
    theatre.assert_clean(GOOD)
