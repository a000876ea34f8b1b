"""The hard ways back and forward: pods that never come, copies that die, hands in the same moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from onlyvips.core.action import Action
from onlyvips.core.record import Record
from onlyvips.errors import Transient
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import CAPACITY, GOOD, IMAGE, OLD, Killed, Process, Theatre
from tests.simulators.controllers import ready
from tests.simulators.platform import Version

At = Callable[[Rollout, Action], None]


def pods(theatre: Theatre, version: str) -> int:
    """Ready pods of stable that run ``version``."""
    found = theatre.cluster.all("Pod", {"track": "stable", "version": version})
    return sum(1 for pod in found if ready(pod))


def scale(theatre: Theatre, deployment: str, replicas: int) -> None:
    """``kubectl scale``, or an autoscaler."""
    theatre.cluster.change("Deployment", deployment, lambda it: it["spec"].update(replicas=replicas))


class Enough(Exception):
    """The test has seen what it wanted to."""


def drive(process: Process, at: At, most: int = 300) -> Record | None:
    """A release, for so many decisions at most; None when it was left open."""
    left = [most]

    def counted(rollout: Rollout, action: Action) -> None:
        left[0] -= 1
        if not left[0]:
            raise Enough
        at(rollout, action)

    with suppress(Enough):
        return process.release(GOOD, counted)
    return None


def test_an_abort_gets_most_of_the_traffic_back_though_a_pod_of_the_old_version_never_comes() -> None:
    theatre = Theatre()

    def one_never_comes() -> bool:
        if not theatre.record().stable_replaced or pods(theatre, OLD) < CAPACITY or theatre.stable_image() != OLD:
            return False
        if not theatre.record().aborted:
            return False
        theatre.platform.nature.unready.add(f"{IMAGE}:{OLD}")
        theatre.platform.kill_pods("backend", 1)
        return True

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "wait" and action.what == "stable-ready" and not theatre.record().aborted:
            theatre.platform.versions[GOOD] = Version(errors=0.5)
            theatre.abort()

    theatre.clock.every(0.2, one_never_comes)
    assert drive(theatre.process("first"), at) is None, "it stays open: a quarter of the traffic is not back"
    assert pods(theatre, OLD) == CAPACITY - 1
    assert theatre.weight() == 25
    assert theatre.broken_rules == []
    theatre.platform.nature.unready.clear()
    for pod in theatre.cluster.all("Pod", {"track": "stable"}):
        if not ready(pod):
            theatre.platform.controllers.terminate(pod["metadata"]["name"])
    theatre.settle(60.0)
    theatre.process("reconcile").reconcile(attended=True)
    assert theatre.record().result == "rolled-back"
    assert (theatre.stable_image(), theatre.weight(), theatre.leftovers()) == (OLD, 0, [])


@pytest.mark.parametrize("attended", [True, False])
def test_going_back_never_gives_stable_more_than_its_ready_pods_can_carry(attended: bool) -> None:
    theatre = Theatre()

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and theatre.weight() == 50:
            theatre.platform.nature.unready.add(f"{IMAGE}:{OLD}")
            theatre.platform.kill_pods("backend", 3)
            rollout.tools.cluster.die()  # type: ignore[attr-defined]

    with suppress(Killed):
        theatre.process("first").release(GOOD, at)
    if attended:
        theatre.abort()
    theatre.process("reconcile").reconcile(attended=attended)
    assert theatre.record().open
    assert theatre.weight() == 50
    assert theatre.broken_rules == []
    scale(theatre, "backend-canary", 0)  # the way out that its sentence names
    theatre.settle(60.0)
    theatre.process("again").reconcile(attended=attended)
    assert theatre.record().result == "rolled-back"


def test_an_autoscaler_that_shrank_the_idle_stable_does_not_keep_the_traffic_from_it() -> None:
    theatre = Theatre()

    def shrink(rollout: Rollout, action: Action) -> None:
        if action.kind == "replace-stable":
            theatre.cluster.change("HorizontalPodAutoscaler", "backend", lambda it: it["spec"].update(minReplicas=2))
            theatre.clock.after(5.0, lambda: scale(theatre, "backend", 2))

    assert drive(theatre.process("first"), shrink) is not None
    theatre.assert_outcome("promoted")


@pytest.mark.parametrize("write", range(1, 5))
@pytest.mark.parametrize("moment", ["at_write", "after_write"])
def test_who_dies_while_stable_gets_its_pods_again_is_followed_by_one_who_finishes(write: int, moment: str) -> None:
    theatre = Theatre()
    first, left = theatre.process("first"), [write]

    def shrink(rollout: Rollout, action: Action) -> None:
        if action.kind == "replace-stable":
            theatre.cluster.change("HorizontalPodAutoscaler", "backend", lambda it: it["spec"].update(minReplicas=2))
            theatre.clock.after(5.0, lambda: scale(theatre, "backend", 2))

    def die(*_: object) -> None:
        found = records.find_open(theatre.cluster, "backend") if left[0] else None
        if found is not None and (steps := found.steps) and steps[-1].action.startswith("scale stable"):
            left[0] -= 1
            if not left[0]:
                first.die()

    setattr(first, moment, die)
    with pytest.raises(Killed):
        first.release(GOOD, shrink)
    theatre.process("second").release(GOOD)
    theatre.assert_outcome("promoted")


def test_nothing_is_promoted_while_stable_lacks_pods() -> None:
    """The canary dies when stable has one pod: the traffic goes to that one, and the release waits for the rest."""
    theatre = Theatre()

    def canary_dies() -> bool:
        if theatre.stable_image() != GOOD or not pods(theatre, GOOD):
            return False
        theatre.platform.nature.unready.add(f"{IMAGE}:{GOOD}")
        theatre.platform.kill_pods("backend-canary", CAPACITY)
        return True

    theatre.clock.every(0.3, canary_dies)
    record = theatre.process("first").release(GOOD)
    assert record.result == "rolled-back"
    assert "pods of stable are ready" in record.reason


def test_a_dead_canary_is_left_at_once_also_when_a_new_stable_is_taken_back() -> None:
    theatre = Theatre()

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "set-weight" and action.number == 0 and not theatre.record().aborted:
            theatre.cluster.drop("Deployment", "backend-canary")
            theatre.abort()

    record = theatre.process("first").release(GOOD, at)
    assert record.result == "rolled-back"
    assert [step.action for step in record.steps if step.action.startswith("set weight")][-3:] == [
        "set weight 0 %",
        "set weight 100 %",
        "set weight 0 %",
    ]


def test_an_emergency_edit_in_the_moment_of_our_write_is_not_overwritten() -> None:
    theatre = Theatre()
    process, edited = theatre.process("first"), []

    def edit(_number: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("patch", "HTTPRoute") and theatre.weight() == 10 and not edited:
            edited.append(theatre.platform.hand_edit_weight(0))

    process.at_write = edit
    record = process.release(GOOD)
    assert theatre.route_writes == [10, 0]
    assert "the route shows 0 % for the canary and this release had set 10 %" in record.reason


def test_a_fix_of_stable_in_the_moment_of_our_write_is_not_released_unseen() -> None:
    theatre = Theatre()
    process, edited = theatre.process("first"), []

    def fix(it: dict[str, object]) -> None:
        it["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "FIX", "value": "1"}]  # type: ignore[index]

    def edit(_number: int, verb: str, kind: str) -> None:
        replacing = theatre.record().steps[-1].action == "replace stable" if theatre.weight() == 100 else False
        if (verb, kind) == ("patch", "Deployment") and replacing and not edited:
            edited.append(theatre.cluster.change("Deployment", "backend", fix))

    process.at_write = edit
    record = process.release(GOOD)
    assert edited
    assert record.result == "rolled-back"
    assert theatre.stable_image() == OLD


def test_a_canary_that_somebody_edits_is_not_judged_in_the_place_of_what_is_released() -> None:
    theatre, edited = Theatre(), []

    def fix(it: dict[str, object]) -> None:
        it["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "FIX", "value": "1"}]  # type: ignore[index]

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and not edited:
            edited.append(theatre.cluster.change("Deployment", "backend-canary", fix))

    record = theatre.process("first").release(GOOD, at)
    assert record.result == "rolled-back"
    assert "the pod template of the canary was changed by somebody else" in record.reason


def test_a_route_in_which_the_rule_got_ambiguous_does_not_keep_the_release_from_going_back() -> None:
    theatre, edited = Theatre(), []
    theatre.cluster.change("HTTPRoute", "onlyvips", lambda it: it["spec"]["rules"][1].pop("name"))
    theatre.route_before = theatre.rules()
    another = {"matches": [{"path": {"value": "/v2"}}], "backendRefs": [{"name": "backend", "port": 8000, "weight": 1}]}

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and theatre.weight() == 25 and not edited:
            edited.append(
                theatre.cluster.change("HTTPRoute", "onlyvips", lambda it: it["spec"]["rules"].append(another))
            )
            theatre.abort()

    record = theatre.process("first").release(GOOD, at)
    assert record.result == "rolled-back"
    assert theatre.weight() == 0
    assert theatre.leftovers() == []


@pytest.mark.parametrize("after", [1.0, 5.0, 16.0, 17.0, 18.0, 25.0])
def test_a_reconciler_outlasts_an_api_that_is_away_for_a_moment(after: float) -> None:
    theatre = Theatre()
    first = theatre.process("first")

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and theatre.weight() == 50:
            first.die()

    with suppress(Killed):
        first.release(GOOD, at)
    theatre.clock.after(after, lambda: theatre.cluster.apiserver_away(3.0))
    theatre.process("reconcile").reconcile()
    theatre.assert_outcome("rolled-back")


def test_a_reconciler_does_not_wait_for_ever_for_an_api_that_stays_away() -> None:
    theatre = Theatre()
    first = theatre.process("first")

    def at(rollout: Rollout, action: Action) -> None:
        if action.kind == "look":
            first.die()

    with suppress(Killed):
        first.release(GOOD, at)
    found = theatre.record()
    theatre.cluster.apiserver_away(100_000.0)
    began = theatre.clock.monotonic()
    with pytest.raises(Transient):
        from onlyvips.steps import opening

        process = theatre.process("reconcile")
        opening.finish(process.site, found.id, "reconcile", attended=False, limit=100.0)
    assert theatre.clock.monotonic() - began < 600


def test_a_migration_that_somebody_else_runs_under_that_name_is_left_alone() -> None:
    theatre = Theatre()
    theatre.platform.nature.jobs = ""
    made = {"kind": "Job", "metadata": {"name": "migration-v090", "labels": {}}, "spec": {"template": {}}}
    uid = theatre.cluster.create(made)["metadata"]["uid"]
    record = theatre.process("first").release(GOOD)
    assert record.result == "rolled-back"
    assert "Job migration-v090 is running and does something else" in record.reason
    found = theatre.cluster.see("Job", "migration-v090")
    assert found is not None
    assert found["metadata"]["uid"] == uid


def test_a_secret_whose_name_only_begins_alike_is_left_alone() -> None:
    theatre = Theatre()
    theatre.cluster.create({"kind": "Secret", "metadata": {"name": "backend-jwt-public", "labels": {}}, "data": {}})

    def refer(it: dict[str, object]) -> None:
        container = it["spec"]["template"]["spec"]["containers"][0]  # type: ignore[index]
        container["envFrom"].append({"secretRef": {"name": "backend-jwt-public"}})

    theatre.cluster.change("Deployment", "backend", refer)
    theatre.settle(30.0)
    record = theatre.process("first").release(GOOD)
    assert record.result == "promoted", record.reason
    found = theatre.cluster.see("Deployment", "backend")
    assert found is not None
    sources = found["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    names = [each["secretRef"]["name"] for each in sources if "secretRef" in each]
    assert names[1] == "backend-jwt-public"
    assert names[0].startswith("backend-jwt-") and names[0] != "backend-jwt-0000000000"


def test_a_closed_record_of_a_later_program_does_not_keep_a_release_from_beginning() -> None:
    theatre = Theatre()
    theatre.process("first").release(GOOD)
    newer = theatre.record()
    theatre.cluster.change(
        "ConfigMap",
        f"onlyvips-release-{newer.id}",
        lambda it: it["data"].update({"record.json": it["data"]["record.json"].replace('"schema":1', '"schema":9')}),
    )
    theatre.settle(30.0)
    assert theatre.process("second", run="run-2").release("v0.9.1").result == "promoted"


def test_while_a_release_waits_its_record_says_for_what_and_afterwards_no_more() -> None:
    theatre, told = Theatre(), set()

    def at(rollout: Rollout, action: Action) -> None:
        told.add((theatre.record().phase, theatre.record().waiting))

    theatre.platform.nature.broken.add(f"{IMAGE}:{GOOD}")
    record = theatre.process("first").release(GOOD, at)
    assert (
        "canary",
        "0 of 1 pods of canary are ready (ErrImagePull: ghcr.io/onlyvips/backend:v0.9.0: not found)",
    ) in told
    assert record.waiting == ""
