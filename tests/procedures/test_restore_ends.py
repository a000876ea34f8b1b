"""How a restore ends that a person interrupts, and one whose last answer is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from flows.commands import run
from onlyvips.core.changes import Drop, Write
from onlyvips.core.restore import MARKER
from onlyvips.errors import Transient
from onlyvips.steps.several import Stopped
from onlyvips.wiring import restores
from onlyvips.wiring.restores import Asked
from onlyvips.wiring.restoring.kind import Kind
from tests.procedures.test_restore import World
from tests.procedures.test_restore_command import HERE, serving, world
from tests.procedures.test_restore_reading import interrupted
from tests.simulators.target import SimulatedTarget, state

__all__ = ["world"]


def test_an_interrupt_ends_a_restore_at_the_next_bytes_that_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), list[str]()

    def work(asked: Asked, tell: Any) -> Any:
        begun.set()
        try:
            while True:
                tell("restoring", 1)
                time.sleep(0.01)
        except Stopped:
            ended.append("it heard")
            raise

    monkeypatch.setitem(restores.BUILT, "mongodb", Kind(lambda _: None, lambda _: pytest.fail("no plan"), work))
    pressing = interrupted(begun)
    with pytest.raises(KeyboardInterrupt):
        restores.run(Asked("lab", "mongodb", "latest", "env:X"), lambda doing, size: None)
    pressing.join()
    assert ended == ["it heard"]


def test_who_interrupts_a_restore_is_told_that_the_same_command_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serving(monkeypatch, SimulatedTarget())

    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(restores, "carry_out", pressed)
    assert run(["restore", "run", *HERE]) == 130
    assert "the same command, run again, goes on where this one was" in capsys.readouterr().err


class Silent(SimulatedTarget):
    """Its answer to the drop of the marker is lost; ``done``: what was asked is done all the same."""

    done = True

    def apply(self, writes: Sequence[Write]) -> None:
        last = any(isinstance(one, Drop) and one.namespace.endswith(MARKER) for one in writes)
        if self.done or not last:
            super().apply(writes)
        if last:
            raise Transient("The database went away.")


def test_the_end_of_a_restore_whose_answer_alone_is_lost_is_an_end():
    world, target = World(slices=1), Silent()
    world.restore(target)
    assert state(target, "app.orders") == world.writer.documents
    other = Silent()
    other.done = False
    with pytest.raises(Transient):
        world.restore(other)
