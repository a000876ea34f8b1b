"""A canary that keeps users to a version: its rules come and go with the weight, whatever dies, and lead to what is
ready alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from onlyvips.core import plan
from onlyvips.core.action import Action
from onlyvips.core.affinity import is_sticky
from onlyvips.errors import Refused
from onlyvips.ports import Manifest
from onlyvips.steps import records
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import BAD, GOOD, OLD, PLAN, Killed, Process, Theatre
from tests.simulators.crowd import TESTER

Moment = Literal["before", "after"]
SERVICE = replace(PLAN.service, sticky=True, testers=plan.Testers(*TESTER))
STICKY = replace(PLAN, service=SERVICE, stages=(plan.Stage(25, 10.0), plan.Stage(50, 10.0)))


def theatre() -> Theatre:
    """With a watch on every write of the route: what is beside the weighted rule leads to pods that are ready."""
    made = Theatre(STICKY)

    def check(kind: str, _before: Manifest | None, after: Manifest | None) -> None:
        if kind != "HTTPRoute" or after is None:
            return
        for rule in after["spec"]["rules"][3:]:
            target = rule["backendRefs"][0]["name"]
            if not made.ready("canary" if target.endswith("-canary") else "stable"):
                made.broken_rules.append(f"{rule['name']} leads to {target}, of which no pod is ready")

    made.cluster.watchers.append(check)
    return made


def beside(stage: Theatre) -> list[str]:
    """Names of the rules that a release has added."""
    return [rule["name"] for rule in stage.rules()[3:]]


KEPT = [f"backend-onlyvips-{what}" for what in ("testers", "canary", "stable")]


def tracks(stage: Theatre) -> dict[str, float]:
    """The share of users that hold a cookie, by the last part of its value."""
    found: dict[str, float] = {}
    for cookie, share in stage.platform.crowd.cookies.items():
        found[cookie.rpartition(".")[2]] = found.get(cookie.rpartition(".")[2], 0.0) + share
    return found


@pytest.mark.parametrize("version", [GOOD, BAD])
def test_users_are_drawn_once_a_stage_and_nothing_is_left_of_it(version: str) -> None:
    stage, seen = theatre(), dict[int, list[str]]()

    def look(_rollout: Rollout, _action: Action) -> None:
        if 0 < stage.weight() < 100 and stage.platform.view.rules == stage.rules():  # the router has heard of it
            seen[stage.weight()] = beside(stage)
            held = tracks(stage)
            assert held["canary"] == pytest.approx(stage.weight() / 100), held
            assert stage.platform.share("backend-canary") == pytest.approx(stage.weight() / 100, abs=0.011)

    stage.process("first").release(version, look)
    assert set(seen) <= {25, 50} and all(rules == KEPT for rules in seen.values()) and seen
    stage.assert_outcome("promoted" if version == GOOD else "rolled-back")


def killed_at(version: str, write: int, moment: Moment) -> Theatre | None:
    """The platform after the driver died at its write; None where that write is not there any more."""
    stage = theatre()
    process = stage.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    try:
        process.release(version)
        return None
    except Killed:
        return stage


def writes(version: str, kind: str = "") -> list[int]:
    """The numbers of a whole release's writes of ``kind``, or of all."""
    process, found = theatre().process("first"), list[int]()
    process.after_write = lambda number, _verb, what: found.append(number) if what == kind or not kind else None
    process.release(version)
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_dead_driver_leaves_no_rule_behind_when_nobody_comes(moment: Moment) -> None:
    with_rules = 0
    for write in writes(GOOD):
        stage = killed_at(GOOD, write, moment)
        assert stage is not None
        with_rules += bool(beside(stage))
        stage.process("reconciler").reconcile()
        if records.every(stage.cluster):
            stage.assert_outcome(stage.record().result)
        else:
            stage.assert_clean(OLD)
    assert with_rules > 5


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("version", [GOOD, BAD])
def test_a_driver_killed_at_the_route_is_followed_by_one_that_ends_as_it_would_have(
    version: str, moment: Moment
) -> None:
    for write in writes(version, "HTTPRoute"):
        stage = killed_at(version, write, moment)
        assert stage is not None
        stage.process("second").release(version)
        stage.assert_outcome("promoted" if version == GOOD else "rolled-back")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_abort_of_a_dead_release_sends_users_back_in_the_first_write(moment: Moment) -> None:
    for write in writes(GOOD, "HTTPRoute"):
        stage = killed_at(GOOD, write, moment)
        assert stage is not None
        found = records.find_open(stage.cluster, "backend")
        if found is None:
            continue
        stage.abort()
        stage.process("reconciler").reconcile()
        stage.assert_outcome("promoted" if found.phase == "evidence" else "rolled-back")


def at_look(process: Process, weight: int, act: Callable[[], None]) -> Callable[[Rollout, Action], None]:
    """``act`` once, when a look at this weight is due."""
    done = list[int]()

    def on(_rollout: Rollout, action: Action) -> None:
        if action.kind == "look" and process.theatre.weight() == weight and not done:
            done.append(weight)
            act()

    return on


def test_an_abort_leaves_no_user_with_the_canary() -> None:
    stage = theatre()
    process, writes_seen = stage.process("first"), list[tuple[int, list[str]]]()

    def seen(kind: str, _before: Manifest | None, _after: Manifest | None) -> None:
        if kind == "HTTPRoute":
            writes_seen.append((stage.weight(), beside(stage)))

    def abort() -> None:
        stage.cluster.watchers.append(seen)
        stage.abort()

    process.release(GOOD, at_look(process, 25, abort))
    assert writes_seen[0] == (0, [])
    stage.assert_outcome("rolled-back")


