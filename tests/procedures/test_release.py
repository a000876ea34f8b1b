"""A release on the simulated platform, from its first write to its last, with traffic all the while."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from onlyvips.core.plan import Index
from onlyvips.core.record import Record
from onlyvips.errors import Permanent, Refused
from onlyvips.steps import records
from tests.procedures.theatre import BAD, GOOD, IMAGE, OLD, PLAN, SLOW, Theatre
from tests.simulators.platform import Version


def test_a_good_version_is_promoted_and_no_request_is_lost() -> None:
    theatre = Theatre()
    record = theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    assert [look.verdict for look in record.looks] == ["too-few", *["pass"] * 5]
    assert [look.weight for look in record.looks] == [10, 10, 25, 25, 50, 50]
    assert theatre.route_writes == [10, 25, 50, 100, 0]
    assert theatre.backups == 1
    assert theatre.platform.served[GOOD] > 5000


@pytest.mark.parametrize("seed", range(2, 12))
def test_no_request_is_lost_whatever_the_routers_delays_are(seed: int) -> None:
    theatre = Theatre(seed=seed)
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def test_a_version_with_errors_goes_back_by_itself_and_no_request_is_lost() -> None:
    theatre = Theatre()
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    assert record.looks[-1].verdict == "fail"
    assert "api-errors" in record.reason
    assert max(theatre.route_writes) == 10, "it failed in the first stage and saw no more of the traffic"


def test_the_same_image_without_its_fault_is_promoted() -> None:
    theatre = Theatre()
    theatre.platform.versions[BAD].errors = 0.0
    theatre.process("first").release(BAD)
    theatre.assert_outcome("promoted")


def test_a_slow_version_goes_back() -> None:
    theatre = Theatre()
    theatre.process("first").release(SLOW)
    assert "api-latency" in theatre.assert_outcome("rolled-back").reason


def test_a_canary_whose_image_cannot_be_pulled_goes_back_and_the_sentence_says_so() -> None:
    theatre = Theatre()
    theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert "ErrImagePull" in record.reason
    assert theatre.route_writes == []


def test_a_canary_that_never_gets_ready_goes_back() -> None:
    theatre = Theatre()
    theatre.platform.nature.unready.add(f"{IMAGE}:{GOOD}")
    theatre.process("first").release(GOOD)
    assert "0 of 1 pods of canary are ready" in theatre.assert_outcome("rolled-back").reason


def test_a_new_stable_that_never_gets_ready_goes_back_behind_the_canary() -> None:
    theatre = Theatre()

    def break_image(rollout: object, action: object) -> None:
        if getattr(action, "kind", "") == "replace-stable":
            theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")

    theatre.process("first").release(GOOD, break_image)
    record = theatre.assert_outcome("rolled-back")
    assert "of 4 pods of stable are ready" in record.reason
    assert record.stable_replaced


def test_a_failed_backup_changes_nothing() -> None:
    theatre = Theatre()
    theatre.backup_error = Permanent("No destination holds a complete copy.")
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert "No destination holds a complete copy" in record.reason
    assert theatre.route_writes == []
    assert theatre.secrets() == ["backend-jwt-0000000000"]
    assert theatre.cluster.see("Job", "migration-v090") is None
    assert not record.canary_scaled


def test_a_failed_migration_goes_back_before_there_is_a_canary() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = "Failed"
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert "migration Job migration-v090 failed (BackoffLimitExceeded)" in record.reason
    assert not record.canary_scaled


def test_a_migration_that_hangs_goes_back_after_its_limit() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = ""
    theatre.process("first").release(GOOD)
    assert "is not done after 60 s" in theatre.assert_outcome("rolled-back").reason


def test_a_migration_that_failed_before_is_tried_again_by_the_next_release_and_one_that_is_done_is_not() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = "Failed"
    theatre.process("first").release(GOOD)
    theatre.platform.nature.jobs = "Complete"
    theatre.process("second", run="run-2").release(GOOD)
    done = theatre.cluster.see("Job", "migration-v090")
    theatre.platform.nature.jobs = ""
    theatre.process("third", run="run-3").release("v0.9.1")
    theatre.assert_outcome("promoted")
    assert theatre.cluster.see("Job", "migration-v090") is done


def test_new_values_of_a_secret_come_under_a_new_name_that_stable_gets_at_promotion() -> None:
    theatre, seen = Theatre(), {}

    def look(rollout: object, action: object) -> None:
        if getattr(action, "kind", "") == "look":
            seen["canary"], seen["stable"] = secret_of(theatre, "backend-canary"), secret_of(theatre, "backend")

    record = theatre.process("first").release(GOOD, look)
    old, new = record.secrets[0]
    assert seen == {"canary": new, "stable": old}
    assert (old, secret_of(theatre, "backend")) == ("backend-jwt-0000000000", new)
    (kept,) = [one.copy for one in record.kept if one.kind == "Secret"]
    assert theatre.secrets() == sorted([old, kept, new])


def test_a_rollback_removes_the_secrets_it_made() -> None:
    theatre = Theatre()
    theatre.process("first").release(BAD)
    assert theatre.secrets() == ["backend-jwt-0000000000"]
    assert secret_of(theatre, "backend") == "backend-jwt-0000000000"


def test_a_second_release_with_the_same_values_makes_no_secret() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD)
    before = theatre.secrets()
    record = theatre.process("second", run="run-2").release("v0.9.1")
    theatre.assert_outcome("promoted")
    assert (theatre.secrets(), record.secrets) == (before, ())


def secret_of(theatre: Theatre, deployment: str) -> str:
    found = theatre.cluster.see("Deployment", deployment)
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"])


@pytest.mark.parametrize(("version", "result"), [(GOOD, "promoted"), (BAD, "rolled-back")])
def test_the_autoscaler_cannot_take_stable_below_its_count_while_the_release_runs(version: str, result: str) -> None:
    theatre, minima = Theatre(), []
    theatre.process("first").release(version, lambda *_: minima.append(theatre.minimum()))
    assert set(minima) == {2, 4}
    assert theatre.assert_outcome(result) and theatre.minimum() == 2


def test_a_service_without_an_autoscaler_is_released_too() -> None:
    theatre = Theatre(hpa=False)
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def test_without_secrets_and_migration_there_is_nothing_to_do_for_them() -> None:
    theatre = Theatre(replace(PLAN, secrets=(), migration=None))
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    assert theatre.cluster.see("Job", "migration-v090") is None


def test_a_run_that_is_started_again_after_its_end_begins_nothing() -> None:
    theatre = Theatre()
    first = theatre.process("first").release(BAD)
    again = theatre.process("first, again")
    assert again.release(BAD) == first
    assert again.writes == 0


def test_another_version_is_refused_while_a_release_is_open() -> None:
    theatre, refusals = Theatre(), []

    def ask(rollout: object, action: object) -> None:
        if getattr(action, "kind", "") == "next-stage":
            other = theatre.process("other", run="run-2")
            with pytest.raises(Refused, match=rf"{GOOD} is still open.*v0.9.1 was refused and nothing was changed"):
                other.release("v0.9.1")
            refusals.append(other.writes)

    theatre.process("first").release(GOOD, ask)
    theatre.assert_outcome("promoted")
    assert refusals == [0, 0]


@pytest.mark.parametrize("how", ["release", "reconcile"])
def test_a_second_driver_is_refused_while_the_first_one_lives(how: str) -> None:
    theatre, refusals = Theatre(), []

    def ask(rollout: object, action: object) -> None:
        if getattr(action, "kind", "") == "next-stage":
            other = theatre.process("other", run="run-2")
            with pytest.raises(Refused, match="first drives this release and is alive"):
                _ = other.release(GOOD) if how == "release" else other.reconcile()
            refusals.append(other.writes)

    theatre.process("first").release(GOOD, ask)
    theatre.assert_outcome("promoted")
    assert refusals == [0, 0]


def test_the_version_that_runs_already_is_refused() -> None:
    theatre = Theatre()
    process = theatre.process("first")
    with pytest.raises(Refused, match="runs v0.8.0 already"):
        process.release(OLD)
    assert process.writes == 0 and records.every(theatre.cluster) == []


def test_a_stable_that_is_not_healthy_is_refused() -> None:
    theatre = Theatre()
    theatre.platform.nature.unready.add(f"{IMAGE}:{OLD}")
    theatre.platform.kill_pods("backend", 1)
    theatre.clock.sleep(10.0)
    with pytest.raises(Refused, match="3 of 4 pods of backend are ready"):
        theatre.process("first").release(GOOD)


def test_without_prometheus_a_release_is_refused() -> None:
    theatre = Theatre()
    theatre.platform.metrics.prometheus_away()
    with pytest.raises(Refused, match="nobody can judge a release"):
        theatre.process("first").release(GOOD)


def test_every_step_has_its_intent_and_what_was_observed() -> None:
    theatre = Theatre()
    record: Record = theatre.process("first").release(GOOD)
    assert all(step.done is not None and step.observed and step.reason for step in record.steps)
    assert [step.action for step in record.steps][:4] == ["snapshot", "back up", "create configs", "create secrets"]


def test_each_stage_is_judged_by_its_own_requests() -> None:
    record = Theatre(rate=100.0).process("first").release(GOOD)
    first = {look.stage: (look.weight, look.values[0].total) for look in reversed(record.looks)}
    assert [weight for weight, _ in first.values()] == [50, 25, 10]
    assert all(total <= weight * 12 for weight, total in first.values()), first


def test_a_version_that_turns_bad_while_promotion_waits_goes_back_for_its_errors() -> None:
    theatre = Theatre()

    def turn_bad(rollout: object, action: object) -> None:
        if getattr(action, "phase", "") == "promote" and theatre.weight() == 50:
            theatre.platform.versions[GOOD] = Version(errors=0.5)
            theatre.platform.nature.unready.add(f"{IMAGE}:{GOOD}")
            theatre.platform.kill_pods("backend-canary", 1)

    theatre.process("first").release(GOOD, turn_bad)
    assert "api-errors" in theatre.record().reason
    assert theatre.route_writes == [10, 25, 50, 0]


def test_what_comes_back_is_the_whole_template_and_not_the_image_alone() -> None:
    theatre = Theatre()
    before = theatre.cluster.get("Deployment", "backend")

    def abort(rollout: object, action: object) -> None:
        if getattr(action, "kind", "") == "remove-canary" and not theatre.record().aborted:
            theatre.abort()

    theatre.process("first").release(GOOD, abort)
    assert theatre.assert_outcome("rolled-back").replaced
    after = theatre.cluster.get("Deployment", "backend")
    assert before is not None and after is not None
    assert after["spec"] == before["spec"]
    assert theatre.secrets() == ["backend-jwt-0000000000"]


def test_a_stable_that_was_scaled_up_meanwhile_keeps_its_count_and_the_autoscaler_its_minimum() -> None:
    theatre, minima = Theatre(), []

    def grow(rollout: object, action: object) -> None:
        minima.append(theatre.minimum())
        if getattr(action, "kind", "") == "look" and theatre.weight() == 10:
            theatre.cluster.change("Deployment", "backend", lambda live: live["spec"].update(replicas=6))

    record = theatre.process("first").release(GOOD, grow)
    theatre.settle()
    assert (record.result, record.capacity, max(minima), theatre.minimum()) == ("promoted", 6, 6, 2)
    assert theatre.platform.lost_requests == 0 and theatre.leftovers() == []


def test_a_finished_job_of_another_plan_is_not_believed() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD)
    before = theatre.cluster.see("Job", "migration-v090")
    assert PLAN.migration is not None and before is not None
    more = (*PLAN.migration.indexes, Index("tasks", (("userId", 1),)))
    theatre.plan = replace(PLAN, migration=replace(PLAN.migration, indexes=more))
    theatre.process("second", run="run-2").release("v0.9.1")
    theatre.assert_outcome("promoted")
    after = theatre.cluster.see("Job", "migration-v090")
    assert after is not None and after["metadata"]["uid"] != before["metadata"]["uid"]
    assert "userId" in str(after["spec"]["template"]["spec"]["containers"][0]["env"])


@pytest.mark.parametrize("version", [GOOD, BAD])
def test_the_canary_is_out_of_the_route_before_anything_of_it_is_deleted(version: str) -> None:
    process = Theatre().process("first")
    process.release(version)
    last = max(number for number, write in enumerate(process.written) if write == ("patch", "HTTPRoute"))
    assert last < process.written.index(("delete", "Deployment")) < process.written.index(("delete", "Service"))


def test_the_snapshot_is_of_everything_that_a_rollback_may_have_to_bring_back() -> None:
    theatre = Theatre()
    before = theatre.cluster.get("HTTPRoute", "onlyvips")
    record = theatre.process("first").release(GOOD)
    kept = theatre.cluster.get("ConfigMap", record.snapshot)
    assert before is not None and kept is not None and kept["immutable"]
    assert set(kept["data"]) == {"Deployment", "Service", "HTTPRoute", "HorizontalPodAutoscaler"}
    assert json.loads(kept["data"]["HTTPRoute"])["spec"] == before["spec"]
    assert json.loads(kept["data"]["HorizontalPodAutoscaler"])["spec"]["minReplicas"] == 2
