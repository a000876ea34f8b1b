"""A retry of a run goes on with the backup that a dead attempt of it began: nothing is read twice, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from onlyvips.core.catalog import read_catalog
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import EVERYTHING, Namespace
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.base import base
from onlyvips.steps.journal import Begun, find_begun
from onlyvips.steps.shelves import read_shelves
from tests.procedures.test_backup import PLAN, FixedClock, SimulatedDatabase, database, manifests, stores, unpack
from tests.simulators.objects import Killed, Life, SimulatedStore

RUN = Run(3, FixedClock(), lambda n: b"\xab" * n, key="run-1")
ONE_AT_A_TIME = replace(PLAN, workers=1)


class Watched(SimulatedDatabase):
    """Knows which collections were read."""

    def __init__(self) -> None:
        super().__init__(database().collections)
        self.read: list[str] = []

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        self.read.append(namespace.collection)
        return super().documents(namespace, where)


class Later(FixedClock):
    """An hour after the first attempt."""

    def now(self) -> float:
        return super().now() + 3600


def session(source: SimulatedDatabase, places: Sequence[SimulatedStore], run: Run = RUN) -> Session:
    begun = find_begun(places, "lab", "mongodb", run.key)
    found = base(source, places, ONE_AT_A_TIME, run, begun)
    found.begin()
    return found


def reborn(places: Sequence[SimulatedStore]) -> list[SimulatedStore]:
    """The same objects, and a process that lives."""
    found = stores(*(place.name for place in places))
    for place, before in zip(found, places, strict=True):
        place.objects = dict(before.objects)
    return found


def whole(taken: Taken, places: Sequence[SimulatedStore]) -> bool:
    (backup,) = [one for one in read_catalog(read_shelves(places, "lab")) if one.manifest == taken.manifest]
    counts = {
        unpack(place.objects[taken.manifest.prefix + record.key], 0)[1].count == record.namespaces[0].documents
        for place in places
        for record in taken.manifest.objects
    }
    return backup.complete == tuple(place.name for place in places) and counts == {True}


def test_a_death_at_any_write_is_gone_on_from_and_what_was_done_is_not_read_again():
    alive = Life()
    take(session(Watched(), stores("a", "b", life=alive)))
    for death in range(1, alive.writes + 1):
        places = stores("a", "b", life=Life(death))
        with pytest.raises(Killed):
            take(session(Watched(), places))
        assert sum(len(manifests(place)) for place in places) < 2
        again = reborn(places)
        before = {key for place in again for key in place.objects}
        source = Watched()
        second = session(source, again, replace(RUN, epoch=4, clock=Later(), entropy=lambda n: b"\xcd" * n))
        taken = take(second)
        done = {name for name in source.collections if any("/journal/" in key and f".{name}." in key for key in before)}
        if second.resumed:
            assert taken.manifest.epoch == 3
            assert not done & set(source.read)
            assert set(source.read) == set(source.collections) - done
        lacking = {one.name for one in taken.destinations if not one.complete}
        assert whole(taken, [place for place in again if place.name not in lacking])
        assert len(lacking) <= 1 and ("it lacks" in taken.lacking or not lacking)


def test_another_run_and_a_run_without_a_key_begin_anew():
    places = stores("a", life=Life(9))
    with pytest.raises(Killed):
        take(session(Watched(), places))
    again = reborn(places)
    assert find_begun(again, "lab", "mongodb", "run-1") is not None
    assert not session(Watched(), again, replace(RUN, key="run-2", entropy=lambda n: b"\x02" * n)).resumed
    before = dict(again[0].objects)
    plain = base(Watched(), again, PLAN, replace(RUN, key="", entropy=lambda n: b"\x03" * n))
    plain.begin()
    assert again[0].objects == before


def test_what_is_finished_is_not_gone_on_with():
    places = stores("a", "b")
    take(session(Watched(), places))
    assert find_begun(places, "lab", "mongodb", "run-1") is None
    del places[1].objects[manifests(places[1])[0]]
    assert find_begun(places, "lab", "mongodb", "run-1") is None


def test_while_a_destination_does_not_answer_nothing_is_gone_on_with():
    """It may be the one that has the manifest."""
    places = stores("a", "b")
    session(Watched(), places)

    def away(prefix: str) -> list[object]:
        raise Permanent("b: nothing answers.")

    places[1].list = away  # type: ignore[method-assign, assignment]
    assert find_begun(places, "lab", "mongodb", "run-1") is None


def test_collections_that_changed_meanwhile_begin_a_new_backup():
    places = stores("a")
    session(Watched(), places)
    source = Watched()
    source.collections["new"] = []
    assert not session(source, places, replace(RUN, entropy=lambda n: b"\x02" * n)).resumed


def test_indexes_that_changed_meanwhile_begin_a_new_backup():
    """What was written before has the old ones in it."""
    places = stores("a")
    session(Watched(), places)

    class Indexed(Watched):
        def namespaces(self, database: str) -> list[Namespace]:
            return [replace(one, metadata='{"indexes":["new"]}') for one in super().namespaces(database)]

    assert session(Watched(), places).resumed
    assert not session(Indexed(), places, replace(RUN, entropy=lambda n: b"\x02" * n)).resumed


def test_an_object_that_is_tried_again_is_counted_from_its_beginning():
    class Blinks(Watched):
        def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
            self.breaks_in = namespace.collection if namespace.collection not in self.read else ""
            return super().documents(namespace, where)

    places = stores("a", "b")
    tried = session(Blinks(), places)
    for key in tried.keys:
        if "empty" not in key:
            with pytest.raises(Transient):
                tried.write(key)
        tried.write(key)
    taken = tried.publish()
    assert not taken.degraded and whole(taken, places)
    closed = {
        one.collection: one
        for one in (
            unpack(places[0].objects[taken.manifest.prefix + record.key], 0)[1] for record in taken.manifest.objects
        )
    }
    for record in taken.manifest.objects:
        (told,) = record.namespaces
        found = closed[told.collection]
        assert (told.documents, told.bytes, told.crc64) == (found.count, found.size, f"{found.crc64:016x}")


def test_a_destination_that_lost_an_object_meanwhile_is_no_copy():
    places = stores("a", "b")
    first = session(Watched(), places)
    first.write(first.keys[0])
    del places[1].objects[first.place + first.keys[0]]
    taken = take(session(Watched(), places))
    assert [one.name for one in taken.destinations if one.complete] == ["a"]
    assert "b: it lacks objects/0001" in taken.lacking


@pytest.mark.parametrize("bytes_", [1, -1])
def test_an_object_that_is_not_what_the_journal_says_is_not_believed_by_its_size(bytes_: int):
    places = stores("a", "b")
    first = session(Watched(), places)
    first.write(first.keys[0])
    key = first.place + first.keys[0]
    data = places[1].objects[key]
    places[1].objects[key] = bytes([data[0] ^ 1]) + data[1 : bytes_ if bytes_ < 0 else None]
    taken = take(session(Watched(), places))
    assert [one.name for one in taken.destinations if one.complete] == ["a"]
    assert "as an earlier attempt wrote it" in taken.lacking
    assert whole(taken, places[:1])


def test_a_journal_that_cannot_be_read_now_is_asked_again_and_nothing_is_written_over():
    places = stores("a")
    first = session(Watched(), places)
    first.write(first.keys[0])
    before = dict(places[0].objects)
    second = session(Watched(), places)
    places[0].goes_away_while_reading()
    with pytest.raises(Transient):
        second.write(second.keys[0])
    assert places[0].objects == before


def test_a_journal_that_cannot_be_believed_is_passed_over():
    places = stores("a")
    first = session(Watched(), places)
    first.write(first.keys[0])
    for key in [key for key in places[0].objects if "/journal/0001" in key]:
        places[0].objects[key] = b"{}"
    source = Watched()
    second = session(source, places)
    assert second.resumed
    with pytest.raises(Permanent, match="no destination has a complete copy"):
        take(second)  # the damaged entry cannot be written again: this destination is no copy
    assert "orders" in source.read


def test_begun_says_where_it_is():
    begun = Begun("r", "lab", "mongodb", "20260801T120000Z-abababab", 3, 0.0, ())
    assert begun.place == "lab/mongodb/20260801T120000Z-abababab-e3/"
