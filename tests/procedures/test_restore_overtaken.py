"""Two runs of one restore into one target: the one that was overtaken stops, and the state is that of the moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from onlyvips.core.changes import Create, Write
from onlyvips.core.manifest import moment
from onlyvips.core.restore import MARKER, RestorePlan
from onlyvips.core.swap import shadowed
from onlyvips.errors import Fenced, Refused
from onlyvips.steps.marker import Claim, begin
from tests.procedures.test_restore import World
from tests.simulators.target import SimulatedTarget, state


class Paused(SimulatedTarget):
    """Before its call number ``at`` of what it ``counts`` (looks at the marker, or writes) its caller sleeps, and
    ``meanwhile`` happens."""

    def __init__(self, counts: str, at: int = 0) -> None:
        super().__init__()
        self.counts, self.at, self.calls, self.after = counts, at, 0, 0
        self.meanwhile: Callable[[], object] = lambda: None

    def _call(self, what: str) -> None:
        if what == "write" and self.at and self.calls >= self.at:
            self.after += 1
        if what == self.counts:
            self.calls += 1
            if self.calls == self.at:
                self.meanwhile()
                self.after = 1 if what == "write" else 0

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[Sequence[bytes]]:
        if ids is not None and namespace.endswith(f".{MARKER}"):
            self._call("look")
        return super().documents(namespace, ids)

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        self._call("write")
        return super().insert(namespace, documents)

    def apply(self, writes: Sequence[Write]) -> None:
        self._call("write")
        super().apply(writes)


def planned(world: World, live: bool) -> RestorePlan:
    plan = world.plan(moment(world.writer.at - 1))
    return shadowed(plan, ("app.*",)) if live else plan


def prepared(target: Paused, live: bool) -> Paused:
    if live:
        SimulatedTarget.apply(target, [Create("app.orders")])
    return target


@pytest.mark.parametrize("live", [False, True], ids=["elsewhere", "live"])
def test_a_run_that_wakes_up_after_another_one_ended_the_restore_stops_before_its_next_write(
    live: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world = World(slices=1)
    plan = planned(world, live)
    world.restore(alone := prepared(Paused("look"), live), plan)
    assert alone.calls > 15
    for at in range(1, alone.calls + 1):
        target = prepared(Paused("look", at), live)
        target.meanwhile = lambda target=target: world.restore(target, plan)
        with pytest.raises(Fenced, match=r"This run was overtaken.*nothing of what it did is lost"):
            world.restore(target, plan)
        assert target.after == 0
        assert (target.data, target.indexes) == (alone.data, alone.indexes), at
    assert state(alone, "app.orders") == world.writer.states[world.writer.at - 1]


def test_of_what_was_sent_already_one_write_arrives_and_then_the_run_stops(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world = World(slices=1)
    plan = planned(world, live=False)
    world.restore(alone := Paused("write"), plan)
    for at in range(3, alone.calls):
        target = Paused("write", at)
        target.meanwhile = lambda target=target: world.restore(target, plan)
        with pytest.raises(Fenced):
            world.restore(target, plan)
        assert target.after == 1, at


def test_a_run_that_begins_as_another_one_ends_is_refused_and_leaves_nothing():
    world = World(slices=1)
    plan = planned(world, live=False)
    world.restore(alone := SimulatedTarget(), plan)
    target = Paused("write", 1)
    target.meanwhile = lambda: world.restore(target, plan)
    with pytest.raises(Refused, match="already has"):
        world.restore(target, plan)
    assert target.data == alone.data


def test_a_run_that_is_overtaken_while_it_lives_says_by_whom(monkeypatch: pytest.MonkeyPatch):
    world = World(slices=1)
    plan = planned(world, live=False)
    target = Paused("look", 9)

    def overtaken() -> None:
        begin(plan, target, Claim(by="process 7 on there", since="2026-08-01T12:00:00Z"))

    target.meanwhile = overtaken
    with pytest.raises(Fenced, match="process 7 on there, since 2026-08-01T12:00:00Z, goes on with the restore"):
        world.restore(target, plan)
    assert MARKER in target.collections("app")
    assert world.restore(target, plan).resumed
