"""A rolling update on the simulated platform: watched, judged, undone to the recorded revision, and nothing lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import in_place
from onlyvips.core.action import Action, enter
from onlyvips.errors import Refused
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.in_place import MOMENTS, ROLLING, Moment, Rolling, expected, killed_at, no_loss, writes_of
from tests.procedures.theatre import BAD, GOOD, IMAGE, OLD

Live = dict[str, Any]


def test_a_good_version_rolls_out_watched_and_nothing_is_lost() -> None:
    for seed in range(1, 6):
        theatre = Rolling(seed=seed)
        theatre.process("first").release(GOOD)
        record = theatre.assert_outcome("promoted")
        told = [step.observed for step in record.steps if step.action.startswith("note progress")]
        assert told[-1] == f"4 of 4 pods run {GOOD}" and len(told) > 1
        assert any(look.verdict == "pass" for look in record.looks)
        assert theatre.minimum() == 2


def test_the_autoscaler_may_not_take_pods_away_meanwhile() -> None:
    theatre, seen = Rolling(), set[int]()
    theatre.process("first").release(GOOD, lambda *_: seen.add(theatre.minimum()))
    assert seen == {2, 4}
    theatre.assert_outcome("promoted")


def test_an_autoscaler_that_takes_pods_away_as_soon_as_it_may_sends_no_good_version_back() -> None:
    theatre, let_go = Rolling(), list[str]()

    def scale(_: Rollout, action: Action) -> None:
        if action.kind == "remove-leftovers":
            let_go.append(action.what)
        if theatre.deployment()["spec"]["replicas"] > (least := theatre.minimum()):
            theatre.edit(lambda live: live["spec"].update(replicas=least))

    record = theatre.process("first").release(GOOD, scale)
    assert record.result == "promoted", record.reason
    assert let_go == ["HorizontalPodAutoscaler/backend"], "once, and only after the last look"
    assert record.looks[-1].verdict == "pass" and theatre.deployment()["spec"]["replicas"] == 2


def test_a_bad_version_goes_back_to_the_recorded_template_before_all_have_it() -> None:
    theatre = Rolling()
    before = theatre.deployment()["spec"]["template"]
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    assert "api-errors" in record.reason
    assert record.rolled < 4
    assert theatre.deployment()["spec"]["template"] == before


def test_what_it_goes_back_to_is_recorded_and_not_the_revision_before() -> None:
    """Somebody rolled the Deployment through another revision between: "the previous one" would be that."""
    theatre = Rolling()
    theatre.edit(lambda live: live["spec"]["template"]["metadata"].update(annotations={"note": "of the morning"}))
    theatre.settle(80.0)
    before = theatre.deployment()["spec"]["template"]
    theatre.process("first").release(BAD)
    theatre.assert_outcome("rolled-back")
    assert theatre.deployment()["spec"]["template"] == before


@pytest.mark.parametrize(("nature", "told"), [("broken", "ErrImagePull"), ("unready", "0 of 4 pods")])
def test_a_version_that_makes_no_progress_goes_back_and_the_pods_trouble_is_told(nature: str, told: str) -> None:
    theatre, waits = Rolling(), set[str]()
    getattr(theatre.platform.nature, nature).add(f"{IMAGE}:{GOOD}")
    theatre.process("first").release(GOOD, lambda _, action: waits.add(action.reason))
    record = theatre.assert_outcome("rolled-back")
    assert told in record.reason and "no progress for 66 s" in record.reason
    assert any(told in reason for reason in waits)


def test_pods_that_come_and_go_are_no_progress() -> None:
    theatre = Rolling()

    def kill_new() -> None:
        for pod in theatre.pods():
            if pod["metadata"]["labels"]["version"] == GOOD:
                theatre.platform.controllers.terminate(pod["metadata"]["name"])

    theatre.clock.every(5.0, kill_new)
    theatre.process("first").release(GOOD)
    assert "no progress for 66 s" in theatre.assert_outcome("rolled-back").reason


def test_an_abort_goes_back_from_every_state() -> None:
    for at in range(1, 60):
        theatre, count = Rolling(), iter(range(1, 10_000))

        def abort(_: Rollout, action: object, theatre: Rolling = theatre, count: Any = count, at: int = at) -> None:
            if next(count) == at and theatre.record().phase not in ("evidence", "closed"):
                theatre.abort()

        theatre.process("first").release(GOOD, abort)
        record = theatre.record()
        if not record.commands:
            break
        theatre.assert_outcome("rolled-back")
    else:
        raise AssertionError("the abort never came too late")
    assert at > 8


def test_another_hand_in_the_template_is_held_and_never_overwritten_while_it_is_not_ours() -> None:
    theatre, done = Rolling(), []
    hand = {"kubectl.kubernetes.io/restartedAt": "now"}

    def edit(_: Rollout, action: object) -> None:
        if theatre.record().rolled == 1 and not done:
            done.append(1)
            theatre.edit(lambda live: live["spec"]["template"]["metadata"].update(annotations=hand))

    theatre.process("first").release(GOOD, edit)
    record = theatre.record()
    assert record.result == "rolled-back" and "somebody took the Deployment back" in record.reason
    assert theatre.deployment()["spec"]["template"]["metadata"]["annotations"] == hand


def test_an_edit_before_the_update_holds_it_and_at_the_maximum_hold_it_ends() -> None:
    theatre, seen = Rolling(), []

    def edit(_: Rollout, action: Any) -> None:
        if theatre.record().phase == "roll" and not seen:
            seen.append(1)
            theatre.edit(lambda live: live["spec"]["template"]["metadata"]["labels"].update(extra="1"))

    theatre.process("first").release(GOOD, edit)
    record = theatre.record()
    assert "nobody put it right within 60 s" in record.reason
    assert theatre.templates == []
    assert theatre.stable_image() == OLD


def test_scaled_down_by_hand_it_gets_its_pods_back() -> None:
    theatre, done = Rolling(), []

    def scale(_: Rollout, action: object) -> None:
        if theatre.record().rolled == 1 and not done:
            done.append(1)
            theatre.edit(lambda live: live["spec"].update(replicas=2))

    theatre.process("first").release(GOOD, scale)
    theatre.broken_rules.clear()  # what a person took away
    theatre.assert_outcome("promoted")


def test_a_paused_update_goes_back_and_is_not_called_back_while_new_pods_are_left() -> None:
    theatre = Rolling()

    def pause(_: Rollout, action: object) -> None:
        if theatre.record().rolled == 1 and theatre.record().phase == "roll":
            theatre.edit(lambda live: live["spec"].update(paused=True))

    theatre.clock.after(400.0, lambda: theatre.edit(lambda live: live["spec"].update(paused=False)))
    theatre.process("first").release(GOOD, pause)
    record = theatre.assert_outcome("rolled-back")
    assert "its Deployment is paused" in record.reason


def test_a_service_that_the_metrics_do_not_know_is_told_to_be_unjudged() -> None:
    theatre = Rolling(rate=0.0)
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("promoted")
    assert "not judged" in record.reason and record.looks == ()


def test_metrics_that_go_away_hold_it_and_at_the_maximum_hold_it_goes_back() -> None:
    theatre = Rolling()

    def away(_: Rollout, action: object) -> None:
        if theatre.record().rolled == 2:
            theatre.platform.metrics.prometheus_away()

    theatre.process("first").release(GOOD, away)
    assert "inconclusive, no data" in theatre.assert_outcome("rolled-back").reason


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_killed_at_any_write_and_run_again_it_ends_as_it_would_have(version: str, moment: Moment) -> None:
    for write in range(1, writes_of(Rolling(), version) + 1):
        theatre = killed_at(Rolling(), version, write, moment)
        theatre.process("second").release(version)
        theatre.assert_outcome(expected(version))
        assert len(records.every(theatre.cluster)) == 1, write


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_killed_at_any_write_and_reconciled_it_never_brings_the_new_version_to_more(
    version: str, moment: Moment
) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of(Rolling(), version) + 1):
        theatre = killed_at(Rolling(), version, write, moment)
        written = len(theatre.templates)
        theatre.process("reconciler").reconcile()
        if not records.every(theatre.cluster):
            theatre.assert_clean(OLD)
            continue
        record = theatre.assert_outcome(theatre.record().result)
        assert record.id not in theatre.templates[written:], write
        results[record.result] += 1
    assert set(results) == ({"promoted", "rolled-back"} if version == GOOD else {"rolled-back"})


# What matters: each setting that the preflight asks for, and each wait, taken out, is seen.


def lost_with(**changes: Any) -> float:
    """Requests that good releases lose when the Deployment lacks something and nobody refuses it."""

    def how(live: Live) -> None:
        no_loss(live)
        if changes.get("no_prestop"):
            del live["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
        live["spec"] |= changes.get("spec", {})

    lost = 0.0
    for seed in range(1, 5):
        theatre = Rolling(how=how, seed=seed)
        theatre.process("first").release(GOOD)
        theatre.settle(40.0)
        lost += theatre.platform.lost_requests + len(theatre.broken_rules)
    return lost


def test_without_what_the_preflight_asks_for_requests_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onlyvips.steps.preflight_in_place._lacks", lambda *_: ())
    assert lost_with() == 0
    assert lost_with(no_prestop=True) > 0
    unavailable = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 0}}
    assert lost_with(spec={"strategy": unavailable}) > 0


def test_without_the_looks_a_bad_version_would_be_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rollout, "_look_meanwhile", lambda self: None)
    monkeypatch.setattr("onlyvips.core.rolling.last_watch", lambda *_: enter("evidence", "unseen"))
    theatre = Rolling()
    theatre.process("first").release(BAD)
    assert theatre.record().result == "promoted"
    assert in_place.last_watch is not None


def without(path: str) -> Any:
    """A Deployment that rolls without loss but for one thing."""

    def how(live: Live) -> None:
        no_loss(live)
        *folders, last = path.split("/")
        there = live
        for each in folders:
            there = there[int(each)] if each.isdigit() else there[each]
        del there[last]

    return how


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("spec/minReadySeconds", "`minReadySeconds: 6`"),
        ("spec/strategy/rollingUpdate/maxUnavailable", "maxUnavailable: 0` .it is 25%"),
        ("spec/template/spec/containers/0/lifecycle", "preStop.sleep.seconds: 6` of container api"),
        ("spec/template/spec/containers/0/readinessProbe", "a `readinessProbe` of container api"),
    ],
)
def test_a_deployment_that_would_lose_requests_is_refused_with_what_it_lacks(path: str, sentence: str) -> None:
    refused(Rolling(how=without(path)), sentence)


def test_a_grace_that_the_sleep_uses_up_is_refused() -> None:
    def how(live: Live) -> None:
        no_loss(live)
        live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 6

    refused(Rolling(how=how), "`terminationGracePeriodSeconds` above 6")


@pytest.mark.parametrize(
    "command", [["sleep", "6"], ["/bin/sleep", "10"], ["sh", "-c", "sleep 6"], ["/bin/sh", "-c", "sleep 7s"]]
)
def test_a_sleep_that_is_a_command_is_one(command: list[str]) -> None:
    theatre = Rolling()
    hook = {"preStop": {"exec": {"command": command}}}
    theatre.edit(lambda live: live["spec"]["template"]["spec"]["containers"][0].update(lifecycle=hook))
    theatre.settle(80.0)
    assert theatre.process("first").site.preflight().capacity == 4


@pytest.mark.parametrize("command", [["sleep", "5"], ["sh", "-c", "kill 1"], ["nginx", "-s", "quit"], ["sleep", "$N"]])
def test_a_command_that_does_not_sleep_for_long_enough_is_none(command: list[str]) -> None:
    theatre = Rolling()
    hook = {"preStop": {"exec": {"command": command}}}
    theatre.edit(lambda live: live["spec"]["template"]["spec"]["containers"][0].update(lifecycle=hook))
    refused(theatre, "preStop.sleep.seconds: 6")


def refused(theatre: Rolling, sentence: str) -> None:
    """Refused with ``sentence``, and nothing was changed."""
    process = theatre.process("first")
    with pytest.raises(Refused, match=sentence) as told:
        process.release(GOOD)
    assert "nothing was changed" in str(told.value)
    assert process.writes == 0 and records.every(theatre.cluster) == []


def pause(live: Live) -> None:
    live["spec"]["paused"] = True


def none(live: Live) -> None:
    live["spec"]["replicas"] = 0


def twice(live: Live) -> None:
    containers = live["spec"]["template"]["spec"]["containers"]
    containers.append({**containers[0], "name": "twin"})


def versioned(live: Live) -> None:
    live["spec"]["selector"]["matchLabels"]["version"] = OLD


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (pause, "Deployment backend is paused"),
        (none, "Deployment backend is scaled to 0"),
        (twice, "Containers api, twin of Deployment backend all run"),
        (versioned, "The selector of Deployment backend has `version`"),
    ],
)
def test_what_a_rolling_update_cannot_do_is_refused_by_name(how: Any, sentence: str) -> None:
    theatre = Rolling(how=lambda live: (no_loss(live), how(live))[0])
    refused(theatre, sentence)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_what_is_no_deployment_is_refused_by_its_kind(kind: str) -> None:
    theatre = Rolling(plan=replace(ROLLING, service=replace(ROLLING.service, deployment="store")))
    theatre.cluster.create({"kind": kind, "metadata": {"name": "store"}, "spec": {}})
    refused(theatre, f"store is a {kind}, which rolling cannot release")


def test_an_update_that_is_under_way_is_refused() -> None:
    theatre = Rolling()
    theatre.edit(lambda live: live["spec"]["template"]["metadata"].update(annotations={"note": "of the morning"}))
    theatre.settle(4.0)
    refused(theatre, "in the middle of an update")
