"""A base with two documents of one unique key, as a scan meets them when the key moves: only the replay settles it."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest

from onlyvips.core.changes import Index, Write
from onlyvips.errors import Permanent
from onlyvips.ports import Namespace
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.procedures.test_backup import SimulatedDatabase, stores
from tests.procedures.test_restore import METADATA, World
from tests.procedures.test_slices import Later, Logged, take_slice
from tests.simulators.oplog import START, SimulatedOplog, entry
from tests.simulators.target import SimulatedTarget, state

MOVED = {"_id": 1, "n": 9}
NEW = {"_id": 2, "n": 5}


class Moving(Logged):
    """While ``users`` is read the first document gives its key away, and a new one takes it before the scan ends."""

    def __init__(self, log: SimulatedOplog) -> None:
        SimulatedDatabase.__init__(self, {})
        self.log = log

    def server(self) -> dict[str, str]:
        return {"version": "7.0.0", "dialect": "simulated", "oplog": "local.oplog.rs"}

    def namespaces(self, database: str) -> list[Namespace]:
        return [Namespace(database, "users", "collection", METADATA)]

    def documents(self, namespace: Namespace, where: Any = None) -> Any:
        yield bson.encode({"_id": 1, "n": 5})
        told = {"ns": "app.users", "o2": {"_id": 1}}
        self.log.write(entry(START + 1, op="u", o=MOVED, **told), entry(START + 2, ns="app.users", o=NEW))
        yield bson.encode(NEW)


class Strict(SimulatedTarget):
    """Keeps unique indexes as a server does: none can be built over documents that break it."""

    def _apply(self, one: Write) -> None:
        super()._apply(one)
        if isinstance(one, Index) and json.loads(one.spec).get("unique"):
            (key,) = json.loads(one.spec)["key"]
            values = [bson.decode(each)[key] for each in self.data[one.namespace].values()]
            if len(set(values)) < len(values):
                raise Permanent("A unique index cannot be built.")


@pytest.fixture
def world() -> World:
    found = World.__new__(World)
    found.log, found.places = SimulatedOplog(entry(START, op="n", ns="")), stores("a", "b")
    run = Run(1, Later(), lambda n: b"\xaa" * n)
    found.base = take(base(Moving(found.log), found.places, BASE_PLAN, run, oplog=found.log)).manifest
    return found


def test_the_archive_has_both_documents_of_the_key(world: World):
    (record,) = [one for each in world.base.objects for one in each.namespaces if one.type == "collection"]
    assert record.documents == 2
    target = Strict()
    target.data["app.users"] = {bson.encode({"_id": one["_id"]}): bson.encode(one) for one in ({"_id": 1, "n": 5}, NEW)}
    with pytest.raises(Permanent, match="cannot be built"):
        target.apply([Index("app.users", '{"key":{"n":1},"name":"n_1","unique":true}')])


def test_it_is_restored_for_indexes_come_after_the_replay(world: World):
    world.log.write(entry(START + 9, ns="app.users", o={"_id": 3, "n": 7}))
    take_slice(world.log, world.places)
    done = world.restore(target := Strict())
    assert state(target, "app.users") == {1: MOVED, 2: NEW, 3: {"_id": 3, "n": 7}}
    assert done.indexes == 1 and len(target.indexes["app.users"]) == 1
