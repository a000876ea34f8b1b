"""No space left, before and in the middle of a restore: by the command, and what a real full disk makes of it."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest

from flows.commands import run
from onlyvips.core.backup_report import size
from onlyvips.core.drills import Drills
from onlyvips.core.restore_space import packed, unpacked
from onlyvips.wiring.restoring import mongodb
from tests.procedures import test_restore_command as command
from tests.procedures.test_restore import Source, World
from tests.procedures.test_restore_command import HERE, serving
from tests.simulators.target import SimulatedTarget, state

world = command.world
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def packs_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whose documents are much larger than their backup."""
    documents = Source.documents

    def larger(self: Source, namespace: Any, where: Any = None) -> Any:
        if namespace.collection == "users":
            yield b"".join(bson.encode({"_id": id, "n": n, "x": bytes(20_000)}) for n, id in enumerate("uv"))
            return
        yield from documents(self, namespace, where)

    monkeypatch.setattr(Source, "documents", larger)


@pytest.mark.parametrize(
    ("free", "told"),
    [(None, "does not say how much its disk has free"), (-1, "fits only where the server packs"), (0, "")],
)
def test_a_plan_says_how_large_the_documents_are_and_warns_where_the_disk_has_less(
    world: World, capsys: Capture, monkeypatch: pytest.MonkeyPatch, free: int | None, told: str
) -> None:
    target, plan = serving(monkeypatch, SimulatedTarget()), world.plan()
    whole = sum(one.bytes for each in plan.archives for one in each.record.namespaces)
    target.free = None if free is None else whole + free
    assert run(["restore", "plan", *HERE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unpacked"] == whole == unpacked(plan) > packed(plan)
    notes = [one for one in found["notes"] if " of documents, and their indexes" in one]
    assert [told in one for one in notes] == ([True] if told else [])
    assert run(["restore", "plan", *HERE, "--json", "--namespace", "app.orders=rescue.lost"]) == 0
    assert json.loads(capsys.readouterr().out)["unpacked"] < 1000


def test_what_cannot_fit_even_packed_is_refused_by_plan_and_run_and_nothing_is_written(
    world: World, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget())
    target.free = packed(world.plan()) - 1
    for verb in ("plan", "run"):
        assert run(["restore", verb, *HERE]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "packed: nothing was changed. Give a target with more space, or bring back fewer collections" in told
    assert target.life.writes == 0
    target.free += 1
    assert run(["restore", "run", *HERE]) == 0


def test_a_target_that_is_full_in_the_middle_is_told_as_that_and_run_again_with_room_it_goes_on(
    world: World, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = serving(monkeypatch, SimulatedTarget())
    target.full = "app.orders"  # the oplog finds no room
    assert run(["restore", "run", *HERE]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "The disk is full, so it could not write app.orders" in told
    assert "Of the base 2 collections are there and compared: a run with the same options goes on from there." in told
    target.full = ""
    assert run(["restore", "run", *HERE]) == 0
    assert "An earlier run had begun it." in capsys.readouterr().out
    assert state(target, "app.orders") == world.writer.documents and state(target, "app.users").keys() == {"u", "v"}


def test_where_no_drill_has_measured_it_the_last_restore_says_how_long_it_takes(
    world: World, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb.drill_records, "records", lambda *_: Drills())
    for told in (
        "not known: none of this kind was restored or rehearsed yet",
        f"the last one of {size(_read(world))} took",
    ):
        serving(monkeypatch, SimulatedTarget())
        assert run(["restore", "plan", *HERE]) == 0
        assert f"how long: {told}" in capsys.readouterr().out
        assert run(["restore", "run", *HERE]) == 0
        capsys.readouterr()


def _read(world: World) -> int:
    return world.plan().size
