"""One release of two services: forward in order, promoted together, back as one in reverse, and no request lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.many import Do
from onlyvips.core.plan import HookPlan
from onlyvips.errors import Driven, Permanent, Refused
from onlyvips.steps import group_records, opening, records
from onlyvips.steps.herald import Herald
from onlyvips.steps.opening import Start
from tests.procedures.theatre import GOOD, Killed, Theatre
from tests.procedures.troupe import BRIEF, MANY, SERVICES, Troupe, bad_miniapp


def test_both_are_promoted_and_what_they_share_is_done_once() -> None:
    theatre, turns = Troupe(), list[str]()
    theatre.actor("driver").release_all(GOOD, lambda do: turns.append(do.title))
    group = theatre.assert_all("promoted")
    assert turns.index("forward backend") < turns.index("forward miniapp") < turns.index("promote")
    assert turns.index("promote") < turns.index("finish backend")
    assert theatre.backups == 1
    jobs = [one for one in theatre.cluster.all("Job", {}) if one["kind"] == "Job"]
    assert len(jobs) == 1
    assert {one.backup for one in records.every(theatre.cluster)} == {group.backup}
    assert theatre.all_evidence[group.id][1] == ("promoted", "promoted")


def test_snapshots_and_secrets_of_both_are_there_before_traffic_of_any() -> None:
    theatre, seen = Troupe(), dict[str, Any]()

    def look(do: Do) -> None:
        if do.kind == "forward" and not seen:
            seen.update({one.service: (one.snapshot, one.phase) for one in records.every(theatre.cluster)})
            seen["weights"] = (theatre.weight(), theatre.miniapp_weight())

    theatre.actor("driver").release_all(GOOD, look)
    assert all(seen[service][0] and seen[service][1] == "migrate" for service in SERVICES)
    assert seen["weights"] == (0, 0)


def test_when_the_second_fails_both_are_back_in_reverse_order_and_no_request_is_lost() -> None:
    theatre, turns = Troupe(), list[str]()
    bad_miniapp(theatre, GOOD)
    theatre.actor("driver").release_all(GOOD, lambda do: turns.append(do.title))
    group = theatre.assert_all("rolled-back")
    assert "miniapp went back" in group.reason and "api-errors" in group.reason
    assert turns.index("forward miniapp") < turns.index("back miniapp") < turns.index("back backend")
    assert theatre.platform.served[GOOD] > 0, "backend served the new version before it went back"


def test_the_first_waits_with_the_new_version_and_nobody_may_drive_it_alone() -> None:
    theatre, seen = Troupe(), list[str]()

    def look(do: Do) -> None:
        if do.title == "forward miniapp":
            found = records.find_open(theatre.cluster, "backend")
            assert found is not None
            seen.append(f"{found.phase} {theatre.image('backend')} {theatre.weight()}")
            site = theatre.actor("another").many.member("backend")
            with pytest.raises(Refused, match="backend is part of release all-v0-9-0-001 of all services"):
                opening.open_release(site, Start(GOOD, "Bob", "", "Bob"))

    theatre.actor("driver").release_all(GOOD, look)
    assert seen == [f"together {GOOD} 0"]


@pytest.mark.parametrize("when", ["back up", "prepare backend", "prepare miniapp"])
def test_none_of_them_may_be_released_alone_before_it_has_a_record_of_its_own(when: str) -> None:
    theatre, told = Troupe(), list[str]()

    def look(do: Do) -> None:
        if do.title == when:
            alone = replace(theatre.actor("another").many.member("miniapp"), preflight=lambda: pytest.fail("asked"))
            with pytest.raises(Refused, match="miniapp is part of release all-v0-9-0-001 of all services") as refused:
                opening.open_release(alone, Start(GOOD, "Bob", "", "Bob"))
            told.append(str(refused.value))

    theatre.actor("driver").release_all(GOOD, look)
    assert len(told) == 1 and "onlyvips release abort -e simulated --all" in told[0]
    theatre.assert_all("promoted")


@pytest.mark.parametrize(
    "when", ["back up", "prepare miniapp", "migrate", "forward backend", "forward miniapp", "promote"]
)
def test_an_abort_at_any_step_before_the_decision_takes_all_back(when: str) -> None:
    theatre = Troupe()
    theatre.actor("driver").release_all(GOOD, lambda do: theatre.abort_all() if do.title == when else None)
    assert "Ada asked for an abort: looks odd" in theatre.assert_all("rolled-back").reason


@pytest.mark.parametrize("service", SERVICES)
def test_an_abort_in_mid_canary_of_either_takes_both_back(service: str) -> None:
    theatre = Troupe()
    actor = theatre.actor("driver")

    def abort(_number: int, _verb: str, kind: str) -> None:
        weight = theatre.weight() if service == "backend" else theatre.miniapp_weight()
        if kind == "HTTPRoute" and weight == 50 and not theatre.group().aborted:
            theatre.abort_all()

    actor.after_write = abort
    actor.release_all(GOOD)
    group = theatre.assert_all("rolled-back")
    assert group.reason.endswith("Ada asked for an abort: looks odd")


def test_a_living_driver_is_left_alone_and_a_second_version_is_refused() -> None:
    theatre, told = Troupe(), list[str]()

    def meet(do: Do) -> None:
        if do.title == "forward miniapp":
            with pytest.raises(Driven):
                theatre.actor("reconciler").reconcile_all()
            with pytest.raises(Refused, match=r"all-v0-9-0-001 of all services is still open .*so v0.9.1 was refused"):
                theatre.actor("another", run="run-2").release_all("v0.9.1")
            told.append(do.title)

    theatre.actor("driver").release_all(GOOD, meet)
    theatre.assert_all("promoted")
    assert told


def test_a_driver_that_was_taken_over_writes_nothing_more() -> None:
    theatre = Troupe()
    first = theatre.actor("first")

    def freeze(do: Do) -> None:
        if do.title == "forward miniapp":
            first.frozen = True
            theatre.clock.sleep(60.0)
            theatre.actor("reconciler").reconcile_all()
            first.frozen = False

    with pytest.raises(Permanent, match="took this release over|no longer drives|belongs to epoch"):
        first.release_all(GOOD, freeze)
    theatre.assert_all("rolled-back")


def test_a_service_that_is_refused_stops_all_before_anything_changes() -> None:
    theatre = Troupe()
    theatre.cluster.change(
        "Deployment", "miniapp", lambda it: it["spec"]["template"]["metadata"]["labels"].pop("track")
    )
    with pytest.raises(Refused, match="miniapp"):
        theatre.actor("driver").release_all(GOOD)
    assert group_records.every(theatre.cluster) == [] and records.every(theatre.cluster) == []


def test_a_backup_that_is_degraded_stops_all_before_anything_changes() -> None:
    theatre = Troupe()
    theatre.backup_error = Permanent("The backup is degraded.")
    group = theatre.actor("driver").release_all(GOOD)
    assert (group.result, group.reason) == ("rolled-back", "The backup is degraded.")
    assert records.every(theatre.cluster) == []


CHECK = HookPlan("check", "ghcr.io/onlyvips/check:v1", ("check",), 60.0)
SMOKE = HookPlan("smoke", "ghcr.io/onlyvips/smoke:v1", ("smoke",), 60.0)
HOOKED = replace(MANY, before=(CHECK,), after=(SMOKE,))


def test_hooks_run_once_before_anything_changes_and_once_all_run_the_new_version() -> None:
    theatre, turns = Troupe(HOOKED), list[str]()
    theatre.actor("driver").release_all(GOOD, lambda do: turns.append(do.title))
    group = theatre.assert_all("promoted")
    assert turns[0] == "run hook check" and turns.index("run hook smoke") == turns.index("promote") - 1
    assert [(one.name, one.state) for one in group.hooks] == [("check", "complete"), ("smoke", "complete")]
    assert "Job check-001 is complete" in group.hooks[0].observed


def test_a_hook_that_fails_before_leaves_everything_as_it_was() -> None:
    theatre = Troupe(HOOKED)
    theatre.platform.nature.jobs = "Failed"
    group = theatre.actor("driver").release_all(GOOD)
    assert group.result == "rolled-back" and "hook check failed: The hook Job check-001 failed" in group.reason
    assert (records.every(theatre.cluster), theatre.backups) == ([], 0)


def test_a_hook_that_fails_after_takes_all_back() -> None:
    theatre = Troupe(HOOKED)

    def spoil(do: Do) -> None:
        if do.title == "run hook smoke":
            theatre.platform.nature.jobs = "Failed"

    theatre.actor("driver").release_all(GOOD, spoil)
    assert "hook smoke failed" in theatre.assert_all("rolled-back").reason


CONTRACT = HookPlan("contract-v090", "ghcr.io/onlyvips/migrate:v0.9.0", ("contract",), 60.0)
NO_RETURN = replace(MANY, contract=CONTRACT)


def test_a_contract_migration_comes_after_every_service_is_promoted_and_closed() -> None:
    theatre, seen = Troupe(NO_RETURN), list[str]()

    def look(do: Do) -> None:
        if do.kind == "contract":
            seen.extend(f"{one.service} {one.phase} {one.result}" for one in records.every(theatre.cluster))

    theatre.actor("driver").release_all(GOOD, look)
    assert theatre.assert_all("promoted").contract == "complete"
    assert sorted(seen) == ["backend closed promoted", "miniapp closed promoted"]


def test_past_the_point_of_no_return_a_failure_holds_and_nothing_goes_back() -> None:
    theatre = Troupe(NO_RETURN)

    def spoil(do: Do) -> None:
        theatre.platform.nature.jobs = "Failed" if do.kind == "contract" else "Complete"

    with pytest.raises(Permanent, match="The contract migration Job contract-v090-001 failed"):
        theatre.actor("driver").release_all(GOOD, spoil)
    theatre.abort_all()
    theatre.actor("reconciler").reconcile_all(attended=False)
    group = theatre.group()
    assert (group.open, group.decision, group.contract) == (True, "promoted", "begun")
    assert {theatre.image(service) for service in SERVICES} == {GOOD}
    theatre.platform.nature.jobs = "Complete"
    theatre.actor("a person", run="run-2").release_all(GOOD)
    assert theatre.assert_all("promoted").contract == "complete"


def test_nobody_who_comes_by_himself_passes_the_point_of_no_return() -> None:
    theatre = Troupe(NO_RETURN)
    actor = theatre.actor("driver")
    with pytest.raises(Killed):
        actor.release_all(GOOD, lambda do: actor.die() if do.kind == "contract" else None)
    theatre.actor("reconciler").reconcile_all()
    assert (theatre.group().open, theatre.group().contract) == (True, "")
    assert theatre.cluster.get("Job", "contract-v090-001") is None


def test_an_abort_that_came_too_late_passes_no_point_of_no_return_and_a_person_may_still_start_it_again() -> None:
    theatre = Troupe(NO_RETURN)
    actor = theatre.actor("driver")

    def late(do: Do) -> None:
        if do.kind == "finish":
            theatre.abort_all()
            actor.die()

    with pytest.raises(Killed):
        actor.release_all(GOOD, late)
    done = theatre.actor("Ctrl-C").reconcile_all(attended=True)
    assert done is not None and (done.open, done.decision, done.contract) == (True, "promoted", "")
    assert theatre.cluster.get("Job", "contract-v090-001") is None
    theatre.actor("a person", run="run-2").release_all(GOOD)
    assert theatre.assert_all("promoted").contract == "complete"


def test_a_reconciler_that_may_not_see_jobs_takes_no_good_release_back(monkeypatch: pytest.MonkeyPatch) -> None:
    theatre = Troupe(replace(MANY, after=(SMOKE,)))
    actor, blind = theatre.actor("driver"), theatre.actor("reconciler")
    with pytest.raises(Killed):
        actor.release_all(GOOD, lambda do: actor.die() if do.kind == "run-hook" else None)

    def get(kind: str, name: str) -> Any:
        if kind == "Job":
            raise Permanent("Kubernetes refused to read Jobs (403)")
        return theatre.cluster.get(kind, name)

    monkeypatch.setattr(blind, "get", get)
    with pytest.raises(Permanent, match="403"):
        blind.reconcile_all()
    assert (theatre.group().open, theatre.group().decision, theatre.group().hooks) == (True, "undecided", ())
    theatre.actor("one with the right").reconcile_all()
    theatre.assert_all("promoted")


def test_a_hook_whose_job_is_deleted_while_it_runs_has_failed() -> None:
    theatre = Troupe(replace(MANY, after=(SMOKE,)))
    actor = theatre.actor("driver")

    def delete(_number: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("create", "Job") and theatre.cluster.see("Job", "smoke-001"):
            theatre.cluster.drop("Job", "smoke-001")

    actor.after_write = delete
    actor.release_all(GOOD)
    assert "smoke-001 was deleted while it ran" in theatre.assert_all("rolled-back").reason


def test_a_run_that_is_retried_after_its_release_was_closed_begins_no_other_one() -> None:
    theatre = Troupe()
    first = theatre.actor("first")
    with pytest.raises(Killed):
        first.release_all(GOOD, lambda do: first.die() if do.title == "forward miniapp" else None)
    theatre.actor("reconciler").reconcile_all()
    again = theatre.actor("first, attempt 2").release_all(GOOD)
    assert (again.id, again.result) == (theatre.group().id, "rolled-back")
    assert len(group_records.every(theatre.cluster)) == 1
    theatre.assert_all("rolled-back")


def test_a_closed_record_of_another_version_is_passed_over_and_an_open_one_is_not() -> None:
    theatre = Troupe()
    theatre.actor("driver").release_all(GOOD)
    name = group_records.config_map(theatre.group().id)
    theatre.cluster.change("ConfigMap", name, lambda it: it["data"].update({"group.json": '{"schema":2}'}))
    assert group_records.every(theatre.cluster) == []
    theatre.cluster.change("ConfigMap", name, lambda it: it["metadata"]["labels"].update({records.STATE: "open"}))
    with pytest.raises(Permanent, match="schema 2"):
        group_records.every(theatre.cluster)


def test_messages_under_way_are_waited_for_at_the_end_and_not_at_each_step() -> None:
    theatre, told = Troupe(), list[str]()

    class Slow(Herald):
        def settle(self, patience: float = 5.0) -> None:
            told.append("settled")

    theatre.herald = lambda _: Slow()
    actor = theatre.actor("driver")
    with pytest.raises(Killed):
        actor.release_all(GOOD, lambda do: actor.die() if do.title == "promote" else None)
    assert told == []
    theatre.actor("reconciler").reconcile_all()
    theatre.assert_all("promoted")
    assert told == ["settled"] * len(SERVICES)


def test_a_reconciler_of_one_service_that_may_not_see_its_hook_takes_no_good_release_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre = Theatre(replace(BRIEF, after=(SMOKE,)))
    driver, blind = theatre.process("driver"), theatre.process("reconciler")
    with pytest.raises(Killed):
        driver.release(GOOD, lambda _, action: driver.die() if action.kind == "run-hook" else None)

    def get(kind: str, name: str) -> Any:
        if kind == "Job":
            raise Permanent("Kubernetes refused to read Jobs (403)")
        return theatre.cluster.get(kind, name)

    monkeypatch.setattr(blind, "get", get)
    with pytest.raises(Permanent, match="403"):
        blind.reconcile()
    (record,) = records.every(theatre.cluster)
    assert (record.phase, record.hooks) == ("together", ())
    done = theatre.process("one with the right").reconcile()
    assert done is not None and done.result == "promoted"
