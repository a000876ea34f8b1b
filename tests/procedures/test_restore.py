"""Restores on simulators: to any moment, from whatever copy is good, killed at every write and run again."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bson
import pyrage
import pytest

from onlyvips.core.catalog import read_catalog
from onlyvips.core.manifest import Manifest, moment
from onlyvips.core.replayable import Watch
from onlyvips.core.restore import MARKER, RestorePlan, Wanted, check_server, plan_restore
from onlyvips.core.restored import Restored
from onlyvips.errors import Permanent, Refused
from onlyvips.ports import Namespace
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base
from onlyvips.steps.marker import finish
from onlyvips.steps.restore import restore
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.procedures.test_backup import IDENTITIES, SimulatedDatabase, stores
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.procedures.test_slices import Later, Logged, take_slice
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life, SimulatedStore
from tests.simulators.oplog import START, SimulatedOplog, entry
from tests.simulators.target import SimulatedTarget, state
from tests.simulators.writer import Writer

METADATA = '{"indexes":[{"v":2,"key":{"_id":1},"name":"_id_"},{"v":2,"key":{"n":1},"name":"n_1","unique":true}]}'


class Source(Logged):
    """The collections ``orders`` (what the writer has) and ``users``, with indexes; writes go on while it is read."""

    def __init__(self, writer: Writer, log: SimulatedOplog, meanwhile: int) -> None:
        SimulatedDatabase.__init__(self, {})
        self.writer, self.log, self.meanwhile = writer, log, meanwhile

    def server(self) -> dict[str, str]:
        return {"version": "7.0.0", "dialect": "simulated", "oplog": "local.oplog.rs"}

    def namespaces(self, database: str) -> list[Namespace]:
        return [Namespace(database, name, "collection", METADATA) for name in ("orders", "users")]

    def documents(self, namespace: Namespace, where: Any = None) -> Any:
        if namespace.collection == "users":
            yield bson.encode({"_id": "u", "n": 1}) + bson.encode({"_id": "v", "n": 2})
            return
        for id in sorted(self.writer.documents):
            if id in self.writer.documents:
                yield bson.encode(self.writer.documents[id])
            for _ in range(self.meanwhile):
                self.log.write(self.writer.step())


class World:
    """A writer, its base and slices in three copies."""

    keeps = 1 << 20

    def __init__(self, seed: int = 1, meanwhile: int = 1, slices: int = 3) -> None:
        self.log = SimulatedOplog(entry(START, op="n", ns=""))
        self.writer = Writer(START, seed)
        self.places = stores("a", "b", "c")
        self.write(12)
        self.meanwhile, self.bases = meanwhile, 0
        self.base = self.take_base()
        for _ in range(slices):
            self.write(10)
            take_slice(self.log, self.places)

    def take_base(self) -> Manifest:
        """Another one."""
        self.bases += 1
        source = Source(self.writer, self.log, self.meanwhile)
        run = Run(self.bases, Later(), lambda n: bytes([0xA9 + self.bases]) * n)
        return take(base(source, self.places, BASE_PLAN, run, oplog=self.log)).manifest

    def write(self, count: int) -> None:
        for _ in range(count):
            self.log.write(self.writer.step())
        self.log.now = self.writer.at

    @property
    def first(self) -> int:
        """The first second that can be had."""
        assert self.base.window is not None
        return int(self.base.window.end.ts.partition(":")[0])

    def plan(self, at: str = "latest", *names: str) -> RestorePlan:
        return plan_restore("lab", read_catalog(read_shelves(self.places, "lab")), {}, Wanted(at, names))

    def restore(self, target: SimulatedTarget, plan: RestorePlan | None = None, keys: Any = None) -> Restored:
        places = {one.name: one for one in self.places}
        reader = Reader(places, keys or IDENTITIES[:1], lambda doing, size: None, 1, self.keeps)
        plan = plan or self.plan()
        done = restore(plan, target, reader, SimClock())
        if plan.over is not None:
            finish(plan, target)
        return done

    def keys(self, part: str) -> list[str]:
        return sorted(key for key in self.places[0].objects if part in key)


def test_every_moment_between_base_and_last_slice_is_had_exactly():
    world = World()
    for second in range(world.first, world.writer.at + 1):
        target = SimulatedTarget()
        done = world.restore(target, world.plan(moment(second)))
        assert state(target, "app.orders") == world.writer.states[second]
        assert state(target, "app.users").keys() == {"u", "v"}
        assert target.collections("app") == ["orders", "users"]
        assert done.until == f"{second}:1"


def test_a_position_is_had_like_a_moment_and_latest_is_the_last_entry():
    world = World()
    target = SimulatedTarget()
    world.restore(target, world.plan(f"{world.first + 3}:1"))
    assert state(target, "app.orders") == world.writer.states[world.first + 3]
    world.restore(last := SimulatedTarget())
    assert state(last, "app.orders") == world.writer.documents


def test_a_base_by_its_name_is_the_end_of_its_own_window():
    world = World(slices=1)
    target = SimulatedTarget()
    world.restore(target, world.plan(world.base.id))
    assert state(target, "app.orders") == world.writer.states[world.first]


def test_indexes_are_built_after_the_replay_and_only_those_that_are_there_by_then():
    world = World(slices=0)
    world.log.write(entry(world.writer.at + 1, op="c", ns="app.$cmd", o={"dropIndexes": "users", "index": "n_1"}))
    take_slice(world.log, world.places)
    target = SimulatedTarget()
    assert world.restore(target).indexes == 1
    assert [name for name, specs in target.indexes.items() if specs] == ["app.orders"]


def test_collections_come_back_under_other_names_and_alone():
    world = World()
    target = SimulatedTarget()
    world.restore(target, world.plan("latest", "app.orders=rescue.lost"))
    assert target.collections("rescue") == ["lost"] and target.collections("app") == []
    assert state(target, "rescue.lost") == world.writer.documents
    world.restore(whole := SimulatedTarget(), world.plan("latest", "app.*=other.*"))
    assert whole.collections("other") == ["orders", "users"]


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_before_any_write_and_run_again_it_ends_the_same(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world = World(seed, slices=2)
    plan = world.plan()
    world.restore(whole := SimulatedTarget(), plan)
    assert whole.life.writes > 30
    for death in range(1, whole.life.writes + 1):
        target = SimulatedTarget(Life(death))
        with pytest.raises(Killed):
            world.restore(target, plan)
        target.life = Life()
        done = world.restore(target, plan)
        assert target.data == whole.data and target.indexes == whole.indexes
        assert done.resumed == (death > 3)
        assert MARKER not in target.collections("app")


def killed_until_it_ends(world: World, target: SimulatedTarget, dice: random.Random) -> int:
    """Restored by run after run, each killed at a write drawn by chance, until one ends; how many died."""
    deaths = 0
    while True:
        target.life = Life(dice.randrange(20, 60))
        try:
            world.restore(target)
            return deaths
        except Killed:
            deaths += 1


def test_killed_again_and_again_it_goes_on_each_time():
    world, target = World(3), SimulatedTarget()
    killed_until_it_ends(world, target, random.Random(5))
    assert state(target, "app.orders") == world.writer.documents


def test_what_an_earlier_version_left_in_the_middle_of_its_replay_is_gone_on_with_and_nothing_loaded_again(
    monkeypatch: pytest.MonkeyPatch,
):
    """Its marks of collections have no counts. Loaded again, they would lack the entries up to the position."""
    monkeypatch.setattr("onlyvips.core.batches.MOST", 3)
    world, target = World(slices=2), SimulatedTarget()
    world.restore(whole := SimulatedTarget())
    target.life = Life(whole.life.writes - 8)
    with pytest.raises(Killed):
        world.restore(target)
    marks = target.data[f"app.{MARKER}"]
    names = {id: bson.decode(one)["_id"] for id, one in marks.items()}
    assert "position" in names.values()
    for id, name in names.items():
        if name.startswith("done "):
            marks[id] = bson.encode({"_id": name})
    target.life = Life()
    world.restore(target)
    assert target.data == whole.data and target.life.writes < whole.life.writes / 2


def flip(store: SimulatedStore, key: str) -> None:
    data = store.objects[key]
    store.objects[key] = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize("part", ["orders", "oplog.bson"])
@pytest.mark.parametrize("fault", ["flipped", "missing"])
def test_a_bad_object_is_taken_from_another_copy_and_told_until_there_is_none(part: str, fault: str):
    world = World(slices=2)
    plan = world.plan()
    (key, *_) = [one.key for one in (*plan.archives, *plan.logs) if part in one.record.key]
    for bad, place in enumerate(world.places, start=1):
        if fault == "flipped":
            flip(place, key)
        else:
            del place.objects[key]
        target = SimulatedTarget()
        if bad < 3:
            found = world.restore(target, plan)
            assert state(target, "app.orders") == world.writer.documents
            assert sum(key in flaw for flaw in found.flaws) == bad
            continue
        with pytest.raises(Refused, match=r"No good copy is left of 1 objects, so nothing was written"):
            world.restore(target, plan)
        assert target.life.writes == 0


def test_a_bad_object_in_each_copy_another_one_each_time_is_no_loss():
    world = World(slices=2)
    plan = world.plan()
    for place, source in zip(world.places, (*plan.archives, *plan.logs), strict=False):
        flip(place, source.key)
    target = SimulatedTarget()
    world.restore(target, world.plan())
    assert state(target, "app.orders") == world.writer.documents


@pytest.mark.parametrize("at", ["latest", "the base"])
def test_the_wrong_identity_is_refused_before_the_target_is_touched(at: str):
    world, target = World(slices=1), SimulatedTarget()
    plan = world.plan() if at == "latest" else replace(world.plan(), logs=(), until=None)
    with pytest.raises(Refused, match="see that the identity is the right one"):
        world.restore(target, plan, keys=[pyrage.x25519.Identity.generate()])
    assert target.life.writes == 0


def test_an_entry_that_no_replay_does_is_refused_before_the_target_is_touched_and_the_moment_before_it_is_had(
    monkeypatch: pytest.MonkeyPatch,
):
    """Of a slice by a version that did not look for such entries: else the plan knows it (test_restore_stops.py)."""
    world = World(slices=1)
    at = world.writer.at + 1
    world.log.write(entry(at, op="c", ns="app.$cmd", o={"collMod": "orders", "validator": {}}))
    monkeypatch.setattr(Watch, "see", lambda self, entries: None)
    take_slice(world.log, world.places)
    target = SimulatedTarget()
    with pytest.raises(Refused, match=re.escape(f"--at {moment(at - 1)}")):
        world.restore(target)
    assert target.life.writes == 0
    world.restore(target, world.plan(moment(at - 1)))
    assert state(target, "app.orders") == world.writer.documents


def test_a_target_with_any_of_the_collections_is_refused_and_left_as_it_is():
    world, target = World(slices=1), SimulatedTarget()
    target.data["app.users"] = {}
    with pytest.raises(Refused, match=r"already has app.users: nothing was changed"):
        world.restore(target)
    assert target.life.writes == 0
    world.restore(target, world.plan("latest", "app.orders=app.rescued"))
    assert target.collections("app") == ["rescued", "users"]


def test_another_restore_that_is_not_done_there_is_named_and_refused():
    world, target = World(slices=2), SimulatedTarget(Life(9))
    plan = world.plan(moment(world.first + 2))
    with pytest.raises(Killed):
        world.restore(target, plan)
    target.life = Life()
    with pytest.raises(Refused, match=f"Another restore is not done.*--at {moment(world.first + 2)}"):
        world.restore(target, world.plan())
    assert target.life.writes == 0


def test_a_target_that_loses_what_it_is_given_is_found_out_before_the_replay():
    world, target = World(slices=1), SimulatedTarget()
    target.forgets = "app.users"
    with pytest.raises(Permanent, match="app.users reads back as 0 documents .* has 2 "):
        world.restore(target)
    assert MARKER in target.collections("app")


def test_a_change_of_a_document_that_is_not_there_after_the_window_is_no_restore():
    world = World(slices=0)
    diff = {"$v": 2, "diff": {"u": {"n": 1}}}
    world.log.write(entry(world.writer.at + 1, op="u", o=diff, o2={"_id": "nobody"}))
    take_slice(world.log, world.places)
    with pytest.raises(Permanent, match="changes 1 documents of app.orders .* not there"):
        world.restore(SimulatedTarget())


# --- what is planned, what is refused


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-08-01T11:00:00Z", "before the first base was whole: the earliest moment that can be had is"),
        ("2026-08-02T12:00:00Z", r"cannot be had: what there is leads to .* What came later is lost"),
        ("yesterday", "neither `latest`, nor a moment"),
        ("2026-13-01T12:00:00Z", "is no moment"),
    ],
)
def test_a_moment_that_cannot_be_had_is_refused_with_what_can(at: str, told: str):
    with pytest.raises(Refused, match=told):
        World().plan(at)


def test_a_moment_inside_a_bases_own_window_uses_the_base_before():
    world = World(slices=1)
    world.write(3)
    source, run = Source(world.writer, world.log, 1), Run(50, Later(), lambda n: b"\xbb" * n)
    second = take(base(source, world.places, BASE_PLAN, run, oplog=world.log)).manifest
    take_slice(world.log, world.places)
    assert second.window is not None
    end = int(second.window.end.ts.partition(":")[0])
    assert world.plan(moment(end - 1)).base == world.base
    assert world.plan(moment(end)).base == second
    world.restore(target := SimulatedTarget(), world.plan(moment(end - 1)))
    assert state(target, "app.orders") == world.writer.states[end - 1]


def test_a_broken_chain_leads_to_where_it_breaks_and_says_so():
    world = World(slices=3)
    lost = sorted({key.rpartition("/objects/")[0] for key in world.keys("/oplog/") if "/objects/" in key})[1]
    for place in world.places:
        place.objects = {key: data for key, data in place.objects.items() if not key.startswith(lost)}
    plan = world.plan()
    assert any("no slice begins with" in note for note in plan.notes)
    world.restore(target := SimulatedTarget(), plan)
    assert plan.until is not None
    assert state(target, "app.orders") == world.writer.states[plan.until.seconds] != world.writer.documents
    with pytest.raises(Refused, match="no slice begins with"):
        world.plan(moment(world.writer.at))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["orders=x"], "says no namespaces"),
        (["app.*=other.orders"], "says no namespaces"),
        (["app.orders=x.y", "app.users=x.y"], "would become one"),
        (["app.*=x.*", "other.*=y.*"], "cannot be exact"),
        (["app.nothing=x.y"], "has no such thing"),
    ],
)
def test_names_that_cannot_be_exact_are_refused(names: Sequence[str], told: str):
    with pytest.raises(Refused, match=told):
        World(slices=1).plan("latest", *names)


def test_the_live_source_another_dialect_and_an_older_server_are_refused():
    world = World(slices=1)
    plan, target = world.plan(), SimulatedTarget(identity="live")
    with pytest.raises(Refused, match="The target is the live source"):
        check_server(plan, target.describe(), {"identity": "live"})
    check_server(plan, target.describe(), {"identity": "another"})
    check_server(plan, target.describe(), None)
    check_server(world.plan("latest", "app.*=beside.*"), target.describe(), {"identity": "live"})
    with pytest.raises(Refused, match="an older server may not hold it.* give one of 7.0 or later"):
        check_server(plan, SimulatedTarget(version="6.0.9").describe(), None)
    with pytest.raises(Refused, match="The backup is of mongodb, the target is simulated"):
        other = replace(plan.base, server=replace(plan.base.server, dialect="mongodb"))
        check_server(replace(plan, base=other), target.describe(), None)
