"""Capped collections of which a backup holds more than their cap: they were read while they lost their oldest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from onlyvips.core.capped import capped_note, options_of
from onlyvips.core.manifest import NamespaceRecord
from onlyvips.errors import Permanent
from onlyvips.ports import Namespace
from tests.procedures.test_restore import METADATA, Source, World
from tests.simulators.target import SimulatedTarget, state
from tests.simulators.writer import Writer


def record(options: Any, documents: int, size: int) -> NamespaceRecord:
    metadata = json.dumps({"options": options, "indexes": []})
    return NamespaceRecord("app", "log", "collection", metadata, documents, size, "0" * 16)


class Losing(SimulatedTarget):
    """Loses what does not fit, though nobody said that it should."""

    def _evict(self, namespace: str) -> None:
        if len(self.data[namespace]) > 20:
            self.data[namespace].pop(next(iter(self.data[namespace])))


def capped(monkeypatch: pytest.MonkeyPatch, collection: str, most: int) -> None:
    """From now on this collection of a source may have no more than so many documents."""
    told = (
        f'{{"options":{{"capped":true,"size":{{"$numberInt":"4096"}},"max":{{"$numberInt":"{most}"}}}},{METADATA[1:]}'
    )

    def namespaces(self: Source, database: str) -> list[Namespace]:
        names = ("orders", "users")
        return [Namespace(database, one, "collection", told if one == collection else METADATA) for one in names]

    monkeypatch.setattr(Source, "namespaces", namespaces)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, {}),
        ({"capped": False, "size": {"$numberInt": "1"}}, {}),
        ({"capped": True, "size": {"$numberInt": "1000"}}, {}),  # rounded up to 1024 it is just enough
        ({"capped": True, "size": {"$numberDouble": "1024.0"}, "max": {"$numberLong": "10"}}, {}),
        ({"capped": True, "size": {"$numberLong": "512"}}, {"size": {"$numberLong": "1024"}}),
        ({"capped": True, "size": {"$numberInt": "4096"}, "max": 9}, {"max": {"$numberLong": "10"}}),
        ({"capped": True, "size": 512, "max": 9}, {"size": {"$numberLong": "1024"}, "max": {"$numberLong": "10"}}),
    ],
)
def test_a_cap_that_is_too_small_is_made_as_large_as_what_the_backup_holds_and_no_other_is_touched(
    options: dict[str, Any], more: dict[str, Any]
):
    found = record(options, documents=10, size=1024)
    assert options_of(found) == {**options, **more}
    told = capped_note(found)
    assert all(name in told for name in more) and bool(told) == bool(more)


def test_a_capped_collection_that_was_read_while_it_lost_its_oldest_comes_back_whole_and_the_plan_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    capped(monkeypatch, "users", 1)
    world, target = World(slices=1), SimulatedTarget()
    assert [one for one in world.plan().notes if one.startswith("app.users is capped") and "max larger" in one]
    world.restore(target)
    assert state(target, "app.users").keys() == {"u", "v"}


@pytest.mark.parametrize("keeps", [0, 1 << 20], ids=["a long log", "a short log"])
def test_a_batch_of_more_documents_than_a_cap_has_room_for_leaves_the_newest_and_ends(
    monkeypatch: pytest.MonkeyPatch, keeps: int
):
    capped(monkeypatch, "orders", 20)
    monkeypatch.setattr(Writer, "kinds", "i")
    world, target = World(slices=3), SimulatedTarget()
    world.keeps = keeps
    world.restore(target)
    assert len(world.writer.documents) > 40
    assert [*state(target, "app.orders")] == sorted(world.writer.documents)[-20:]


def test_a_collection_without_a_cap_that_loses_documents_ends_the_restore(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Writer, "kinds", "i")
    world, target = World(slices=3), Losing()
    with pytest.raises(Permanent, match=r"documents of app\.orders read back otherwise than they were written"):
        world.restore(target)
