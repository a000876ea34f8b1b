"""A Deployment without ``track`` is adopted on the simulated platform, under traffic, killed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from onlyvips.core import adoption as core
from onlyvips.errors import Permanent, Refused
from onlyvips.ports import Manifest
from onlyvips.steps import adoption
from onlyvips.steps.fence import Fence
from tests.procedures.in_place import MOMENTS, Moment
from tests.procedures.theatre import CAPACITY, GOOD, OLD, PLAN, Killed, Process, Theatre
from tests.simulators.controllers import ready


class Untracked(Theatre):
    """``backend`` as people deploy it: selected by ``app`` alone. Its pods have no preStop."""

    def _furnish(self, hpa: bool) -> None:
        put = self._make

        def make(kind: str, name: str, labels: dict[str, str] | None = None, **content: Any) -> None:
            spec = content.get("spec", {})
            if kind == "Deployment":
                del spec["selector"]["matchLabels"]["track"]  # the Service has the same one
                del spec["template"]["metadata"]["labels"]["track"]
            put(kind, name, labels, **content)

        self._make = make  # type: ignore[method-assign]
        super()._furnish(hpa)

    def _check(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        up = [pod for pod in self.cluster.all("Pod", {}) if ready(pod)]
        if len(up) < CAPACITY:
            self.broken_rules.append(f"only {len(up)} pods are ready")

    def front(self) -> dict[str, str]:
        """What the Service selects."""
        found = self.cluster.get("Service", "backend")
        assert found is not None
        selector: dict[str, str] = found["spec"]["selector"]
        return selector

    def assert_adopted(self) -> None:
        """Everything has ``track: stable``, nothing is left over, nothing was lost."""
        self._assert_whole({"app": "backend", "track": "stable"})

    def assert_as_it_was(self) -> None:
        """Nothing has ``track``."""
        self._assert_whole({"app": "backend"})

    def _assert_whole(self, selector: dict[str, str]) -> None:
        self.settle(40.0)
        assert self.platform.lost_requests == 0, self.platform.lost[:5]
        assert self.broken_rules == []
        found = self.cluster.get("Deployment", "backend")
        assert found is not None
        assert found["spec"]["selector"]["matchLabels"] == self.front() == selector
        assert {**selector, "version": OLD} == found["spec"]["template"]["metadata"]["labels"]
        assert self.cluster.see("Deployment", "backend-twin") is None
        assert len([pod for pod in self.cluster.all("Pod", selector) if ready(pod)]) == CAPACITY
        assert len(list(self.cluster.all("Pod", {}))) == CAPACITY
        assert self.minimum() == 2


def adopt(process: Process, *, back: bool = False, hear: Callable[[str], None] = lambda _: None) -> list[str]:
    """What the command does; returns what it told, which ``hear`` hears as it is told."""
    adoption.check(process, process.site.plan)
    epoch, told = process.lease.acquire(process.holder), list[str]()

    def tell(line: str) -> None:
        told.append(line)
        hear(line)

    try:
        fence = Fence(process, "backend", epoch, process.lease.progress)
        adoption.Adoption(process, process.site.clock, process.site.plan, fence).run(tell, back=back)
    finally:
        if process.alive:
            process.lease.release()
    return told


def killed_at(write: int, moment: Moment, seed: int = 1) -> Untracked:
    """Whoever adopted died ``moment`` its ``write``."""
    theatre = Untracked(seed=seed)
    process = theatre.process("first")

    def die(number: int, _verb: str, _kind: str) -> None:
        if number == write:
            process.die()

    setattr(process, "at_write" if moment == "before" else "after_write", die)
    with pytest.raises(Killed):
        adopt(process)
    return theatre


def writes() -> int:
    process = Untracked().process("first")
    adopt(process)
    return process.writes


def test_it_gets_its_track_under_traffic_and_nothing_is_lost() -> None:
    for seed in range(1, 7):
        theatre = Untracked(seed=seed)
        told = adopt(theatre.process("first"))
        theatre.assert_adopted()
        steps = [each.partition(":")[0] for each in told if not each.startswith("waiting")]
        order = ["create twin", "select twin", "remove old", "create stable", "select stable", "remove twin", "let go"]
        assert steps[:-1] == order


def test_what_was_adopted_can_get_a_canary() -> None:
    theatre = Untracked()
    with pytest.raises(Refused, match="adopt the Deployment once"):
        theatre.process("before").release(GOOD)
    adopt(theatre.process("first"))
    theatre.process("second", run="run-2").release(GOOD)
    assert theatre.record().result == "promoted"
    theatre.settle()
    assert theatre.platform.lost_requests == 0


def test_adopted_already_it_changes_nothing() -> None:
    theatre = Untracked()
    adopt(theatre.process("first"))
    again = theatre.process("second")
    assert adopt(again) == ["the Deployment and its Service have `track: stable`"]
    assert again.written == [("patch", "Lease"), ("patch", "Lease")]
    theatre.assert_adopted()


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_write_users_are_served_and_run_again_it_arrives(moment: Moment) -> None:
    for write in range(1, writes() + 1):
        theatre = killed_at(write, moment)
        theatre.settle(120.0)  # nobody comes
        assert theatre.platform.lost_requests == 0 and theatre.broken_rules == [], write
        adopt(theatre.process("second"))
        theatre.assert_adopted()


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_write_it_goes_back_while_the_old_one_is_there_and_else_to_the_end(moment: Moment) -> None:
    ends = set()
    for write in range(1, writes() + 1):
        theatre = killed_at(write, moment)
        adopt(theatre.process("second"), back=True)
        adopted = "track" in theatre.front()
        theatre.assert_adopted() if adopted else theatre.assert_as_it_was()
        ends.add(adopted)
    assert ends == {True, False}


def test_a_twin_that_does_not_get_ready_leaves_users_where_they_are() -> None:
    theatre = Untracked()
    theatre.platform.nature.unready.add(f"{PLAN.service.image}:{OLD}")
    with pytest.raises(Permanent, match="0 of 4 pods of twin are ready"):
        adopt(theatre.process("first"))
    assert theatre.front() == {"app": "backend"}
    theatre.platform.nature.unready.clear()
    adopt(theatre.process("second"), back=True)
    theatre.assert_as_it_was()


def lost() -> float:
    found = 0.0
    for seed in range(1, 5):
        theatre = Untracked(seed=seed)
        with suppress(Permanent):
            adopt(theatre.process("first"))
        theatre.settle(40.0)
        found += theatre.platform.lost_requests + len(theatre.broken_rules)
    return found


@pytest.mark.parametrize("wait", ["_router", "_unseen"])
def test_each_wait_matters(wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost() == 0
    monkeypatch.setattr(core, wait, lambda *_: None)
    assert lost() > 0


def owned(live: Manifest) -> None:
    live["metadata"]["ownerReferences"] = [{"kind": "Rollout", "name": "argo"}]


def paused(live: Manifest) -> None:
    live["spec"]["paused"] = True


def none(live: Manifest) -> None:
    live["spec"]["replicas"] = 0


@pytest.mark.parametrize(
    ("how", "sentence"),
    [(owned, "is made by Rollout argo"), (paused, "is paused"), (none, "is scaled to 0")],
)
def test_what_cannot_be_adopted_is_refused_by_name(how: Callable[[Manifest], None], sentence: str) -> None:
    theatre = Untracked()
    theatre.cluster.change("Deployment", "backend", how)
    process = theatre.process("first")
    with pytest.raises(Refused, match=sentence) as told:
        adopt(process)
    assert "nothing was changed" in str(told.value) and process.writes == 0


def test_an_open_release_and_a_service_without_traffic_are_refused() -> None:
    theatre = Untracked()
    process = theatre.process("first")
    with pytest.raises(Refused, match="it needs no adoption"):
        adoption.check(process, replace(PLAN, service=replace(PLAN.service, service="")))
    other = Theatre()
    driver = other.process("driver")

    def ask(number: int, verb: str, kind: str) -> None:
        if number == 12:
            with pytest.raises(Refused, match="is open"):
                adoption.check(other.process("second"), PLAN)
            driver.die()

    driver.at_write = ask
    with pytest.raises(Killed):
        driver.release(GOOD)
