"""Drills on simulators: what passes, what fails and says why, what a drill that died leaves and who removes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import bson
import pytest

from onlyvips.core import drills
from onlyvips.core.catalog import read_catalog
from onlyvips.core.changes import Put
from onlyvips.core.drill_findings import findings
from onlyvips.core.drills import DrillPlan, DrillRecord, Drills
from onlyvips.core.manifest import moment
from onlyvips.core.restore import Wanted, plan_restore
from onlyvips.errors import Fenced, Permanent, Refused, Transient
from onlyvips.steps import signature
from onlyvips.steps.drill import Rehearsal, Stage, check_stage, lifetime, rehearse
from onlyvips.steps.drill_records import keep_begun, keep_record, read_records
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from onlyvips.wiring.backups import Catalog
from tests.procedures.test_backup import IDENTITIES
from tests.procedures.test_restore import World, flip
from tests.procedures.test_slices import take_slice
from tests.simulators.clock import SimClock
from tests.simulators.objects import Killed, Life
from tests.simulators.oplog import entry
from tests.simulators.target import SimulatedScratch, SimulatedTarget

PLAN = DrillPlan("lab", rehearsed=True, every=7 * 86400.0, limit=30 * 86400.0, rto=7200.0, rpo=3600.0)
SIGNER = signature.make_key()
WRONG = bson.encode({"_id": "wrong", "n": 7})


class Clock(SimClock):
    """Begins ten seconds after the last entry of a world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._start = world.writer.at + 10.0

    def now(self) -> float:
        return self._start + self.monotonic()


@dataclass
class Scene:
    """A world, and a scratch server."""

    world: World = field(default_factory=World)
    target: SimulatedTarget = field(default_factory=SimulatedTarget)
    number: int = 0

    def __post_init__(self) -> None:
        self.scratch = SimulatedScratch(self.target)
        self.clock = Clock(self.world)

    def stage(self, **more: object) -> Stage:
        places = {one.name: one for one in self.world.places}
        reader = Reader(places, IDENTITIES[:1], lambda doing, size: self.clock.sleep(0.25), 1)
        stage = Stage(PLAN, "app", self.target, self.scratch, reader, self.clock, {"identity": "live"}, False)
        return replace(stage, **more)  # type: ignore[arg-type]

    def drill(self, at: str = "latest", **more: object) -> Rehearsal:
        self.number += 1
        began = self.clock.now()
        id = drills.id_of(began, self.number.to_bytes(4, "big"))
        record = DrillRecord(
            id, "lab", "mongodb", "Ada", "test", at, moment(began), moment(began), drills.FAILED, ("It began.",), 1, 1
        )
        return Rehearsal(self.stage(**more), record, began)

    def backups(self):
        return read_catalog(read_shelves(self.world.places, "lab"))

    def run(self, drill: Rehearsal | None = None, meanwhile: Callable[[], None] = lambda: None) -> DrillRecord:
        """As the command does it, ``meanwhile`` as its catalog is read."""
        drill = drill or self.drill()
        keep_begun(drill.begun, SIGNER, self.world.places)

        def catalog() -> Catalog:
            meanwhile()
            return Catalog(tuple(self.backups()), {})

        with lifetime(drill, self.keep):
            rehearse(drill, catalog)
        self.keep(drill.ended())
        return drill.ended()

    def keep(self, record: DrillRecord) -> None:
        if self.target.life.is_over:
            raise Killed
        keep_record(record, SIGNER, self.world.places)

    def known(self) -> Drills:
        return read_records(self.world.places, "lab", [SIGNER.public])

    def by_steps(self, between: Callable[[Rehearsal], None]) -> DrillRecord:
        """With something done between the restore and its verification."""
        drill = self.drill()
        drill.restore(self.backups(), {})
        between(drill)
        drill.verify()
        drill.clean()
        return drill.ended()


def test_a_drill_restores_base_and_slices_compares_measures_and_leaves_nothing():
    scene = Scene()
    found = scene.run()
    assert found.passed and found.reasons == ()
    assert found.base == scene.world.base.prefix and len(found.slices) == 3
    assert {(one.source, one.equal) for one in found.compared} == {("app.orders", True), ("app.users", True)}
    orders = next(one for one in found.compared if one.source == "app.orders")
    assert orders.read_documents == len(scene.world.writer.documents)
    assert found.recovery_point_ms == 10_000 and found.reached == moment(scene.world.writer.at)
    assert found.recovery_time_ms and found.verification_ms and found.size > 0 and found.entries > 30
    assert sum(one.objects for one in found.used) == 2 + 3
    assert scene.target.data == {} and found.left == () and found.removed == ()


@pytest.mark.parametrize("seed", range(2, 8))
def test_what_the_objects_say_is_what_the_writer_wrote_at_every_moment(seed: int):
    scene = Scene(World(seed, meanwhile=2))
    world = scene.world
    first = world.first + 3  # in a slice
    for second in range(first, world.writer.at + 1, 5):
        found = scene.run(scene.drill(moment(second)))
        assert found.passed, found.reasons
        (orders,) = [one for one in found.compared if one.source == "app.orders"]
        assert orders.documents == len(world.writer.states[second])