def test_where_stable_cannot_carry_all_an_abort_keeps_nobody_to_the_canary() -> None:
    stage = theatre()
    process, rules = stage.process("first"), list[tuple[int, list[str]]]()

    def seen(kind: str, _before: Manifest | None, _after: Manifest | None) -> None:
        if kind == "HTTPRoute":
            rules.append((stage.weight(), beside(stage)))

    def act() -> None:
        stage.platform.kill_pods("backend", 2)
        stage.cluster.watchers.append(seen)
        stage.abort()

    process.release(GOOD, at_look(process, 50, act))
    assert rules[0] == (50, []) and (0, []) in rules
    assert stage.record().result == "rolled-back"
    assert (stage.broken_rules, stage.leftovers(), stage.rules()) == ([], [], stage.route_before)


@pytest.mark.parametrize("hand", ["rule removed", "rule led elsewhere", "cookie removed"])
def test_a_hand_at_what_keeps_users_is_seen_held_and_taken_back(hand: str) -> None:
    stage = theatre()
    process = stage.process("first")

    def change(route: Manifest) -> None:
        rules = route["spec"]["rules"]
        if hand == "rule removed":
            rules.pop()
        elif hand == "rule led elsewhere":
            rules[-1]["backendRefs"][0]["name"] = "backend-canary"
        else:
            del rules[1]["backendRefs"][0]["filters"]

    process.release(GOOD, at_look(process, 25, lambda: stage.cluster.change("HTTPRoute", "onlyvips", change)))
    record = stage.assert_outcome("rolled-back")
    assert "what keeps users to a version in the route" in record.reason
    assert "nobody put it right within 60 s" in record.reason


def test_rules_that_a_hand_left_at_weight_0_go_before_the_canary_does() -> None:
    """Else users with a cookie would be sent to pods that are gone."""
    stage = theatre()
    process = stage.process("first")

    def zero(route: Manifest) -> None:
        for entry in route["spec"]["rules"][1]["backendRefs"]:
            entry["weight"] = 0 if entry["name"].endswith("-canary") else 100

    def act() -> None:
        stage.cluster.change("HTTPRoute", "onlyvips", zero)
        stage.abort()

    process.release(GOOD, at_look(process, 25, act))
    stage.assert_outcome("rolled-back")


def refusing(route: Manifest) -> None:
    """A gateway that cannot match by regular expression says so."""
    condition = {
        "type": "Accepted",
        "status": "False",
        "reason": "UnsupportedValue",
        "message": "no regular\nexpression",
    }
    conditions = [{"type": "ResolvedRefs", "status": "False"}, {**condition, "observedGeneration": 999}]
    route["status"] = {"parents": [{"controllerName": "example.com/gateway", "conditions": conditions}]}


def test_a_gateway_that_does_not_take_the_rules_ends_it_and_stands_against_the_next_one() -> None:
    stage = theatre()
    process = stage.process("first")
    process.release(GOOD, at_look(process, 25, lambda: stage.cluster.change("HTTPRoute", "onlyvips", refusing)))
    record = stage.assert_outcome("rolled-back")
    assert record.reason.endswith("example.com/gateway says UnsupportedValue: no regular expression")
    with pytest.raises(Refused, match="HTTPRoute onlyvips is not taken as it is .*: nothing was changed"):
        stage.process("second", "run-2").release(GOOD)


def test_users_are_drawn_anew_when_pods_of_the_canary_are_gone_for_good() -> None:
    stage = theatre()
    process, weights = stage.process("first"), list[tuple[int, int]]()
    stage.cluster.watchers.append(
        lambda kind, _before, _after: (
            weights.append((stage.weight(), len(beside(stage)))) if kind == "HTTPRoute" else None
        )
    )
    process.release(GOOD, at_look(process, 50, lambda: stage.platform.kill_pods("backend-canary", 9)))
    assert (0, 0) in weights[weights.index((50, 3)) :]  # none of them ready: nobody is led there
    assert stage.record().result in ("promoted", "rolled-back")
    assert (stage.broken_rules, stage.leftovers()) == ([], [])
    assert stage.rules() == stage.route_before


def test_a_route_that_could_keep_nobody_is_refused_before_anything_changes() -> None:
    stage = theatre()
    mine = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "X", "value": "1"}]}}
    stage.cluster.change(
        "HTTPRoute", "onlyvips", lambda route: route["spec"]["rules"][1]["backendRefs"][0].update(filters=[mine])
    )
    with pytest.raises(Refused, match="a ResponseHeaderModifier at backend, .* to the rule: nothing was"):
        stage.process("first").release(GOOD)
    assert not records.every(stage.cluster)


def test_no_cookie_rule_is_made_for_a_service_that_keeps_nobody() -> None:
    stage = Theatre(replace(STICKY, service=PLAN.service))
    process = stage.process("first")
    process.release(GOOD, at_look(process, 25, lambda: assert_plain(stage)))
    stage.assert_outcome("promoted")


def assert_plain(stage: Theatre) -> None:
    """The route has weights alone."""
    assert len(stage.rules()) == 3
    assert not any(is_sticky(rule, "backend") for rule in stage.rules())
