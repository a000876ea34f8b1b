"""A bot that polls on the simulated platform: stopped, seen to be gone, started anew, and never two at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from onlyvips.core import recreate
from onlyvips.core.world import Workload
from onlyvips.errors import Refused
from onlyvips.steps import acts_recreate, records
from onlyvips.steps.rollout import Rollout
from tests.procedures.in_place import MOMENTS, Bot, Moment, killed_at, old_or, one_pod, writes_of
from tests.procedures.theatre import GOOD, IMAGE, OLD, Killed

Live = dict[str, Any]


def kubernetes_own(live: Live) -> None:
    one_pod(live)
    live["spec"]["strategy"] = {"type": "Recreate"}


@pytest.mark.parametrize("how", [one_pod, kubernetes_own])
def test_the_old_one_is_gone_before_the_new_one_begins(how: Any) -> None:
    for seed in range(1, 6):
        theatre = Bot(how=how, seed=seed)
        theatre.process("first").release(GOOD)
        record = theatre.assert_outcome("promoted")
        told = [step.action for step in record.steps if step.action.startswith(("stop", "replace", "start"))]
        assert told == ["stop", "replace stable", "start to 1 pod"]
        assert "not judged" in record.reason


@pytest.mark.parametrize(("nature", "told"), [("broken", "ErrImagePull"), ("unready", "0 of 1 pods are up")])
def test_a_version_that_does_not_come_up_goes_back_the_same_way(nature: str, told: str) -> None:
    theatre = Bot()
    before = theatre.deployment()["spec"]["template"]
    getattr(theatre.platform.nature, nature).add(f"{IMAGE}:{GOOD}")
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("rolled-back")
    assert told in record.reason
    assert theatre.deployment()["spec"]["template"] == before


def test_one_that_is_ready_for_a_moment_only_is_not_up() -> None:
    theatre = Bot()

    def crash() -> None:
        for pod in theatre.pods():
            if pod["metadata"]["labels"]["version"] == GOOD:
                pod["status"]["conditions"] = []
                theatre.cluster.change("Pod", pod["metadata"]["name"], lambda it: it["status"].update(conditions=[]))
                name = pod["metadata"]["name"]
                theatre.clock.after(1.0, lambda name=name: theatre.platform.controllers._get_ready(name))

    theatre.clock.every(4.0, crash)
    theatre.process("first").release(GOOD)
    assert theatre.assert_outcome("rolled-back").result == "rolled-back"


def test_a_pod_that_does_not_end_holds_it_is_told_and_never_forced() -> None:
    theatre, waits = Bot(), set[str]()
    theatre.platform.nature.hanging.add(f"{IMAGE}:{OLD}")
    theatre.clock.after(300.0, lambda: theatre.cluster.drop("Pod", theatre.pods()[0]["metadata"]["name"]))
    theatre.process("first").release(GOOD, lambda *_: waits.add(theatre.record().waiting))
    assert any("has not ended for 60 s and is not forced" in reason for reason in waits)
    assert theatre.assert_outcome("rolled-back").reason.startswith("backend-")


def test_an_abort_goes_back_from_every_state() -> None:
    for at in range(1, 60):
        theatre, count = Bot(), iter(range(1, 10_000))

        def abort(_: Rollout, action: object, theatre: Bot = theatre, count: Any = count, at: int = at) -> None:
            if next(count) == at and theatre.record().phase not in ("evidence", "closed"):
                theatre.abort()

        theatre.process("first").release(GOOD, abort)
        if not theatre.record().commands:
            break
        theatre.assert_outcome("rolled-back")
    else:
        raise AssertionError("the abort never came too late")
    assert at > 8


def test_what_somebody_started_again_meanwhile_is_not_stopped_a_second_time() -> None:
    theatre, done = Bot(), []

    def start(_: Rollout, action: Any) -> None:
        if action.kind == "replace-stable" and not done:
            done.append(1)
            theatre.edit(lambda live: live["spec"].update(replicas=1))

    theatre.process("first").release(GOOD, start)
    record = theatre.assert_outcome("rolled-back")
    assert "somebody started it again" in record.reason
    assert theatre.templates == []


def test_what_somebody_started_at_the_very_moment_is_seen_inside_of_the_write() -> None:
    theatre, done = Bot(), []
    process = theatre.process("first")

    def start(number: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("patch", "Deployment") and theatre.deployment()["spec"]["replicas"] == 0 and not done:
            done.append(1)
            theatre.edit(lambda live: live["spec"].update(replicas=1))
            theatre.settle(8.0)

    process.at_write = start
    process.release(GOOD)
    theatre.assert_outcome("rolled-back")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("nature", ["", "unready"])
def test_killed_at_any_write_and_run_again_it_ends_as_it_would_have(nature: str, moment: Moment) -> None:
    for write in range(1, writes_of(bot(nature)) + 1):
        theatre = killed_at(bot(nature), GOOD, write, moment)
        theatre.process("second").release(GOOD)
        theatre.assert_outcome("rolled-back" if nature else "promoted")
        assert len(records.every(theatre.cluster)) == 1, write


def bot(nature: str) -> Bot:
    theatre = Bot()
    if nature:
        getattr(theatre.platform.nature, nature).add(f"{IMAGE}:{GOOD}")
    return theatre


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("nature", ["", "unready"])
def test_killed_at_any_write_and_reconciled_one_runs_in_the_end(nature: str, moment: Moment) -> None:
    results: Counter[str] = Counter()
    for write in range(1, writes_of(bot(nature)) + 1):
        theatre = killed_at(bot(nature), GOOD, write, moment)
        written = len(theatre.templates)
        theatre.process("reconciler").reconcile()
        if not records.every(theatre.cluster):
            theatre.assert_clean(OLD)
            continue
        record = theatre.assert_outcome(theatre.record().result)
        assert theatre.stable_image() == old_or(GOOD, record.result)
        assert record.id not in theatre.templates[written:], write
        results[record.result] += 1
    assert set(results) == ({"rolled-back"} if nature else {"promoted", "rolled-back"})


def test_one_whose_every_attempt_is_killed_gets_there_in_the_end() -> None:
    theatre = Bot()
    for attempt in range(1, 60):
        process = theatre.process(f"attempt {attempt}")
        process.after_write = lambda number, _verb, _kind, it=process: it.die() if number == 9 else None
        try:
            process.release(GOOD)
        except Killed:
            continue
        break
    assert len(theatre.assert_outcome("promoted").holders) > 3


# Each wait matters: taken out, two are there at once.


def slow_to_end(live: Live) -> None:
    one_pod(live)
    live["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 10}}}


def twos() -> int:
    """How often two were there at once in a few releases."""
    found = 0
    for seed in range(1, 6):
        theatre = Bot(how=slow_to_end, seed=seed)
        theatre.process("first").release(GOOD)
        found += len(theatre.broken_rules)
    return found


def test_without_waiting_until_the_old_one_is_gone_two_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert twos() == 0
    monkeypatch.setattr(recreate, "_nobody", lambda *_: None)
    assert twos() == 0  # each write looks for itself
    monkeypatch.setattr(acts_recreate, "_nothing_runs", lambda _: lambda _: None)
    assert twos() > 0


def test_without_counting_pods_that_are_ending_two_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts_recreate, "may_run", lambda pod: "deletionTimestamp" not in pod["metadata"])
    made = Workload.__init__

    def blind(self: Workload, *more: Any, **named: Any) -> None:
        ending = len(named.get("ending", ()))
        made(self, *more, **{**named, "running": max(0, named.get("running", 0) - ending), "ending": ()})

    monkeypatch.setattr(Workload, "__init__", blind)
    assert twos() > 0


def several(live: Live) -> None:
    live["spec"]["replicas"] = 2


@pytest.mark.parametrize(
    ("how", "more", "sentence"),
    [(several, {}, "has 2 pods, and recreate is for what never runs twice"), (one_pod, {"hpa": True}, "scales Depl")],
)
def test_what_could_run_twice_by_itself_is_refused(how: Any, more: dict[str, Any], sentence: str) -> None:
    theatre = Bot(how=how, **more)
    process = theatre.process("first")
    with pytest.raises(Refused, match=sentence) as told:
        process.release(GOOD)
    assert "nothing was changed" in str(told.value)
    assert process.writes == 0