def planted(target: SimulatedTarget, name: str) -> None:
    target.apply([Put(f"{name}.users", bson.encode({"_id": "wrong"}), WRONG)])


def changed(target: SimulatedTarget, name: str) -> None:
    id = bson.encode({"_id": "u"})
    target.data[f"{name}.users"][id] = bson.encode({"_id": "u", "n": 2})


def lost(target: SimulatedTarget, name: str) -> None:
    target.data[f"{name}.orders"].popitem()


def swapped(target: SimulatedTarget, name: str) -> None:
    users = target.data[f"{name}.users"]
    users.popitem()
    users[bson.encode({"_id": "wrong"})] = WRONG


def another_collection(target: SimulatedTarget, name: str) -> None:
    target.data[f"{name}.more"] = {}


def no_collection(target: SimulatedTarget, name: str) -> None:
    del target.data[f"{name}.users"]


@pytest.mark.parametrize("fault", [planted, changed, lost, swapped, another_collection, no_collection])
def test_a_wrong_document_planted_in_the_scratch_target_fails_the_drill(fault: Callable[[SimulatedTarget, str], None]):
    scene = Scene()
    found = scene.by_steps(lambda drill: fault(scene.target, drill.name))
    assert not found.passed
    assert "What was restored is not what the backups hold: drill_lab_" in found.reasons[0]
    assert [one.equal for one in found.compared].count(False) == 1
    assert scene.target.data == {}


