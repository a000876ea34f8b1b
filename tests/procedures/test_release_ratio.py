"""A canary by the ratio of pods on the simulated platform: forward, back, faults, and kill -9 at every write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from onlyvips.core.action import Action
from onlyvips.core.plan import Approvals, HookPlan
from onlyvips.errors import Refused
from onlyvips.ports import Manifest
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import BAD, CAPACITY, GOOD, IMAGE, OLD, Killed
from tests.procedures.theatre_ratio import QUICK, RatioTheatre

Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")


def test_a_good_version_is_promoted_pod_by_pod_and_no_request_is_lost() -> None:
    theatre = RatioTheatre()
    record = theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    assert [look.weight for look in record.looks if look.elapsed] == [25, 25, 50, 50]
    assert theatre.counts == [(4, 0), (4, 1), (3, 1), (3, 2), (2, 2), (2, 4), (0, 4), (4, 4), (4, 0)]
    assert theatre.platform.served[GOOD] > 3000


@pytest.mark.parametrize("seed", range(2, 10))
def test_no_request_is_lost_whatever_the_routers_delays_are(seed: int) -> None:
    for version, result in ((GOOD, "promoted"), (BAD, "rolled-back")):
        theatre = RatioTheatre(seed=seed)
        theatre.process("first").release(version)
        theatre.assert_outcome(result)


def test_at_the_end_of_each_look_the_share_of_pods_is_the_stages() -> None:
    theatre, shares, before = RatioTheatre(), list[float](), list[str]()

    def look(rollout: Rollout, action: Action) -> None:
        if before and before[-1] == "look":
            shares.append(theatre.share())
        before.append(action.kind)

    theatre.process("first").release(GOOD, look)
    assert shares == [25.0, 25.0, 50.0, 50.0]


def test_a_bad_version_goes_back_and_sees_no_more_than_its_stage() -> None:
    theatre = RatioTheatre()
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    assert "api-errors" in record.reason
    assert max(canary for _, canary in theatre.counts) == 1
    total = sum(theatre.platform.served.values())
    assert theatre.platform.served[BAD] < 0.25 * total


def test_the_autoscalers_minimum_follows_stables_part_and_is_what_it_was_at_the_end() -> None:
    theatre, minima = RatioTheatre(), list[int]()

    def note(rollout: Rollout, action: Action) -> None:
        minima.append(theatre.minimum())
        assert (
            action.kind == "remove-leftovers"
            or not theatre.pods("backend-canary")
            or theatre.minimum() <= max(1, theatre.pods("backend"))
        ), "an autoscaler would undo the split"

    theatre.process("first").release(GOOD, note)
    theatre.assert_outcome("promoted")
    assert list(dict.fromkeys(minima)) == [2, 4, 3, 1]


def test_pods_of_the_canary_that_die_are_made_up_for_by_stable() -> None:
    theatre = RatioTheatre()
    killed: list[int] = []

    def kill(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and rollout.record().stage == 1 and not killed:
            killed.append(1)
            theatre.platform.nature.unready.add(f"{IMAGE}:{GOOD}")
            theatre.platform.kill_pods("backend-canary", 1)

    theatre.process("first").release(GOOD, kill)
    record = theatre.assert_outcome("rolled-back")
    assert (3, 2) in theatre.counts[theatre.counts.index((2, 2)) :], record.reason


def test_a_canary_whose_image_cannot_be_pulled_goes_back_and_takes_no_pod_from_stable() -> None:
    theatre = RatioTheatre()
    theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")
    theatre.process("first").release(GOOD)
    assert "ErrImagePull" in theatre.assert_outcome("rolled-back").reason
    assert {stable for stable, _ in theatre.counts} == {CAPACITY}


def test_a_new_stable_that_never_gets_ready_goes_back_behind_the_canary() -> None:
    theatre = RatioTheatre()

    def break_image(rollout: Rollout, action: Action) -> None:
        if action.kind == "replace-stable":
            theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")

    theatre.process("first").release(GOOD, break_image)
    record = theatre.assert_outcome("rolled-back")
    assert "of 4 pods of stable are ready" in record.reason and record.stable_replaced


@pytest.mark.parametrize(
    "at",
    [
        "create-canary",
        "set-weight",
        "look",
        "next-stage",
        "scale-canary",
        "replace-stable",
        "scale-stable",
        "remove-canary",
    ],
)
def test_an_abort_from_every_state_goes_back_without_a_lost_request(at: str) -> None:
    theatre, asked = RatioTheatre(), list[str]()

    def abort(rollout: Rollout, action: Action) -> None:
        if action.kind == at and not asked:
            asked.append(at)
            rollout.perform(action)
            theatre.abort()

    theatre.process("first").release(GOOD, abort)
    assert asked
    theatre.assert_outcome("rolled-back")


def test_an_abort_when_stable_has_the_new_version_and_the_canary_is_gone_goes_back_behind_a_new_one() -> None:
    theatre = RatioTheatre(replace(QUICK, after=(HookPlan("check", "img:v1", ("check",), 60.0),)))

    def abort(rollout: Rollout, action: Action) -> None:
        if action.kind == "run-hook":
            assert not theatre.pods("backend-canary")
            theatre.abort()

    theatre.process("first").release(GOOD, abort)
    record = theatre.assert_outcome("rolled-back")
    assert record.stable_replaced and theatre.counts.count((CAPACITY, CAPACITY)) == 2


def test_an_approval_of_a_stage_comes_before_its_pods_for_users_reach_them_at_once() -> None:
    theatre = RatioTheatre(replace(QUICK, approvals=Approvals(stages=(25, 50), within=30.0)))
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("rolled-back")
    assert theatre.counts == [(CAPACITY, 0)] or theatre.counts == [], "nobody approved, so there was no canary"


def test_what_an_autoscaler_or_a_person_makes_of_the_count_holds_and_then_goes_back() -> None:
    theatre = RatioTheatre(hpa=False)

    def more(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and theatre.pods("backend") == 3:
            theatre.cluster.change("Deployment", "backend", lambda it: it["spec"].update(replicas=5))

    theatre.process("first").release(GOOD, more)
    assert theatre.record().reason.startswith("stable asks for 5 pods and this release had left it 3")
    theatre.cluster.change("Deployment", "backend", lambda it: it["spec"].update(replicas=CAPACITY))
    theatre.settle()
    theatre.assert_outcome("rolled-back")


def test_stable_that_was_scaled_while_the_backup_was_taken_is_counted_anew() -> None:
    theatre = RatioTheatre(hpa=False)
    theatre.during_backup = lambda: theatre.cluster.change(
        "Deployment", "backend", lambda it: it["spec"].update(replicas=6)
    )
    theatre.process("first").release(GOOD)
    record = theatre.record()
    assert record.result == "rolled-back" and "25% of 6 pods is no whole number of pods" in record.reason
    assert theatre.pods("backend") == 6, "its count is another's business"
    assert theatre.platform.lost_requests == 0


def narrow(front: Manifest) -> None:
    front["spec"]["selector"]["track"] = "stable"


def sticky(front: Manifest) -> None:
    front["spec"]["sessionAffinity"] = "ClientIP"


def elsewhere(front: Manifest) -> None:
    front["spec"]["selector"] = {"app": "another"}


def hasty(deployment: Manifest) -> None:
    deployment["spec"]["template"]["spec"]["containers"][0].pop("lifecycle")


def trackless(deployment: Manifest) -> None:
    deployment["spec"]["selector"]["matchLabels"].pop("track")


def six(deployment: Manifest) -> None:
    deployment["spec"]["replicas"] = 6


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("Service", narrow, "has `track`, so the canary's pods would get no request"),
        ("Service", sticky, "`sessionAffinity: ClientIP`, so the share of requests is not that of pods"),
        ("Service", elsewhere, "does not select the pods of Deployment backend"),
        ("Deployment", hasty, "`lifecycle.preStop.sleep.seconds: 6`"),
        ("Deployment", trackless, "could not be told apart"),
        ("Deployment", six, "25% of 6 pods is no whole number of pods: they can make 50%; 4 pods"),
    ],
)
def test_what_it_needs_is_refused_by_name_before_anything_changes(kind: str, change: Any, told: str) -> None:
    theatre = RatioTheatre()
    theatre.cluster.change(kind, "backend", change)
    theatre.settle(60.0)
    with pytest.raises(Refused, match="nothing was changed") as refused:
        theatre.process("first").release(GOOD)
    assert told in str(refused.value)
    assert records.every(theatre.cluster) == []


def test_pods_of_another_deployment_behind_the_service_are_refused_by_name() -> None:
    theatre = RatioTheatre()
    other = {"app": "backend", "track": "other"}
    template = {"metadata": {"labels": other}, "spec": {"containers": [{"name": "api", "image": f"{IMAGE}:{OLD}"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": other}, "template": template}
    theatre.cluster.create({"kind": "Deployment", "metadata": {"name": "other"}, "spec": spec})
    theatre.settle()
    with pytest.raises(Refused, match="also selects other-"):
        theatre.process("first").release(GOOD)


def writes_of(version: str) -> int:
    process = RatioTheatre(QUICK).process("first")
    process.release(version)
    return process.writes


def killed_at(version: str, write: int, moment: Moment) -> RatioTheatre:
    theatre = RatioTheatre(QUICK)
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    with pytest.raises(Killed):
        process.release(version)
    return theatre


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_killed_at_every_write_and_run_again_it_ends_as_it_would_have(version: str, moment: Moment) -> None:
    writes = writes_of(version)
    assert writes > 40
    for write in range(1, writes + 1):
        theatre = killed_at(version, write, moment)
        theatre.process("second").release(version)
        theatre.assert_outcome("promoted" if version == GOOD else "rolled-back")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_killed_at_every_write_with_nobody_to_run_it_again_the_canary_gets_no_more(
    version: str, moment: Moment
) -> None:
    results = set()
    for write in range(1, writes_of(version) + 1):
        theatre = killed_at(version, write, moment)
        mark = len(theatre.counts)
        before = theatre.pods("backend-canary")
        theatre.process("reconciler").reconcile()
        canaries = [before, *(canary for _, canary in theatre.counts[mark:])]
        assert canaries == sorted(canaries, reverse=True), (write, canaries)
        if not records.every(theatre.cluster):
            theatre.assert_clean(OLD)
            continue
        results.add(theatre.assert_outcome(theatre.record().result).result)
    assert results == ({"promoted", "rolled-back"} if version == GOOD else {"rolled-back"})


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_every_write_and_aborted_by_a_person_it_goes_back(moment: Moment) -> None:
    for write in range(3, writes_of(GOOD) + 1, 2):
        theatre = killed_at(GOOD, write, moment)
        found = records.find_open(theatre.cluster, "backend")
        if found is None:
            continue
        theatre.abort()
        theatre.process("reconciler").reconcile()
        theatre.assert_outcome("promoted" if found.phase == "evidence" else "rolled-back")
