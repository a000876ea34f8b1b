"""Bases whose collections are several objects each, and bases without an oplog: restored on simulators."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from onlyvips.core.catalog import read_catalog
from onlyvips.core.little_bson import each
from onlyvips.core.manifest import moment
from onlyvips.core.restore import RestorePlan, Wanted, plan_restore
from onlyvips.core.restored import Restored
from onlyvips.errors import Refused
from onlyvips.steps.backup import take
from onlyvips.steps.restore import restore
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.procedures.test_backup import IDENTITIES, stores
from tests.procedures.test_restore import World
from tests.procedures.test_slices import take_slice
from tests.procedures.test_split import IDS, DividedDatabase, session
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.target import SimulatedTarget, state


def plan_of(places: list[SimulatedStore], at: str = "latest") -> RestorePlan:
    return plan_restore("lab", read_catalog(read_shelves(places, "lab")), {}, Wanted(at))


def restored(places: list[SimulatedStore], target: SimulatedTarget, workers: int = 2) -> Restored:
    reader = Reader({one.name: one for one in places}, IDENTITIES[:1], lambda doing, size: None, workers)
    return restore(plan_of(places), target, reader, SimClock())


def documents(source: Any) -> list[bytes]:
    return sorted(one for batch in source.collections["big"] for one in each(batch))


def test_a_collection_of_several_objects_comes_back_whole_and_is_compared_once_all_of_them_are_there():
    places, source = stores("a"), DividedDatabase()
    take(session(source, places))
    plan = plan_of(places)
    assert len(plan.archives) > 4
    assert {one.source: one.documents for one in plan.coming} == {"app.big": len(IDS), "app.small": 1}
    target = SimulatedTarget()
    done = restored(places, target)
    assert sorted(target.data["app.big"].values()) == documents(source)
    assert (done.documents, done.entries, done.doubled) == (len(IDS) + 1, 0, 0)


def test_killed_between_its_objects_it_is_loaded_anew():
    places, source = stores("a"), DividedDatabase()
    take(session(source, places))
    restored(places, whole := SimulatedTarget(), 1)
    for death in range(5, whole.life.writes, 23):
        target = SimulatedTarget(Life(death))
        with pytest.raises(Killed):
            restored(places, target, 1)
        target.life = Life()
        assert restored(places, target, 1).resumed
        assert target.data == whole.data


def test_a_document_that_a_scan_met_twice_is_told_and_is_no_difference():
    places, source = stores("a"), DividedDatabase()
    source.collections["small"] = [bson.encode({"_id": 1, "n": 1}) + bson.encode({"_id": 1, "n": 2})]
    take(session(source, places))
    done = restored(places, target := SimulatedTarget())
    assert done.doubled == 1 and len(target.data["app.small"]) == 1


def test_a_base_without_an_oplog_says_that_it_is_not_one_moment_and_leads_to_no_other():
    places = stores("a")
    base = take(session(DividedDatabase(), places)).manifest
    assert any("not of one moment" in note for note in plan_of(places).notes)
    assert plan_of(places, base.id).base == base
    with pytest.raises(Refused, match="no base has an oplog that can be replayed"):
        plan_of(places, "2026-08-01T12:00:00Z")


@pytest.mark.parametrize("meanwhile", [0, 1])
def test_a_slice_in_which_nothing_was_written_after_the_base_is_part_of_what_leads_there(meanwhile: int):
    world = World(slices=0, meanwhile=meanwhile)
    world.log.now = world.writer.at + 100
    still = take_slice(world.log, world.places).manifest
    plan = world.plan(moment(world.writer.at + 50))
    assert [one.manifest.id for one in plan.logs] == [still.id]
    world.restore(target := SimulatedTarget(), plan)
    assert state(target, "app.orders") == world.writer.documents