def test_a_replay_that_left_something_out_is_found_though_the_restore_was_content(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onlyvips.steps.replay.Batch.writes", lambda self: [])
    scene = Scene()
    found = scene.run()
    assert not found.passed and "drill_lab_" in found.reasons[0] and ".orders has" in found.reasons[0]


def test_a_chain_without_a_slice_is_a_failed_drill_that_says_so_and_takes_none():
    scene = Scene(World(slices=0))
    before = [set(place.objects) for place in scene.world.places]
    found = scene.run()
    assert not found.passed and "a drill always includes slices" in found.reasons[0]
    assert "onlyvips backup run -e lab --kind oplog" in found.reasons[0]
    assert found.base == scene.world.base.prefix and found.slices == ()
    backups = [{key for key in place.objects if "/evidence/" not in key} for place in scene.world.places]
    assert backups == before
    assert scene.target.life.writes == 0


def test_no_base_a_moment_that_cannot_be_had_and_a_wrong_identity_are_failed_drills_with_the_sentence():
    scene = Scene()
    assert "before the first base was whole" in scene.run(scene.drill("2020-01-01T00:00:00Z")).reasons[0]
    keyless = replace(scene.stage().reader, identities=IDENTITIES[:0])
    assert "No good copy is left" in scene.run(scene.drill(reader=keyless)).reasons[0]
    for place in scene.world.places:
        place.objects = {key: data for key, data in place.objects.items() if "/oplog/" in key}
    assert "There is no base" in scene.run().reasons[0]


def test_a_bad_object_in_one_copy_is_survived_and_told_in_all_it_fails():
    scene = Scene()
    (key,) = [one for one in scene.world.keys("orders") if one.startswith("lab/mongodb/")]
    flip(scene.world.places[0], key)
    found = scene.run()
    assert found.passed and any(key in flaw for flaw in found.flaws)
    assert {one.destination: one.objects for one in found.used} == {"a": 4, "b": 1}
    for place in scene.world.places[1:]:
        flip(place, key)
    assert "No good copy is left of 1 objects" in scene.run().reasons[0]


def test_copies_that_go_bad_between_restore_and_verification_are_told_as_what_they_are():
    scene = Scene()
    drill = scene.drill()
    drill.restore(scene.backups(), {})
    assert drill.plan is not None
    for place in scene.world.places:
        flip(place, drill.plan.logs[0].key)
    with pytest.raises(Transient, match="What must be there cannot be known"):
        drill.verify()
    assert drill.ended().reasons == ("It ended before anything was compared.",)


def test_dropped_and_renamed_collections_are_as_the_entries_say():
    scene = Scene(World(slices=1))
    log, at = scene.world.log, scene.world.writer.at
    log.write(entry(at + 1, op="c", ns="app.$cmd", o={"drop": "users"}))
    log.write(entry(at + 2, op="c", ns="app.$cmd", o={"renameCollection": "app.orders", "to": "app.sold"}))
    log.write(entry(at + 3, op="i", ns="app.sold", o={"_id": "last"}))
    log.write(entry(at + 4, op="c", ns="app.$cmd", o={"create": "empty"}))
    take_slice(log, scene.world.places)
    found = scene.run()
    assert found.passed, found.reasons
    assert {one.target.partition(".")[2]: one.documents for one in found.compared} == {
        "sold": len(scene.world.writer.documents) + 1,
        "empty": 0,
    }


# --- what died, what is left


def test_killed_before_any_write_the_next_drill_names_and_removes_what_is_left_and_passes():
    scene = Scene()
    whole = Scene()
    assert whole.run().passed
    assert whole.target.life.writes > 20
    for death in range(1, whole.target.life.writes + 1):
        scene = Scene(scene.world, number=2 * death)
        scene.target.life = Life(death)
        dead = scene.drill()
        with pytest.raises(Killed):
            scene.run(dead)
        scene.target.life = Life()
        there = bool(scene.target.data)
        found = scene.run()
        assert found.passed and found.removed == ((dead.name,) if there else ())
        assert scene.target.data == {}


def test_when_nobody_comes_what_is_left_is_known_by_its_name_and_no_record_says_that_it_passed():
    scene = Scene()
    scene.target.life = Life(20)
    dead = scene.drill()
    with pytest.raises(Killed):
        scene.run(dead)
    assert scene.scratch.databases() == [dead.name] and drills.is_scratch("lab", dead.name)
    known = scene.known()
    assert known.records == () and known.unended == (dead.begun,)
    told = [one.what for one in findings(known, PLAN, scene.clock.now()) if dead.record.id in one.what]
    assert "no record says that it ended" in told[1] and dead.name in told[0]
    scene.target.life = Life()
    assert scene.run().removed == (dead.name,)
    assert findings(scene.known(), PLAN, scene.clock.now()) == []


# --- between a base and the next slice


def test_between_a_base_and_the_next_slice_the_base_before_is_rehearsed_with_its_slices():
    scene = Scene()
    reached = moment(scene.world.writer.at)
    newer = scene.world.take_base()
    assert plan_restore("lab", scene.backups(), {}, Wanted("latest")).base == newer
    found = scene.run()
    assert found.passed and found.base == scene.world.base.prefix and len(found.slices) == 3
    assert found.reached == reached and found.recovery_point_ms == 9_000  # by the newer base alone
    take_slice(scene.world.log, scene.world.places)
    found = scene.run()
    assert found.passed and found.slices and found.reached == moment(scene.world.writer.at)


def test_a_moment_that_a_base_alone_and_one_with_slices_lead_to_is_had_by_the_one_with_slices():
    scene = Scene()
    scene.world.take_base()
    found = scene.run(scene.drill(moment(scene.world.writer.at - 25)))
    assert found.passed and found.base == scene.world.base.prefix


def test_killed_while_its_record_is_stored_the_next_drill_stores_its_own_and_nothing_is_forged():
    scene = Scene()
    drill = scene.drill()
    rehearse(drill, lambda: Catalog(tuple(scene.backups()), {}))
    record = drill.ended()
    for death in range(1, 7):
        life = Life(death)
        for place in scene.world.places:
            place._life = life
        with pytest.raises(Killed):
            keep_record(record, SIGNER, scene.world.places)
        for place in scene.world.places:
            place._life = Life()
        found = read_records(scene.world.places, "lab", [SIGNER.public])
        assert found.unverified == () and len(found.records) == (death > 2)
    assert keep_record(record, SIGNER, scene.world.places).refusals == ()
    assert read_records(scene.world.places, "lab", [SIGNER.public]).records == (record,)


def test_databases_of_others_are_never_removed():
    scene = Scene()
    for name in ("app", "drill_production_20260801t120000z_0badcafe", "drill_mine"):
        scene.target.data[f"{name}.x"] = {}
    assert scene.run().removed == ()
    assert scene.scratch.databases() == ["app", "drill_mine", "drill_production_20260801t120000z_0badcafe"]


def test_a_scratch_database_that_cannot_be_removed_is_in_the_record():
    scene = Scene()
    scene.scratch.stays = True
    found = scene.run()
    assert found.passed and "is still there after it was dropped" in found.left[0]


def test_a_drill_that_lost_its_lease_stops_and_says_so():
    def lost() -> None:
        raise Fenced("Somebody else rehearses restores of lab now.")

    scene = Scene()
    found = scene.run(scene.drill(alive=lost))
    assert found.reasons == ("Somebody else rehearses restores of lab now.",) and scene.target.life.writes == 0


def test_an_attempt_that_failed_is_begun_anew_by_the_next_one():
    scene = Scene()
    drill = scene.drill()
    scene.target.forgets = f"{drill.name}.users"
    with pytest.raises(Permanent, match="reads back as"):
        drill.restore(scene.backups(), {})
    scene.target.forgets = ""
    assert scene.run(drill).passed


def test_the_live_server_is_refused_unless_it_is_meant():
    scene = Scene(target=SimulatedTarget(identity="live"))
    with pytest.raises(Refused, match="recovery.drill.target is the live server"):
        check_stage(scene.stage())
    check_stage(scene.stage(beside_live=True))
    check_stage(scene.stage(live=None))
    assert scene.run(scene.drill(beside_live=True)).passed


def test_an_older_server_fails_the_drill():
    scene = Scene(target=SimulatedTarget(version="6.0.1"))
    assert "an older server may not hold it" in scene.run().reasons[0]
