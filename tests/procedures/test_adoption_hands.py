"""What people, autoscalers and overtaken processes do in the middle of an adoption: nothing that serves is removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onlyvips.errors import Fenced, Permanent, Refused
from onlyvips.ports import Manifest
from onlyvips.steps import preflight
from tests.procedures.in_place import ROLLING, Rolling
from tests.procedures.test_adoption import Untracked, adopt
from tests.procedures.theatre import CAPACITY, GOOD, OLD, PLAN, Killed, Theatre
from tests.simulators.controllers import ready

IMAGE = f"{PLAN.service.image}:{OLD}"


def once(starts: str, act: Callable[[], Any], where: Callable[[], bool] = lambda: True) -> Callable[[str], None]:
    """Does ``act`` the first time that a line which ``starts`` so is told, at a moment that ``where`` says."""
    done: list[str] = []

    def hear(line: str) -> None:
        if line.startswith(starts) and not done and where():
            done.append(line)
            act()

    return hear


def hotfix(theatre: Theatre) -> Callable[[], None]:
    """Somebody gives the Deployment another environment variable."""

    def change(live: Manifest) -> None:
        live["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "HOTFIX", "value": "1"}]

    return lambda: theatre.cluster.change("Deployment", "backend", change)


def outage(theatre: Theatre, deployment: str) -> Callable[[], None]:
    """The pods of a Deployment end, and the new ones do not get ready."""

    def fall() -> None:
        theatre.platform.nature.unready.add(IMAGE)
        theatre.platform.kill_pods(deployment, CAPACITY)

    return fall


def repair(theatre: Theatre) -> None:
    """Pods get ready again."""
    theatre.platform.nature.unready.clear()
    for pod in [each for each in theatre.cluster.all("Pod", {}) if not ready(each)]:
        theatre.platform.controllers.terminate(pod["metadata"]["name"])


def left_at(line: str) -> Untracked:
    """Whoever adopted died before the act that ``line`` tells."""
    theatre = Untracked()
    process = theatre.process("first")
    with pytest.raises(Killed):
        adopt(process, hear=once(line, process.die))
    return theatre


def on_track(theatre: Untracked, track: str) -> Callable[[], bool]:
    return lambda: theatre.front().get("track", "") == track


@pytest.mark.parametrize(("line", "track"), [("select twin", ""), ("remove old", "twin")])
def test_a_hotfix_of_the_old_one_is_not_lost(line: str, track: str) -> None:
    theatre = Untracked()
    with pytest.raises(Permanent, match="backend was changed since its twin was made: nothing was removed"):
        adopt(theatre.process("first"), hear=once(line, hotfix(theatre)))
    assert theatre.front().get("track", "") == track
    theatre.settle(60.0)
    adopt(theatre.process("second"), back=True)
    adopt(theatre.process("third"))
    (container,) = theatre.cluster.see("Deployment", "backend")["spec"]["template"]["spec"]["containers"]  # type: ignore[index]
    assert container["env"] == [{"name": "HOTFIX", "value": "1"}]
    assert theatre.front() == {"app": "backend", "track": "stable"}


def test_the_old_one_stays_while_the_twin_that_serves_is_not_ready() -> None:
    theatre = Untracked()
    hear = once("waiting", outage(theatre, "backend-twin"), on_track(theatre, "twin"))
    with pytest.raises(Permanent, match="0 of 4 pods of twin are ready"):
        adopt(theatre.process("first"), hear=hear)
    assert theatre.cluster.see("Deployment", "backend") is not None


def test_the_twin_stays_while_the_new_one_that_serves_is_not_ready() -> None:
    theatre = Untracked()
    hear = once("waiting", outage(theatre, "backend"), on_track(theatre, "stable"))
    with pytest.raises(Permanent, match="0 of 4 pods of stable are ready"):
        adopt(theatre.process("first"), hear=hear)
    assert theatre.cluster.see("Deployment", "backend-twin") is not None


def test_going_back_the_twin_stays_while_the_old_one_itself_is_not_ready() -> None:
    theatre = left_at("remove old")
    with pytest.raises(Permanent, match="0 pods of the old Deployment are ready"):
        adopt(theatre.process("second"), back=True, hear=once("select all", outage(theatre, "backend")))
    assert theatre.cluster.see("Deployment", "backend-twin") is not None
    repair(theatre)
    adopt(theatre.process("third"), back=True)
    theatre.assert_as_it_was()


def test_a_process_that_was_overtaken_while_it_slept_removes_nothing() -> None:
    theatre = Untracked()
    zombie = theatre.process("zombie")

    def sleep(_: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("delete", "Deployment") and not zombie.frozen:
            zombie.frozen = True
            adopt(theatre.process("second"), back=True)

    zombie.at_write = sleep
    with pytest.raises(Fenced):
        adopt(zombie)
    assert zombie.frozen
    theatre.assert_as_it_was()


@pytest.mark.parametrize("line", ["waiting", "select twin"])
def test_the_twin_gets_as_many_pods_as_the_old_one_has_by_then(line: str) -> None:
    theatre = Untracked()
    ups: list[tuple[int, int]] = []

    def scale() -> None:
        theatre.cluster.change("Deployment", "backend", lambda live: live["spec"].update(replicas=6))

    def watch(kind: str, _: Manifest | None, after: Manifest | None) -> None:
        if kind == "Deployment" and after is None:
            up = [pod for pod in theatre.cluster.all("Pod", theatre.front()) if ready(pod)]
            ups.append((len(up), theatre.minimum()))

    theatre.cluster.watchers.append(watch)
    adopt(theatre.process("first"), hear=once(line, scale))
    theatre.settle(40.0)
    assert ups == [(6, 6), (6, 6)]
    assert theatre.platform.lost_requests == 0 and theatre.broken_rules == [] and theatre.minimum() == 2
    assert len(list(theatre.cluster.all("Pod", {}))) == 6


def test_an_act_that_changes_nothing_is_not_hammered() -> None:
    theatre = left_at("select twin")
    twin = theatre.cluster.get("Deployment", "backend-twin")
    assert twin is not None
    twin["metadata"]["deletionTimestamp"] = theatre.cluster.timestamp()  # a finalizer holds it
    theatre.cluster.put(twin)
    theatre.clock.after(40.0, lambda: theatre.cluster.drop("Deployment", "backend-twin"))
    process = theatre.process("second")
    told = adopt(process)
    theatre.assert_adopted()
    assert process.writes < 60 and len([each for each in told if each.startswith("create twin")]) == 1


@pytest.mark.parametrize("back", [False, True])
def test_a_selector_that_a_person_set_is_left_alone_and_told(back: bool) -> None:
    theatre = left_at("select twin" if not back else "remove old")
    theirs = {"app": "backend", "track": "maintenance"}
    theatre.cluster.change("Service", "backend", lambda live: live["spec"].update(selector=theirs))
    with pytest.raises(Permanent, match=r"selects app: backend, track: maintenance, .* it was left alone"):
        adopt(theatre.process("second"), back=back)
    assert theatre.front() == theirs
    assert theatre.cluster.see("Deployment", "backend-twin") and theatre.cluster.see("Deployment", "backend")


def test_a_twin_of_somebody_else_is_not_written_to() -> None:
    theatre = Untracked()
    other = theatre.cluster.get("Deployment", "backend")
    assert other is not None
    other["metadata"]["name"] = "backend-twin"
    theatre.cluster.create(other)
    process = theatre.process("first")
    with pytest.raises(Permanent, match="was not made by an adoption"):
        adopt(process)
    assert ("patch", "Deployment") not in process.written and ("patch", "Service") not in process.written


def test_no_rolling_release_begins_while_an_adoption_is_on_its_way() -> None:
    theatre = left_at("remove old")
    with pytest.raises(Refused, match="an adoption is on its way: nothing was changed; run `onlyvips release adopt"):
        preflight.check_platform(theatre.cluster, ROLLING, GOOD)


@pytest.mark.parametrize(
    ("selector", "sentence"),
    [
        ({"app": "other"}, "does not select the pods of Deployment backend"),
        ({"app": "backend", "version": OLD}, "it would lose the pods of the next one"),
    ],
)
def test_a_rolling_release_is_refused_where_the_service_would_not_follow(selector: Manifest, sentence: str) -> None:
    theatre = Rolling()
    preflight.check_platform(theatre.cluster, ROLLING, GOOD)
    theatre.cluster.change("Service", "backend", lambda live: live["spec"].update(selector=selector))
    with pytest.raises(Refused, match=sentence):
        preflight.check_platform(theatre.cluster, ROLLING, GOOD)
