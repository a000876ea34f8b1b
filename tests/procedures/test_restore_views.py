"""A restore over the live database: views that are there otherwise, and what stays because the moment has it not."""

from __future__ import annotations

import json

import bson
import pytest

from flows.commands import run
from onlyvips.core.changes import Create, Drop, Put
from onlyvips.core.replay import id_of
from onlyvips.core.restored import Restored
from onlyvips.errors import Permanent
from onlyvips.ports import Namespace
from onlyvips.steps.swap import looked, replaced
from tests.procedures import test_restore_command as command
from tests.procedures.test_restore import Source, World
from tests.procedures.test_restore_command import Live, there
from tests.procedures.test_restore_live import STAYS, planned
from tests.procedures.test_restore_live import live as damaged
from tests.procedures.test_slices import take_slice
from tests.simulators.objects import Killed, Life
from tests.simulators.oplog import entry
from tests.simulators.target import SimulatedTarget, state

world, live = command.world, command.live
VIEW, OTHER = "app.first", "app.mine"
KEPT = '{"viewOn":"users","pipeline":[{"$match":{"n":{"$numberInt":"1"}}}]}'
CHANGED = KEPT.replace('"1"', '"2"')


@pytest.fixture(autouse=True)
def with_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Source.namespaces
    view = Namespace("app", "first", "view", f'{{"options":{KEPT},"indexes":[],"type":"view"}}')
    monkeypatch.setattr(Source, "namespaces", lambda self, database: [*found(self, database), view])


def with_views() -> SimulatedTarget:
    """The damaged live database, the view of the base changed, and another one that is in no backup."""
    target = damaged()
    target.apply([Create(VIEW, CHANGED), Create(OTHER, KEPT)])
    return target


def restored(world: World, target: SimulatedTarget, *over: str) -> Restored:
    return world.restore(target, planned(world, world.writer.at - 1, *over))


def test_a_view_that_is_there_otherwise_is_named_dropped_and_made_anew_and_what_stays_is_told() -> None:
    world, target = World(slices=1), with_views()
    plan = planned(world, world.writer.at - 1, "app.*")
    assert replaced(plan, target) == (VIEW, "app.orders")
    assert (looked(plan, target).stays, looked(plan, target).otherwise) == ((OTHER, STAYS), (VIEW,))
    done = restored(world, target, "app.*")
    assert json.loads(str(target.options[VIEW])) == json.loads(KEPT)
    assert (done.stays, done.remade) == ((OTHER, STAYS), (VIEW,))
    assert target.collections("app") == ["first", "mine", "orders", "sessions", "users"]


def test_a_view_that_nobody_named_is_left_and_nothing_is_replaced() -> None:
    world, target = World(slices=1), with_views()
    with pytest.raises(Permanent, match=f"{VIEW} came up .*--overwrite {VIEW} too"):
        restored(world, target, "app.orders")
    assert target.options[VIEW] == CHANGED and state(target, "app.orders") == {1: {"_id": 1, "n": -1}}
    assert restored(world, target, "app.orders", VIEW).resumed and "1" in str(target.options[VIEW])


def test_a_view_that_is_there_as_in_the_base_is_no_matter_in_whatever_order_its_options_stand() -> None:
    world, target = World(slices=1), damaged()
    told = json.loads(KEPT)
    target.apply([Create(VIEW, json.dumps(dict(reversed(told.items()))))])
    assert replaced(planned(world, world.writer.at - 1), target) == ("app.orders",)
    assert restored(world, target, "app.orders").remade == ()


@pytest.mark.parametrize(("name", "is_view"), [("app.orders", True), (VIEW, False)], ids=["a view", "a collection"])
def test_what_is_there_of_another_kind_makes_room_once_it_is_named(name: str, is_view: bool) -> None:
    world, target = World(slices=1), damaged()
    target.apply([Drop(name), Create(name, CHANGED if is_view else "{}")])
    restored(world, target, "app.*")
    assert ("viewOn" in str(target.options.get(name, ""))) != is_view
    assert target.data["app.orders"].keys() == {id_of(bson.encode({"_id": one})) for one in _ids(world)}


def _ids(world: World) -> list[object]:
    return list(world.writer.states[world.writer.at - 1])


def test_killed_before_any_write_it_ends_the_same_and_tells_the_same() -> None:
    world, whole = World(slices=1), with_views()
    done = restored(world, whole, "app.*")
    fixture = with_views().life.writes
    for death in range(fixture + 1, whole.life.writes + 1):
        target = with_views()
        target.life = Life(death - fixture)
        with pytest.raises(Killed):
            restored(world, target, "app.*")
        target.life = Life()
        again = restored(world, target, "app.*")
        assert (target.data, target.options[VIEW]) == (whole.data, whole.options[VIEW])
        assert (again.stays, again.remade) == (done.stays, done.remade)


def test_what_the_oplog_drops_stays_where_it_is_live_and_is_told_at_the_end() -> None:
    world, target = World(slices=0), damaged()
    world.log.write(entry(world.writer.at + 1, op="c", ns="app.$cmd", o={"drop": "users"}))
    take_slice(world.log, world.places)
    document = bson.encode({"_id": "w"})
    target.apply([Put("app.users", id_of(document), document)])
    plan = planned(world, world.writer.at + 1, "app.*")
    assert looked(plan, target).stays == (STAYS,)
    assert world.restore(target, plan).stays == (STAYS, "app.users") and state(target, "app.users").keys() == {"w"}


def test_the_command_says_what_stays_and_which_views_differ_before_and_after(
    world: World, live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    live.target.apply([Create(VIEW, CHANGED), Create(OTHER, KEPT)])
    assert run(["restore", "plan", *there(live)]) == 0
    told = capsys.readouterr().out
    assert f"another definition, made anew: {VIEW}" in told and f"unless the oplog makes it: {OTHER}" in told
    assert f"--overwrite '{VIEW}'" in told
    assert run(["restore", "plan", *there(live), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stays"], found["views_otherwise"]) == ([OTHER], [VIEW])
    assert run(["restore", "run", *there(live), "--overwrite", "app.orders"]) == 2
    capsys.readouterr()
    assert run(["restore", "run", *there(live), "--overwrite", "app.*"]) == 0
    told = capsys.readouterr().out
    assert f"another definition: {VIEW}." in told and f"was left there: {OTHER}; drop it" in told
