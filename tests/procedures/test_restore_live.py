"""A restore over the live database: in shadows, which are swapped in once all of it is verified."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from onlyvips.core.changes import Create, Index, Put
from onlyvips.core.manifest import moment
from onlyvips.core.replay import id_of
from onlyvips.core.restore import MARKER, RestorePlan
from onlyvips.core.swap import SHADOW, missing, shadowed
from onlyvips.errors import Permanent, Refused
from onlyvips.steps.base import _namespaces
from onlyvips.steps.swap import replaced
from tests.procedures.test_restore import METADATA, World
from tests.simulators.objects import Killed, Life
from tests.simulators.target import SimulatedTarget, state

ORDERS, USERS, STAYS = "app.orders", "app.users", "app.sessions"
DAMAGED = {1: {"_id": 1, "n": -1}}


def live() -> SimulatedTarget:
    """A database with wrong orders, no users, and a collection that is in no backup."""
    target = SimulatedTarget()
    wrong, session = bson.encode(DAMAGED[1]), bson.encode({"_id": "s"})
    target.apply([Create(ORDERS), Create(STAYS), Index(ORDERS, '{"name":"old"}')])
    target.apply([Put(ORDERS, id_of(wrong), wrong), Put(STAYS, id_of(session), session)])
    return target


def planned(world: World, second: int, *over: str, names: tuple[str, ...] = ()) -> RestorePlan:
    return shadowed(world.plan(moment(second), *names), over)


def test_what_is_there_is_replaced_by_the_state_of_the_moment_and_the_rest_stays():
    world, target = World(), live()
    second = world.first + 4
    plan = planned(world, second, "app.*")
    assert replaced(plan, target) == (ORDERS,)
    world.restore(target, plan)
    assert state(target, ORDERS) == world.writer.states[second]
    assert state(target, USERS).keys() == {"u", "v"} and state(target, STAYS).keys() == {"s"}
    assert target.collections("app") == ["orders", "sessions", "users"]
    assert [spec for spec in target.indexes[ORDERS] if "n_1" in str(spec)] == target.indexes[ORDERS]


def test_one_collection_alone_is_replaced():
    world, target = World(), live()
    world.restore(target, planned(world, world.first + 4, ORDERS, names=(f"{ORDERS}={ORDERS}",)))
    assert state(target, ORDERS) == world.writer.states[world.first + 4]
    assert target.collections("app") == ["orders", "sessions"]


def test_killed_before_any_write_people_see_the_old_or_the_new_and_run_again_it_ends_the_same():
    world = World(slices=1)
    second = world.writer.at - 1
    plan = planned(world, second, "app.*")
    world.restore(whole := live(), plan)
    fixture, swapped = live().life.writes, False
    for death in range(fixture + 1, whole.life.writes + 1):
        target = live()
        target.life = Life(death - fixture)
        with pytest.raises(Killed):
            world.restore(target, plan)
        seen = state(target, ORDERS)
        swapped = swapped or seen != DAMAGED
        assert seen == (world.writer.states[second] if swapped else DAMAGED)
        target.life = Life()
        assert world.restore(target, plan).resumed == (death - fixture > 3)
        assert target.data == whole.data and target.indexes == whole.indexes
        assert not [one for one in target.collections("app") if one.startswith(MARKER)]
    assert swapped


def test_what_came_up_in_the_oplog_and_was_not_named_is_not_replaced_and_can_be_named_later():
    world, target = World(), live()
    target.apply([Create(USERS)])
    second = world.first + 4
    with pytest.raises(Permanent, match="app.users came up.*--overwrite app.users"):
        world.restore(target, planned(world, second, ORDERS))
    assert state(target, ORDERS) == DAMAGED and state(target, USERS) == {}
    done = world.restore(target, planned(world, second, ORDERS, USERS))
    assert done.resumed and state(target, ORDERS) == world.writer.states[second]
    assert state(target, USERS).keys() == {"u", "v"}


def test_shadows_that_nobody_accounts_for_are_not_taken_for_ours():
    world, target = World(), live()
    target.apply([Create(f"app.{SHADOW}orders")])
    with pytest.raises(Refused, match=f"already has app.{SHADOW}orders"):
        world.restore(target, planned(world, world.first + 4, "app.*"))


def test_another_restore_that_is_not_done_is_named_and_nobody_is_told_to_drop_the_live_database():
    world, target = World(), live()
    target.life = Life(14)
    with pytest.raises(Killed):
        world.restore(target, planned(world, world.first + 4, "app.*"))
    target.life = Life()
    with pytest.raises(Refused, match=f"--at {moment(world.first + 4)}; where its base") as refused:
        world.restore(target, planned(world, world.first + 5, "app.*"))
    assert f"drop by hand app.{SHADOW}orders, app.{SHADOW}users, and app.{MARKER}." in str(refused.value)


def test_a_base_has_nothing_of_a_restore_that_is_going_on():
    class Source:
        def namespaces(self, database: str) -> list[Any]:
            names = ("orders", MARKER, f"{SHADOW}orders")
            return [type("N", (), {"collection": one, "metadata": METADATA})() for one in names]

    found = _namespaces(Source(), "app")  # type: ignore[arg-type]
    assert [one.collection for one in found] == ["orders"]


def test_entries_of_shadows_in_the_oplog_do_not_come_back():
    names = World().plan().names
    assert names.target(ORDERS) == ORDERS and names.target(f"app.{SHADOW}orders") is None


def test_a_name_that_no_shadow_fits_beside_is_refused():
    world = World()
    plan = world.plan()
    longest = world.plan().coming[0]
    with pytest.raises(Refused, match="too long for a shadow"):
        shadowed(RestorePlan(**{**vars(plan), "coming": (_long(longest),)}), ())


def _long(one: Any) -> Any:
    return type(one)(one.record, "app." + "x" * 220, one.documents)


def test_what_may_be_written_over_is_named_or_a_whole_database_is():
    assert missing([ORDERS, USERS], [ORDERS]) == (USERS,)
    assert missing([ORDERS, USERS], ["app.*"]) == ()
    assert missing(["db0"], []) == ("db0",)
