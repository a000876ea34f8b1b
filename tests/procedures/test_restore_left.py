"""What a restore that died has left: only that is done by the same command, or it is said how to get out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bson
import pytest

from flows.commands import run
from onlyvips.core.changes import Drop, Put
from onlyvips.core.replay import id_of
from onlyvips.core.restore import MARKER
from onlyvips.core.swap import SHADOW
from onlyvips.errors import Refused
from onlyvips.steps.marker import look
from onlyvips.wiring import restores
from tests.procedures.test_restore import World
from tests.procedures.test_restore_command import Live, live, there, world  # noqa: F401 - fixtures
from tests.procedures.test_restore_live import live as target_of
from tests.procedures.test_restore_live import planned
from tests.simulators.objects import Killed, Life
from tests.simulators.target import SimulatedTarget, state

NEW = bson.encode({"_id": "written since", "n": 1})


def write(found: Live) -> None:
    found.target.apply([Put("app.orders", id_of(NEW), NEW)])


@pytest.mark.parametrize("step", ["keep", "flush_cache", "new_base", "finish"])
def test_killed_in_what_comes_after_the_same_command_does_only_what_was_left(
    live: Live,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
) -> None:
    real = getattr(restores, step)

    def dies(*given: Any) -> Any:
        if step == "keep" and len(given) < 5:
            return real(*given)  # what begins
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(restores, step, dies)
        with pytest.raises(Killed):
            run(["restore", "run", *there(live), "--overwrite", "app.*"])
    write(live)
    live.done.clear()
    assert run(["restore", "plan", *there(live)]) == 0
    assert "restored by an earlier run already" in capsys.readouterr().out
    assert run(["restore", "run", *there(live)]) == 0
    assert "nothing was restored again" in capsys.readouterr().out
    assert live.done == ["flush", "new base"]
    assert "written since" in state(live.target, "app.orders") and MARKER not in live.target.collections("app")
    assert run(["restore", "run", *there(live)]) == 2, "once more is another restore, which names what goes"


def test_what_came_after_and_failed_is_done_by_the_same_command_and_nothing_is_restored_again(
    live: Live,  # noqa: F811
) -> None:
    live.fails = "new base"
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 1
    write(live)
    live.fails = ""
    live.done.clear()
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 0
    assert live.done == ["flush", "new base"] and "written since" in state(live.target, "app.orders")


def test_of_a_restore_whose_base_is_gone_it_is_said_what_to_drop_and_then_another_one_goes():
    scene, target = World(), target_of()
    plan = planned(scene, scene.first + 4, "app.*")
    other = replace(plan, base=replace(plan.base, id="20260801T110000Z-bbbbbbbb"))
    target.life = Life(14)
    with pytest.raises(Killed):
        scene.restore(target, plan)
    target.life = Life()
    names = [f"app.{SHADOW}orders", f"app.{SHADOW}users", f"app.{MARKER}"]
    with pytest.raises(Refused, match=f"drop by hand {names[0]}, {names[1]}, and {names[2]}. Nothing was changed"):
        scene.restore(target, other)
    target.apply([Drop(one) for one in names])
    assert not scene.restore(target, other).resumed


def test_of_a_restore_in_its_swap_whose_base_is_gone_it_is_said_what_to_rename():
    scene, target = World(), target_of()
    plan = planned(scene, scene.first + 4, "app.*")
    before = target.life.writes
    scene.restore(target, plan)
    writes, target = target.life.writes - before, target_of()
    target.life = Life(writes - 2)  # of: one rename, the note that all is there, the end
    with pytest.raises(Killed):
        scene.restore(target, plan)
    target.life = Life()
    told = f"rename by hand, with dropTarget, app.{SHADOW}users to app.users: they are whole; then drop app.{MARKER}"
    with pytest.raises(Refused, match=told):
        scene.restore(target, replace(plan, base=replace(plan.base, id="20260801T110000Z-bbbbbbbb")))


def test_elsewhere_nothing_is_told_to_be_dropped_that_the_restore_did_not_write():
    scene, target = World(), target_of()
    plan = scene.plan("latest", "app.orders=app.rescued")
    target.life = Life(6)
    with pytest.raises(Killed):
        scene.restore(target, plan)
    target.life = Life()
    with pytest.raises(Refused, match=f"drop by hand app.rescued, and app.{MARKER}. Nothing"):
        scene.restore(target, scene.plan("latest", "app.users=app.others"))


def test_what_an_earlier_run_loaded_and_somebody_changed_before_the_replay_is_loaded_anew():
    scene = World(slices=1)
    plan = scene.plan()
    scene.restore(whole := SimulatedTarget(), plan)
    changed = 0
    for death in range(4, whole.life.writes):
        target = SimulatedTarget(Life(death))
        with pytest.raises(Killed):
            scene.restore(target, plan)
        target.life = Life()
        marker = look(plan, target)
        if marker.replaying or "app.users" not in marker.done:
            continue
        id = next(iter(target.data["app.users"]))
        target.data["app.users"][id] = bson.encode({"_id": bson.decode(id)["_id"], "n": 99})
        scene.restore(target, plan)
        assert target.data == whole.data
        changed += 1
    assert changed
