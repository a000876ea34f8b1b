"""Blue-green on the simulated platform: forward, back from everywhere, and other hands in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core.action import Action
from onlyvips.core.plan import SmokeTest
from onlyvips.errors import Refused, Transient
from onlyvips.steps.rollout import Rollout
from tests.procedures.test_release_faults import Once
from tests.procedures.theatre_blue_green import BAD, GOOD, OLD, PLAN, Colours
from tests.simulators.platform import Version


@pytest.mark.parametrize("asleep", [False, True])
def test_a_good_version_gets_the_users_at_once_and_the_old_colour_goes_to_sleep(asleep: bool) -> None:
    theatre = Colours(asleep=asleep)
    theatre.process("first").release(GOOD)
    record = theatre.assert_outcome("promoted")
    assert theatre.selections == ["green"]
    assert record.tested == "8 smoke tests passed"
    assert [look.verdict for look in record.looks if look.elapsed][-1] == "pass"
    assert theatre.pods_of("blue") == []


def test_the_next_release_goes_to_the_colour_that_sleeps() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")
    theatre.process("second", run="run-2").release("v0.9.1")
    assert theatre.record().result == "promoted"
    theatre.assert_home("blue", "v0.9.1")
    assert theatre.image_of("green") == GOOD


@pytest.mark.parametrize("asleep", [False, True])
def test_a_bad_version_is_seen_in_the_warm_window_and_users_go_back_at_once(asleep: bool) -> None:
    theatre = Colours(asleep=asleep)
    theatre.process("first").release(BAD)
    record = theatre.assert_outcome("rolled-back")
    assert "api-errors" in record.reason
    assert theatre.selections == ["green", "blue"]
    failed = next(look for look in record.looks if look.verdict == "fail")
    back = next(step for step in record.steps if step.action == "switch to blue")
    assert back.intended - failed.at < 1.0, "the old colour was kept warm: nothing is waited for"


def test_a_version_that_fails_its_smoke_test_is_never_seen_by_a_user() -> None:
    theatre = Colours()
    theatre.platform.versions["v0.9.2"] = Version(page=(500, "database is down"))
    theatre.process("first").release("v0.9.2")
    record = theatre.assert_outcome("rolled-back")
    assert record.reason == "Smoke test of green: GET / was answered 500 and not 200: database is down /"
    assert theatre.selections == []
    assert "v0.9.2" not in theatre.platform.served


def test_a_page_without_what_it_must_contain_is_no_pass() -> None:
    theatre = Colours()
    theatre.platform.versions["v0.9.2"] = Version(page=(200, "<title>Under construction"))
    theatre.process("first").release("v0.9.2")
    assert "was answered without `<html>`" in theatre.assert_outcome("rolled-back").reason


def test_an_answer_that_did_not_come_from_the_preview_is_no_pass() -> None:
    """A gateway that never learns of the preview would send a smoke test to the old version, which passes it."""
    theatre = Colours()
    publish = theatre.platform._publish
    theatre.platform._publish = lambda what, value: None if what.startswith("route ") else publish(what, value)  # type: ignore[method-assign]
    theatre.process("first").release(GOOD)
    assert "not by way of HTTPRoute panel-preview" in theatre.assert_outcome("rolled-back").reason


def test_a_version_that_never_answers_its_smoke_test_goes_back_for_that_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theatre = Colours()

    def silent(*_: Any) -> Any:
        raise Transient("No answer within 10 s.")

    monkeypatch.setattr(theatre.platform, "get", silent)
    theatre.process("first").release(GOOD)
    assert "smoke tests of green got no answer, 5 times" in theatre.assert_outcome("rolled-back").reason


ABORTED_AT = [
    "snapshot",
    "back-up",
    "create-configs",
    "create-secrets",
    "bring-up",
    "smoke-test",
    "switch",
    "look",
    "move-scaler",
    "retire",
]


@pytest.mark.parametrize("kind", [*ABORTED_AT, "wait", "remove-leftovers"])
@pytest.mark.parametrize("asleep", [False, True])
def test_an_abort_leads_back_from_every_act(kind: str, asleep: bool) -> None:
    theatre = Colours(asleep=asleep)
    theatre.process("first").release(GOOD, Once(kind, theatre.abort))
    record = theatre.assert_outcome("rolled-back")
    assert record.reason == "Ada asked for an abort: looks odd"


def test_an_abort_after_the_old_colour_went_to_sleep_wakes_it_before_users_return() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD, Once("remove-leftovers", theatre.abort))
    record = theatre.assert_outcome("rolled-back")
    acts = [step.action for step in record.steps]
    assert acts.index("retire blue") < acts.index("scale stable to 4 pods") < acts.index("switch to blue")


def held_and_back(theatre: Colours, hand: Callable[[], None], at: str = "look") -> str:
    theatre.process("first").release(GOOD, Once(at, hand))
    record = theatre.assert_outcome("rolled-back")
    return record.reason


def test_a_selector_that_somebody_set_back_is_not_overwritten_and_at_the_maximum_hold_it_goes_back() -> None:
    theatre = Colours()
    reason = held_and_back(theatre, lambda: theatre.select_by_hand(version="blue"))
    assert reason == ("the Service selects blue and this release had left it at green; nobody put it right within 60 s")
    assert theatre.selections == ["green", "blue"]


def test_a_selector_that_was_put_right_goes_on() -> None:
    theatre = Colours()

    def hands() -> None:
        theatre.select_by_hand(version="blue")
        theatre.clock.after(20.0, lambda: theatre.select_by_hand(version="green"))

    theatre.process("first").release(GOOD, Once("look", hands))
    assert theatre.assert_outcome("promoted").result == "promoted"


def test_users_who_were_sent_to_a_colour_without_pods_are_fetched_back_at_once() -> None:
    theatre = Colours(asleep=True)
    began: list[float] = []

    def hand() -> None:
        began.append(theatre.clock.now())
        theatre.select_by_hand(version="green")

    theatre.process("first").release(GOOD, Once("back-up", hand))
    record = theatre.record()
    assert record.result == "rolled-back"
    assert "users are on" in record.reason
    assert theatre.selected() == "blue"
    back = next(step for step in record.steps if step.action == "switch to blue")
    assert back.intended - began[0] < 10.0


def test_a_selector_that_selects_nothing_more_is_put_back_as_it_was() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD, Once("look", lambda: theatre.select_by_hand(tier="gone")))
    record = theatre.record()
    assert record.result == "rolled-back"
    assert "the Service selects neither colour" in record.reason
    assert theatre.cluster.see("Service", "main-app")["spec"]["selector"] == {"app": "panel", "version": "blue"}  # type: ignore[index]


def test_a_template_that_somebody_changed_is_held() -> None:
    theatre = Colours()

    def hand() -> None:
        theatre.cluster.change(
            "Deployment",
            "panel-green",
            lambda it: it["spec"]["template"]["metadata"].update(annotations={"by": "hand"}),
        )

    theatre.process("first").release(GOOD, Once("smoke-test", hand))
    record = theatre.record()
    assert record.result == "rolled-back"
    assert "the pod template of green was changed by somebody else" in record.reason
    assert theatre.selections == []
    theatre.assert_home("blue", OLD)


def test_a_new_colour_that_loses_pods_in_the_warm_window_gives_the_users_back() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD, Once("look", lambda: theatre.platform.kill_pods("panel-green", 3)))
    record = theatre.record()
    assert record.result == "rolled-back"
    assert record.reason.startswith("only 1 of 4 pods of green, which users are on, are ready")
    assert theatre.selected() == "blue"


def test_an_old_colour_that_was_scaled_down_in_the_warm_window_is_kept_fit() -> None:
    theatre = Colours()
    shrink = Once("look", lambda: theatre.cluster.change("Deployment", "panel-blue", _to(1)))
    seen: list[str] = []

    def watch(rollout: Rollout, action: Action) -> None:
        shrink(rollout, action)
        seen.append(action.title)

    theatre.process("first").release(GOOD, watch)
    assert theatre.record().result == "promoted"
    assert "scale stable to 4 pods" in seen


def _to(replicas: int) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["spec"].update(replicas=replicas)


def test_a_colour_that_never_gets_ready_is_taken_away_and_no_user_saw_it() -> None:
    theatre = Colours()
    theatre.platform.nature.broken.add("ghcr.io/onlyvips/backend:v0.9.3")
    theatre.process("first").release("v0.9.3")
    record = theatre.assert_outcome("rolled-back")
    assert "0 of 4 pods of green are ready (ErrImagePull" in record.reason
    assert theatre.selections == []


def test_prometheus_away_for_the_whole_window_goes_back_inconclusive() -> None:
    theatre = Colours()
    theatre.process("first").release(GOOD, Once("switch", theatre.platform.metrics.prometheus_away))
    assert "inconclusive, no data" in theatre.assert_outcome("rolled-back").reason


def test_lost_answers_of_the_apiserver_change_nothing() -> None:
    theatre = Colours()
    theatre.cluster.every_answer_lost(7)
    theatre.process("first").release(GOOD)
    theatre.assert_outcome("promoted")


def refused(theatre: Colours, sentence: str) -> None:
    before = list(theatre.selections)
    with pytest.raises(Refused, match=sentence):
        theatre.process("first").release(GOOD)
    assert theatre.selections == before
    assert theatre.cluster.see("HTTPRoute", "panel-preview") is None


def test_what_blue_green_cannot_do_is_refused_before_anything_changes() -> None:
    setting = PLAN.blue_green
    assert setting is not None
    refused(Colours(replace(PLAN, blue_green=replace(setting, beside=("miniapp",)))), "together with miniapp")
    theatre = Colours()
    theatre._make("Deployment", "other", spec=theatre._spec("blue", OLD, 1))
    refused(theatre, "also selects the pods of other")
    theatre = Colours(asleep=True)
    theatre.cluster.change("Deployment", "panel-green", _to(2))
    refused(theatre, "panel-green has 2 pods that no user reaches")
    theatre = Colours()
    theatre.cluster.change("Service", "main-app", lambda it: it["spec"]["selector"].pop("version"))
    refused(theatre, "needs blue or green there")
    refused(Colours(replace(PLAN, service=replace(PLAN.service, route=None))), "has no `route`")
    theatre = Colours()
    theatre._make("Service", "panel-preview", spec={"selector": {"app": "x"}})
    refused(theatre, "panel-preview is there already")


def test_smoke_tests_are_asked_of_the_preview_alone() -> None:
    theatre = Colours(replace(PLAN, blue_green=replace(PLAN.blue_green, tests=(SmokeTest("/", contains="<html> /"),))))  # type: ignore[type-var]
    theatre.process("first").release(GOOD)
    assert theatre.assert_outcome("promoted").tested == "4 smoke tests passed"
