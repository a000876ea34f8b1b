"""What no replay of a database can do, found by the replay's own rule: what is found, what is not, how it is kept."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import bson
import fastcrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.crud import Crud
from onlyvips.core.manifest import Edge, Manifest, Window
from onlyvips.core.oplog import Reader
from onlyvips.core.oplog_entry import Logged, Position, logged
from onlyvips.core.replay import Names, Translator, Untranslatable
from onlyvips.core.replayable import LAST, Stop, Watch, common, first_stop, stops
from tests.core.test_catalog import MANIFEST
from tests.simulators.oplog import NOTHING_BEFORE, START, after, command, entry, session
from tests.simulators.writer import Writer

NAMES = Names((("app.*", "app.*"),))


def watched(*raw: bytes) -> Watch:
    """As they are read when they are backed up."""
    watch, reader = Watch(NAMES), Reader(fastcrc.crc64.xz)
    for one in raw:
        watch.see(reader.feed(one).entries)
    return watch


def refused(raw: bytes) -> str:
    """By the replay itself."""
    try:
        Translator(NAMES, Position(0, 0), Position(1 << 32, 0)).translate(logged(raw))
    except Untranslatable as error:
        return str(error.__cause__)
    return ""


STOPS = {
    "collMod": command(9, ns="app.$cmd", collMod="orders", validator={}),
    "dropDatabase": command(9, ns="app.$cmd", dropDatabase=1),
    "makes a view": command(9, ns="app.$cmd", create="v", viewOn="orders", pipeline=[]),
    "changes a view": entry(9, ns="app.system.views", o={"_id": "app.v"}),
    "time series": entry(9, ns="app.system.buckets.weather", o={"_id": 1}),
    "only one of them comes back": command(
        9, ns="app.$cmd", renameCollection="app.onlyvips_restored_orders", to="app.orders", dropTarget=True
    ),
    "convertToCapped": command(9, ns="app.$cmd", convertToCapped="orders", size=1),
    "an update by [$]v, [$]set": entry(9, op="u", o={"$v": 1, "$set": {"a.b": 1}}, o2={"_id": 1}),
    "an update by [$]inc": entry(9, op="u", o={"$inc": {"a": 1}}, o2={"_id": 1}),
    "no operation x": entry(9, op="x"),
    "system.views": command(9, applyOps=[{"op": "d", "ns": "app.system.views", "o": {"_id": "app.v"}}]),
}
NONE = [
    entry(9),
    entry(9, op="d"),
    entry(9, op="n", ns=""),
    entry(9, op="u", o={"$v": 2, "diff": {"u": {"a": 1}}}, o2={"_id": 1}),
    entry(9, op="u", o={"$v": 1, "$set": {"_id": 1, "a": "$"}}, o2={"_id": 1}),
    entry(9, op="u", o={"a": "costs $5"}, o2={"_id": 1}),
    entry(9, ns="other.system.views", o={"_id": "other.v"}),
    entry(9, ns="app.onlyvips_restored_orders"),
    entry(9, ns="app.system.js", o={"_id": "f"}),
    command(9, ns="app.$cmd", create="plain", idIndex={"v": 2}),
    command(9, ns="app.$cmd", drop="orders"),
    command(9, ns="app.$cmd", renameCollection="app.a", to="app.b"),
    command(9, ns="app.$cmd", createIndexes="orders", v=2, key={"a": 1}, name="a_1"),
    command(9, ns="app.$cmd", drop="onlyvips_restore"),
    command(9, ns="other.$cmd", dropDatabase=1),
]


@pytest.mark.parametrize("why", STOPS)
def test_what_a_replay_refuses_is_found_with_its_place_and_its_reason(why: str):
    (found,) = watched(entry(8), STOPS[why], entry(10)).found
    assert found == Stop(Position(9, 1), Position(9, 1), refused(STOPS[why]))
    assert re.search(why, found.why)


@pytest.mark.parametrize("raw", NONE)
def test_what_a_replay_does_is_not_found(raw: bytes):
    assert refused(raw) == "" and watched(raw).found == []


def test_entries_that_are_read_by_their_heads_are_found_too():
    views = [entry(number, ns="app.system.views", o={"_id": f"app.{number}"}) for number in (8, 9)]
    old = [entry(number, op="u", o={"$inc": {"a": 1}}, o2={"_id": 1}) for number in (10, 11)]
    reader = Reader(fastcrc.crc64.xz)
    read = [one for raw in (*views, *old) for one in reader.feed(raw).entries]
    assert [type(one) for one in read] == [Logged, Crud, Logged, Crud]
    assert [one.at.seconds for one in watched(*views, *old).found] == [8, 9, 10, 11]


@given(st.integers(0, 1 << 32))
def test_what_a_writer_writes_is_never_found(seed: int):
    writer = Writer(START, seed)
    assert watched(*(writer.step() for _ in range(40))).found == []


_names = st.sampled_from(["$v", "$set", "$unset", "diff", "_id", "a", "$x"])
_inner = st.dictionaries(st.sampled_from(["_id", "a", "$b"]), st.sampled_from([1, "$", "x"]), max_size=3)
_values = st.one_of(st.sampled_from([1, 2, "$", "text"]), _inner)


@given(st.dictionaries(_names, _values, max_size=4))
def test_an_update_that_is_passed_by_at_once_is_one_that_the_replay_does(o: dict[str, Any]):
    raw = entry(9, op="u", o=o, o2={"_id": 1})
    assert not (common(bson.encode(o)) and refused(raw))


def test_the_usual_updates_are_passed_by_at_once():
    for what in ({"$v": 2, "diff": {"u": {"a": 1}}}, {"$v": 1, "$set": {"_id": 1, "a": "$"}}, {"_id": 1, "a": 2}):
        assert common(bson.encode(what))


def test_a_transaction_is_looked_at_where_it_is_written_and_its_beginning_may_be_elsewhere():
    who, view = session(), [{"op": "i", "ns": "app.system.views", "o": {"_id": "app.v"}}]
    part = entry(5, op="c", ns="admin.$cmd", o={"applyOps": view, "partialTxn": True}, **who, **NOTHING_BEFORE)
    plain = [{"op": "i", "ns": "app.orders", "o": {"_id": 1}}]
    end = entry(7, op="c", ns="admin.$cmd", o={"applyOps": plain}, **who, **after(5))
    commit = entry(7, op="c", ns="admin.$cmd", o={"commitTransaction": 1}, **who, **after(5))
    assert [one.at for one in watched(part, end).found] == [Position(5, 1)]
    assert watched(entry(6), end).found == [] and watched(entry(6), commit).found == []


# --- as facts


def with_stops(*found: Stop) -> Manifest:
    window = Window(Edge("1:1", 1), Edge("99:1", 1), 2)
    return replace(MANIFEST, window=window, facts=tuple(one.fact for one in found))


def test_a_fact_says_all_of_it_again():
    every = (*STOPS.values(), command(9, ns="app.$cmd", collMod="x\ny"))
    found = [stop for raw in every for stop in watched(raw).found]
    assert stops(with_stops(*found)) == found
    assert found[0].fact.value == "9:1 no replay can do collMod (app.orders)"


def test_an_unreadable_fact_and_none_say_nothing():
    odd = replace(with_stops(Stop(Position(1, 1), Position(1, 1), "x")).facts[0], value="soon")
    assert stops(replace(MANIFEST, facts=(odd,))) == [] == stops(MANIFEST)


def test_of_very_many_the_last_fact_tells_a_stretch():
    watch = watched(*(entry(9, number, op="u", o={"$inc": {"a": 1}}, o2={"_id": 1}) for number in range(1, 100)))
    assert len(watch.facts) == 20 and watch.ends_a_base == ""
    assert watch.facts[-1].value.startswith("9:20-9:99 an update by $inc")
    found = stops(with_stops(*watch.found))
    assert first_stop(found, Position(9, 50)) == replace(found[-1], at=Position(9, 50))
    assert first_stop(found, Position(9, 7)) == found[6] and first_stop(found, Position(9, 100)) is None


def test_just_before_it_is_the_entry_before_or_the_end_of_the_second_before():
    assert Stop(Position(9, 3), Position(9, 3), "").before == Position(9, 2)
    assert Stop(Position(9, 1), Position(9, 1), "").before == Position(8, LAST)
    assert bson.Timestamp(8, LAST) < bson.Timestamp(9, 1)
