"""A release while something else goes wrong, each fault by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core.action import Action
from onlyvips.errors import Transient
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import BAD, GOOD, PLAN, Killed, Theatre


class Once:
    """Do something to the platform at the first (or ``nth``) action of a kind."""

    def __init__(self, kind: str, what: object, nth: int = 1) -> None:
        self.kind, self.what, self.left = kind, what, nth

    def __call__(self, rollout: Rollout, action: Action) -> None:
        if action.kind == self.kind:
            self.left -= 1
            if self.left == 0:
                self.what()  # type: ignore[operator]


def test_a_short_outage_of_prometheus_holds_and_the_release_goes_on() -> None:
    theatre = Theatre()
    outage = Once("look", lambda: theatre.platform.metrics.prometheus_away(35.0), nth=2)
    theatre.process("first").release(GOOD, outage)
    record = theatre.assert_outcome("promoted")
    assert [look.verdict for look in record.looks][:6] == ["too-few", "error", "error", "error", "pass", "pass"]


def test_a_long_outage_of_prometheus_goes_back_inconclusive_without_data() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD, Once("look", theatre.platform.metrics.prometheus_away, nth=2))
    record = theatre.assert_outcome("rolled-back")
    assert record.reason.startswith("inconclusive, no data for 60 s: Prometheus did not answer")
    assert "fail" not in {look.verdict for look in record.looks}


def test_an_outage_of_prometheus_at_the_weights_change_does_not_hide_a_bad_version() -> None:
    theatre = Theatre()
    theatre.process("first").release(BAD, Once("set-weight", lambda: theatre.platform.metrics.prometheus_away(25.0)))
    assert "api-errors" in theatre.assert_outcome("rolled-back").reason


def test_too_few_requests_are_no_pass() -> None:
    theatre = Theatre(rate=2.0)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert record.reason.startswith("inconclusive, too few requests for 60 s")


def test_a_weight_set_by_hand_is_not_overwritten_until_the_maximum_hold_and_then_it_goes_back() -> None:
    theatre = Theatre()
    edited = []

    def edit() -> None:
        edited.append((len(theatre.route_writes), theatre.clock.monotonic()))
        theatre.platform.hand_edit_weight(20)

    theatre.process("first").release(GOOD, Once("look", edit, nth=2))
    record = theatre.record()
    assert (record.result, theatre.route_writes) == ("rolled-back", [10, 20, 0])
    assert "the route shows 20 % for the canary and this release had set 10 %" in record.reason
    assert theatre.leftovers() == []
    back = next(step for step in record.steps if step.action == "set weight 0 %")
    assert back.intended - theatre.clock.now() + theatre.clock.monotonic() >= edited[0][1] + PLAN.waits.maximum_hold


def test_a_weight_that_is_put_right_again_lets_the_release_go_on() -> None:
    theatre = Theatre()

    def edit() -> None:
        theatre.platform.hand_edit_weight(20)
        theatre.clock.after(30.0, lambda: theatre.platform.hand_edit_weight(10))

    theatre.process("first").release(GOOD, Once("look", edit, nth=2))
    assert theatre.record().result == "promoted"


def test_an_image_set_by_hand_holds_and_then_goes_back_without_being_overwritten() -> None:
    theatre = Theatre()

    def edit() -> None:
        def hotfix(live: dict) -> None:  # type: ignore[type-arg]
            live["spec"]["template"]["spec"]["containers"][0]["image"] += "-hotfix"

        theatre.cluster.change("Deployment", "backend", hotfix)

    theatre.process("first").release(GOOD, Once("look", edit))
    assert "stable was changed by somebody else" in theatre.record().reason
    assert theatre.stable_image() == "v0.8.0-hotfix"
    assert (theatre.record().result, theatre.leftovers()) == ("rolled-back", [])


@pytest.mark.parametrize("kind", ["look", "scale-canary", "replace-stable"])
def test_a_canary_that_somebody_deletes_leaves_nothing_behind(kind: str) -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD, Once(kind, lambda: theatre.cluster.drop("Deployment", "backend-canary")))
    theatre.settle()
    assert theatre.leftovers() == [] and theatre.broken_rules == []
    assert theatre.rules() == theatre.route_before


def test_pods_of_the_canary_that_die_take_its_weight_down_until_they_are_back() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD, Once("look", lambda: theatre.platform.kill_pods("backend-canary", 4), nth=5))
    assert theatre.broken_rules == []
    assert theatre.route_writes == [10, 25, 50, 0, 50, 100, 0]
    assert theatre.record().result == "promoted"


def test_pods_of_the_canary_that_come_and_go_do_not_hold_a_release_for_ever() -> None:
    theatre = Theatre()

    def flap() -> None:
        theatre.clock.every(7.0, lambda: theatre.platform.kill_pods("backend-canary", 4))

    theatre.process("first").release(GOOD, Once("create-canary", flap))
    assert theatre.record().result == "rolled-back"


def test_a_canary_that_lives_too_briefly_to_be_looked_at_is_not_tried_for_ever() -> None:
    theatre = Theatre()

    def flap() -> None:
        if theatre.weight() and theatre.clock.monotonic() < 2000.0:
            theatre.clock.after(3.0, lambda: theatre.platform.kill_pods("backend-canary", 4))

    theatre.process("first").release(GOOD, lambda _, action: flap() if action.kind == "look" else None)
    record = theatre.record()
    assert record.result == "rolled-back"
    assert "broken off: only 0 pods of the canary are ready" in record.looks[-1].reason


def actions_of_a_release() -> int:
    seen = []
    Theatre().process("first").release(GOOD, lambda _, action: seen.append(action))
    return len(seen)


@pytest.mark.parametrize("number", range(1, actions_of_a_release() + 1))
def test_an_abort_before_any_action_goes_back_and_no_request_is_lost(number: int) -> None:
    theatre, seen = Theatre(), []

    def act(rollout: Rollout, action: Action) -> None:
        seen.append(rollout.record().phase)
        if len(seen) == number:
            theatre.abort()

    theatre.process("first").release(GOOD, act)
    if seen[number - 1] == "evidence":
        theatre.assert_outcome("promoted")
    else:
        assert theatre.assert_outcome("rolled-back").reason == "Ada asked for an abort: looks odd"


@pytest.mark.parametrize("seconds", range(1, 100, 7))
def test_an_abort_at_any_time_goes_back_and_no_request_is_lost(seconds: int) -> None:
    theatre = Theatre()
    theatre.clock.after(seconds, theatre.abort)
    theatre.process("first").release(GOOD)
    assert theatre.assert_outcome("rolled-back").reason == "Ada asked for an abort: looks odd"


def test_an_abort_is_heard_while_the_migration_runs() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = ""
    theatre.clock.after(10.0, theatre.abort)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert "Ada" in record.reason and record.steps[-1].intended - record.created < 15.0


def test_a_short_absence_of_the_apiserver_is_waited_out() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD, Once("look", lambda: theatre.cluster.apiserver_away(12.0), nth=3))
    theatre.assert_outcome("promoted")


def test_an_absence_longer_than_the_lease_is_waited_out_when_nobody_took_over() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD, Once("look", lambda: theatre.cluster.apiserver_away(45.0), nth=3))
    theatre.assert_outcome("promoted")


def test_an_absence_longer_than_all_patience_stops_the_driver_and_the_reconciler_goes_back() -> None:
    theatre = Theatre()
    process = theatre.process("first")
    with pytest.raises(Transient, match="did not answer"):
        process.release(GOOD, Once("look", lambda: theatre.cluster.apiserver_away(150.0), nth=3))
    theatre.clock.sleep(40.0)
    before = list(theatre.route_writes)
    theatre.process("reconciler").reconcile()
    theatre.assert_outcome("rolled-back")
    assert theatre.route_writes == [*before, 0]


WRITES = [
    ("ConfigMap", "create"),
    ("ConfigMap", "patch"),
    ("Secret", "create"),
    ("Job", "create"),
    ("Service", "create"),
    ("Deployment", "create"),
    ("Deployment", "patch"),
    ("HorizontalPodAutoscaler", "patch"),
    ("HTTPRoute", "patch"),
    ("Deployment", "delete"),
    ("Service", "delete"),
    ("Lease", "create"),
    ("Lease", "patch"),
]


@pytest.mark.parametrize(("kind", "verb"), WRITES)
def test_a_write_whose_answer_is_lost_is_read_back_and_not_done_twice(kind: str, verb: str) -> None:
    theatre = Theatre()
    theatre.cluster.answer_lost_on(kind, verb)
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    assert theatre.cluster.answers_to_lose == 0
    assert len(records.every(theatre.cluster)) == 1
    assert theatre.route_writes == [10, 25, 50, 100, 0]


def test_many_lost_answers_in_one_release_do_not_matter_either() -> None:
    theatre = Theatre()
    theatre.cluster.every_answer_lost(3)
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def test_a_weight_that_somebody_changes_in_the_same_moment_is_seen_when_it_is_read_back() -> None:
    theatre, edited = Theatre(), []
    process = theatre.process("first")

    def overwrite(_number: int, _verb: str, kind: str) -> None:
        if kind == "HTTPRoute" and theatre.weight() == 10 and not edited:
            edited.append(theatre.platform.hand_edit_weight(20))

    process.after_write = overwrite
    process.release(GOOD)
    assert theatre.record().result == "rolled-back"
    assert "the route shows 20 % for the canary" in theatre.record().reason
    assert theatre.route_writes == [10, 20, 0]


def finish_job(theatre: Theatre) -> None:
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    theatre.cluster.change("Job", "migration-v090", lambda live: live.update(status=status))


def test_a_migration_that_is_longer_than_the_drivers_patience_keeps_the_lease() -> None:
    theatre = Theatre(replace(PLAN, waits=replace(PLAN.waits, job=600.0)))
    theatre.platform.nature.jobs = ""
    theatre.clock.after(200.0, lambda: finish_job(theatre))
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def test_a_migration_job_that_somebody_deletes_is_not_done() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = ""
    theatre.clock.after(20.0, lambda: theatre.cluster.drop("Job", "migration-v090"))
    theatre.process("first").release(GOOD)
    assert "migration-v090 was deleted while it ran" in theatre.assert_outcome("rolled-back").reason


def test_a_backup_that_is_longer_than_the_drivers_patience_keeps_the_lease_while_it_reads() -> None:
    theatre = Theatre()

    def hours(record: object, progress: Callable[[], None]) -> str:
        for _ in range(100):
            theatre.clock.sleep(2.0)
            progress()
        return "simulated"

    theatre.back_up = hours  # type: ignore[assignment,method-assign]
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def test_a_reconciler_that_can_only_wait_gives_up_and_leaves_the_release_open_and_its_lease_free() -> None:
    theatre = Theatre()
    first = theatre.process("first")
    with pytest.raises(Killed):
        first.release(GOOD, Once("look", first.die))
    theatre.cluster.drop("Deployment", "backend")
    reconciler, began = theatre.process("reconciler"), theatre.clock.monotonic()
    record = reconciler.reconcile()
    assert record is not None and (record.open, record.phase) == (True, "rollback")
    assert theatre.clock.monotonic() - began < 10 * PLAN.waits.ready
    assert reconciler.lease.holder() == ""
    assert theatre.weight() == 10, "the canary keeps its traffic until stable is back"


def test_a_stable_that_somebody_changes_just_before_it_is_taken_back_is_not_overwritten() -> None:
    theatre = Theatre()

    def hotfix(live: dict) -> None:  # type: ignore[type-arg]
        live["spec"]["template"]["metadata"]["annotations"] = {}
        live["spec"]["template"]["spec"]["containers"][0]["image"] += "-hotfix"

    def act(rollout: Rollout, action: Action) -> None:
        if action.kind == "remove-canary" and not theatre.record().aborted:
            theatre.abort()
        if action.kind == "restore-stable":
            theatre.cluster.change("Deployment", "backend", hotfix)

    theatre.process("first").release(GOOD, act)
    assert theatre.record().result == "rolled-back"
    assert theatre.stable_image() == f"{GOOD}-hotfix"
