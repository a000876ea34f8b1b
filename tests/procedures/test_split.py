"""A big collection in several objects: all of it and nothing twice, in the same places when a run is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import bson
import pytest

from onlyvips.core.ranges import Sampled, Strides
from onlyvips.errors import Transient
from onlyvips.ports import EVERYTHING, Namespace
from onlyvips.steps import split
from onlyvips.steps.backup import Run, Session, Taken, take
from onlyvips.steps.base import base
from onlyvips.steps.journal import find_begun
from onlyvips.steps.split import Part, State, cut_of, divisible, member_of, parts, remembered, state_of
from tests.procedures.test_backup import PLAN, FixedClock, SimulatedDatabase, manifests, stores, unpack
from tests.procedures.test_backup_resume import RUN, reborn
from tests.simulators.objects import Killed, Life, SimulatedStore

SPLIT = replace(PLAN, split_above=2_000, object_size=5_000, workers=1)
KEYED = '{"indexes":[{"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}]}'
IDS: list[Any] = [*range(300), float("nan"), None, "text", bson.MinKey(), bson.ObjectId(b"x" * 12)]


class DividedDatabase(SimulatedDatabase):
    """One big collection with ids of many kinds, and a small one; knows what it was asked."""

    def __init__(self, member: str = "m:1#a", metadata: str = KEYED) -> None:
        batches = [b"".join(bson.encode({"_id": id, "p": "x" * 30}) for id in IDS[at : at + 50]) for at in (0, 50, 100)]
        batches += [b"".join(bson.encode({"_id": id, "p": "x" * 30}) for id in IDS[150:])]
        super().__init__({"big": batches, "small": [bson.encode({"_id": 1})]})
        self.member, self.metadata = member, metadata
        self.sampled: list[str] = []
        self.asked: list[bytes] = []
        self.dies_in = b""

    def server(self) -> Mapping[str, str]:
        return {**super().server(), "member": self.member}

    def namespaces(self, database: str) -> list[Namespace]:
        return [replace(one, metadata=self.metadata) for one in super().namespaces(database)]

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        self.asked.append(where)
        for number, batch in enumerate(super().documents(namespace, where)):
            yield batch
            if where == self.dies_in and number:
                raise Transient("The database went away while we wanted to read app.big: see that it runs.")

    def size(self, namespace: Namespace) -> int:
        return sum(map(len, self.collections[namespace.collection]))

    def sample(self, namespace: Namespace, most: int) -> list[Sampled]:
        self.sampled.append(namespace.collection)
        strides = Strides(most)
        for batch in self.collections[namespace.collection]:
            strides.add(batch)
        return strides.samples()


def session(source: DividedDatabase, places: list[SimulatedStore], run: Run = RUN) -> Session:
    found = base(source, places, SPLIT, run, find_begun(places, "lab", "mongodb", run.key), sampler=source)
    found.begin()
    return found


def ids_of(taken: Taken, place: SimulatedStore, collection: str) -> list[list[str]]:
    """The ids in each object of a collection, as text."""
    found = []
    for record in taken.manifest.objects:
        (namespace,) = record.namespaces
        if namespace.collection == collection:
            _, closed, data = unpack(place.objects[taken.manifest.prefix + record.key], 0)
            assert (closed.count, closed.size) == (namespace.documents, namespace.bytes)
            found.append([repr(one["_id"]) for one in bson.decode_all(data)])
    return found


def test_every_document_of_a_big_collection_is_in_exactly_one_object():
    places = stores("a")
    taken = take(session(DividedDatabase(), places))
    objects = ids_of(taken, places[0], "big")
    assert len(objects) > 4
    assert sorted(id for each in objects for id in each) == sorted(map(repr, IDS))
    assert set(objects[-1]) == {"nan", "None", "'text'", "MinKey()", repr(bson.ObjectId(b"x" * 12))}
    assert ids_of(taken, places[0], "small") == [["1"]]


def test_without_the_rest_documents_would_be_lost(monkeypatch: pytest.MonkeyPatch):
    """What the test above is worth."""
    whole: Callable[..., list[Part]] = split.parts
    monkeypatch.setattr("onlyvips.steps.base.parts", lambda ranges: whole(ranges)[: len(ranges) or 1])
    places = stores("a")
    objects = ids_of(take(session(DividedDatabase(), places)), places[0], "big")
    assert {"nan", "None", "MinKey()"} <= set(map(repr, IDS)) - {id for each in objects for id in each}


def test_objects_are_named_by_their_piece_and_stay_below_the_object_size():
    places = stores("a")
    taken = take(session(DividedDatabase(), places))
    keys = [record.key for record in taken.manifest.objects]
    count = len(keys) - 2
    assert keys[0] == f"objects/0001-app.big.1of{count}.archive.zst.age"
    assert keys[-2:] == [f"objects/{count + 1:04d}-app.big.rest.archive.zst.age", keys[-1]]
    assert all(one.namespaces[0].bytes <= SPLIT.object_size for one in taken.manifest.objects)
    assert taken.manifest.documents == len(IDS) + 1


def test_below_the_size_nothing_is_sampled_and_nothing_split():
    source = DividedDatabase()
    made = base(source, stores("a"), replace(SPLIT, split_above=1 << 30), RUN, sampler=source)
    assert len(made.keys) == 2
    assert source.sampled == []


@pytest.mark.parametrize(
    "metadata",
    [
        '{"options":{"capped":true,"size":99},"indexes":[{"key":{"_id":1},"name":"_id_"}]}',
        '{"indexes":[]}',
        '{"indexes":[{"key":{"_id":1,"a":1},"name":"both"}]}',
    ],
)
def test_capped_collections_and_those_without_an_index_on_id_stay_whole(metadata: str):
    source = DividedDatabase(metadata=metadata)
    assert not divisible(source.namespaces("app")[0])
    assert cut_of(source.namespaces("app")[0], source, SPLIT) == ()


def test_what_is_expected_is_what_the_server_counts_and_less_once_a_piece_is_done_before():
    source = DividedDatabase()
    whole = sum(source.size(one) for one in source.namespaces("app"))
    places = stores("a", life=Life(9))
    first = base(source, places, SPLIT, RUN, sampler=source)
    assert whole - len(first.keys) < first.expected <= whole
    with pytest.raises(Killed):
        first.begin()
        take(first)
    again = reborn(places)
    second = base(source, again, SPLIT, RUN, find_begun(again, "lab", "mongodb", RUN.key), sampler=source)
    second.write(second.keys[0])
    assert 0 < second.expected < first.expected


def test_a_collation_lets_no_text_be_a_bound():
    source = DividedDatabase(metadata=KEYED.replace("{", '{"options":{"collation":{"locale":"tr"}},', 1))
    source.collections["big"] = [bson.encode({"_id": f"t{n}"}) for n in range(400)]
    assert cut_of(source.namespaces("app")[0], source, SPLIT) == ()


def test_a_death_at_any_write_is_gone_on_from_with_the_same_cuts():
    alive = Life()
    take(session(DividedDatabase(), stores("a", "b", life=alive)))
    for death in range(1, alive.writes + 1, 3):
        places = stores("a", "b", life=Life(death))
        with pytest.raises(Killed):
            take(session(DividedDatabase(), places))
        again = reborn(places)
        source = DividedDatabase()
        # What was added meanwhile would move every cut, were they found anew.
        source.collections["big"].insert(0, b"".join(bson.encode({"_id": -n, "p": "y" * 90}) for n in range(1, 200)))
        second = session(source, again, replace(RUN, epoch=4, entropy=lambda n: b"\xcd" * n))
        taken = take(second)
        if second.resumed:
            assert source.sampled == []
            assert taken.manifest.epoch == 3
        held = [id for each in ids_of(taken, again[0 if taken.destinations[0].complete else 1], "big") for id in each]
        assert len(held) == len(set(held))
        assert set(map(repr, IDS)) <= set(held)


def test_a_source_that_dies_in_the_middle_of_a_range_is_tried_again_to_exactly_the_same():
    places, source = stores("a"), DividedDatabase()
    tried = session(source, places)
    ranges = remembered(tried._state)
    assert ranges is not None
    source.dies_in = parts(ranges.cuts["big"])[1].where
    tried.write(tried.keys[0])
    with pytest.raises(Transient, match="went away while we wanted to read app.big"):
        tried.write(tried.keys[1])
    assert manifests(places[0]) == []
    source.dies_in = b""
    for key in tried.keys[1:]:
        tried.write(key)
    objects = ids_of(tried.publish(), places[0], "big")
    assert sorted(id for each in objects for id in each) == sorted(map(repr, IDS))


def test_another_member_or_a_restarted_one_begins_a_new_backup():
    places = stores("a")
    session(DividedDatabase(), places)
    begun = find_begun(places, "lab", "mongodb", RUN.key)
    assert member_of(begun) == "m:1#a"
    for member, resumed in (("m:1#a", True), ("m:1#b", False), ("m:2#a", False)):
        run = replace(RUN, entropy=lambda n: b"\x07" * n)
        again = reborn(places)
        assert session(DividedDatabase(member), again, run).resumed is resumed


def test_a_state_comes_back_as_it_was_and_anything_else_is_none_of_ours():
    source = DividedDatabase()
    state = state_of(source, source.namespaces("app"), source, SPLIT)
    assert len(state.cuts["big"]) > 3
    assert remembered(state.text()) == state
    for text in ("", "7", "{}", '{"member":"","namespaces":"","cuts":{"a":[["zz",""]]}}', '{"cuts":[]}', "0" * 64):
        assert remembered(text) is None
    assert remembered(State("", "", {}).text()) == State("", "", {})


def test_what_is_remembered_beside_a_window_of_the_oplog_is_found_again():
    source, places = DividedDatabase(), stores("a")
    session(source, places)
    begun = find_begun(places, "lab", "mongodb", RUN.key)
    assert begun is not None
    with_window = replace(begun, state=f"oplog 5:1 -1\n{begun.state}")
    again = DividedDatabase()
    found = state_of(again, again.namespaces("app"), again, SPLIT, with_window)
    assert (found.text(), member_of(with_window), again.sampled) == (begun.state, "m:1#a", [])


def test_the_manifest_says_who_was_read_and_what_became_of_users():
    places = stores("a")
    taken = take(base(DividedDatabase(), places, SPLIT, Run(3, FixedClock(), lambda n: b"\xab" * n)))
    facts = {fact.name: fact.value for fact in taken.manifest.facts}
    assert facts["member"] == "m:1"
    assert facts["users_and_roles"] == "none: there is nobody"
