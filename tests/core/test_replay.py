"""Entries of the oplog as writes: what they make of documents, in every dialect, once or twice, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core import little_bson
from onlyvips.core.changes import Batch, Change, Create, Drop, Index, Operation, Put, Remove, Rename
from onlyvips.core.diff import apply_diff
from onlyvips.core.oplog_entry import Position, logged
from onlyvips.core.replay import Names, Translator, Untranslatable, id_of, indexes_of
from tests.simulators.oplog import NOTHING_BEFORE, START, after, command, entry, session
from tests.simulators.writer import Writer, decoded

EVERYTHING = Names((("app.*", "app.*"),))
EVER = Position(1 << 31, 0)


def translator(names: Names = EVERYTHING, until: Position = EVER) -> Translator:
    return Translator(names, Position(0, 0), until)


def translated(*entries: bytes, names: Names = EVERYTHING) -> list[Operation]:
    one = translator(names)
    return [operation for raw in entries for operation in one.translate(logged(raw))]


def replayed(documents: dict[bytes, bytes], entries: list[bytes], size: int) -> dict[bytes, bytes]:
    """By batches of ``size`` entries, as a restore writes them."""
    found = dict(documents)
    for at in range(0, len(entries), size):
        batch = Batch()
        for one in translated(*entries[at : at + size]):
            assert isinstance(one, Put | Remove | Change)
            batch.add(one)
        for ids in batch.wanted().values():
            for id in ids:
                if id in found:
                    batch.settle(("app.orders", id), found[id])
        for write in batch.writes():
            if isinstance(write, Put):
                found[write.id] = write.document
            else:
                found.pop(write.id, None)
    return found


@given(st.integers(0, 1 << 32), st.integers(1, 60), st.integers(1, 20), st.data())
def test_entries_replayed_give_the_writers_state_and_a_prefix_done_twice_too(
    seed: int, length: int, size: int, data: st.DataObject
) -> None:
    writer = Writer(START, seed)
    entries = [writer.step() for _ in range(length)]
    twice = data.draw(st.integers(0, length))
    once = replayed({}, entries, size)
    assert decoded(once) == writer.documents
    # a document that a later entry removes or replaces is settled by it
    assert decoded(replayed(replayed({}, entries[:twice], size), entries, size)) == writer.documents
    assert decoded(replayed(once, entries, size)) == writer.documents


@given(st.integers(0, 1 << 32), st.integers(1, 40), st.data())
def test_a_base_that_was_read_document_by_document_meanwhile_is_settled(
    seed: int, length: int, data: st.DataObject
) -> None:
    """Each document as it was at some moment of its own, as a scan finds them."""
    writer = Writer(START, seed)
    entries = [writer.step() for _ in range(length)]
    base: dict[bytes, bytes] = {}
    for id in sorted({id for state in writer.states.values() for id in state}):
        seen = writer.states[data.draw(st.integers(START, START + length))]
        if id in seen:
            base[bson.encode({"_id": id})] = bson.encode(seen[id])
    assert decoded(replayed(base, entries, 7)) == writer.documents


# --- diffs, by hand, with what the server makes of them next to them

DIFFS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"_id": 1, "a": 1, "b": 2}, {"u": {"a": 5}}, {"_id": 1, "a": 5, "b": 2}),
    ({"_id": 1, "a": 1, "b": 2}, {"d": {"a": False}}, {"_id": 1, "b": 2}),
    ({"_id": 1, "a": 1, "b": 2}, {"i": {"c": 3, "aa": 4}}, {"_id": 1, "a": 1, "b": 2, "c": 3, "aa": 4}),
    ({"_id": 1, "a": 1, "b": 2}, {"i": {"a": 3}}, {"_id": 1, "b": 2, "a": 3}),
    ({"_id": 1}, {"u": {"a": 5}}, {"_id": 1, "a": 5}),
    ({"_id": 1, "x": {"y": {"z": 1}, "w": 2}}, {"sx": {"sy": {"u": {"z": 9}}}},
     {"_id": 1, "x": {"y": {"z": 9}, "w": 2}}),
    ({"_id": 1, "a.b": {"c": 1}}, {"sa.b": {"u": {"c": 2}}}, {"_id": 1, "a.b": {"c": 2}}),
    ({"_id": 1, "l": [1, 2, 3]}, {"sl": {"a": True, "u1": 9}}, {"_id": 1, "l": [1, 9, 3]}),
    ({"_id": 1, "l": [1, 2, 3]}, {"sl": {"a": True, "l": 2}}, {"_id": 1, "l": [1, 2]}),
    ({"_id": 1, "l": [1]}, {"sl": {"a": True, "l": 3, "u2": 7}}, {"_id": 1, "l": [1, None, 7]}),
    ({"_id": 1, "l": [{"q": 1}, [1]]}, {"sl": {"a": True, "s0": {"i": {"p": 2}}, "s1": {"a": True, "u1": 4}}},
     {"_id": 1, "l": [{"q": 1, "p": 2}, [1, 4]]}),
    # replayed on a later state: null stands in until a later entry
    ({"_id": 1, "l": 5}, {"sl": {"a": True, "u0": 1}}, {"_id": 1, "l": None}),
    ({"_id": 1, "l": [1]}, {"sl": {"u": {"a": 1}}}, {"_id": 1, "l": None}),
    ({"_id": 1, "l": [1]}, {"sl": {"a": True, "s3": {"u": {"a": 1}}}}, {"_id": 1, "l": [1, None, None, None]}),
    ({"_id": 1}, {"sl": {"a": True, "u0": 1}}, {"_id": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "diff", "expected"), DIFFS)
def test_a_diff_makes_of_a_document_what_the_server_does_in_the_same_order_of_fields(
    before: dict[str, Any], diff: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert apply_diff(bson.encode(before), bson.encode(diff)) == bson.encode(expected)


def test_a_name_that_stands_twice_in_a_document_changes_twice_and_what_is_not_there_comes_at_the_end() -> None:
    one, two, last = (little_bson.int32("a", number) for number in (1, 2, 9))
    before, new = little_bson.document(one, two), little_bson.int32("b", 3)
    diff = bson.encode({"u": {"a": 9, "b": 3}})
    assert apply_diff(before, diff) == little_bson.document(last, last, new)


@pytest.mark.parametrize("diff", [{"b": {"x": 1}}, {"u": 1}, {"sl": {"a": True, "x1": 2}}])
def test_a_diff_of_an_unknown_kind_is_no_diff(diff: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no section"):
        apply_diff(bson.encode({"_id": 1, "l": [1]}), bson.encode(diff))


# --- dialects, commands, transactions


def put(**document: Any) -> Put:
    return Put("app.orders", bson.encode({"_id": document["_id"]}), bson.encode(document))


def test_ferretdbs_update_is_the_whole_document() -> None:
    o = {"$v": 1, "$set": {"_id": 4, "a": 1}}
    assert translated(entry(1, op="u", o=o, o2={"_id": 4})) == [put(_id=4, a=1)]


def test_a_replacement_without_its_id_gets_it_first() -> None:
    assert translated(entry(1, op="u", o={"a": 1}, o2={"_id": 4})) == [put(_id=4, a=1)]


def test_noops_other_databases_and_the_servers_own_bookkeeping_write_nothing() -> None:
    assert translated(entry(1, op="n", ns=""), entry(2, ns="other.orders"), entry(3, ns="config.transactions")) == []
    assert translated(command(4, ns="other.$cmd", collMod="x"), command(5, ns="app.$cmd", startIndexBuild="x")) == []


def test_an_entry_that_comes_again_at_the_boundary_of_slices_is_done_once() -> None:
    one = translator()
    assert [len(one.translate(logged(raw))) for raw in (entry(1), entry(2), entry(2), entry(3))] == [1, 1, 0, 1]
    assert one.entries == 3


def test_nothing_after_the_wanted_position_or_before_the_window_is_done() -> None:
    one = Translator(EVERYTHING, Position(2, 1), Position(3, 2))
    assert [len(one.translate(logged(entry(*at)))) for at in ((1, 9), (2, 1), (3, 2), (3, 3), (4, 1))] == [
        0,
        1,
        1,
        0,
        0,
    ]


def applied(*ids: int) -> dict[str, Any]:
    return {"applyOps": [{"op": "i", "ns": "app.orders", "o": {"_id": id}} for id in ids]}


def test_applyops_outside_a_transaction_is_done_at_once() -> None:
    assert translated(command(1, **applied(1, 2))) == [put(_id=1), put(_id=2)]


def test_a_transaction_is_done_with_its_end_and_one_that_was_given_up_never() -> None:
    who, other = session(1), session(2)
    parts = [
        entry(1, op="c", ns="admin.$cmd", o={**applied(1), "partialTxn": True}, **who, **NOTHING_BEFORE),
        entry(2, op="c", ns="admin.$cmd", o={**applied(7), "prepare": True}, **other, **NOTHING_BEFORE),
        entry(3, o={"_id": 3}),
        entry(4, op="c", ns="admin.$cmd", o=applied(2), **who, **after(1)),
        entry(5, op="c", ns="admin.$cmd", o={"abortTransaction": 1}, **other, **after(2)),
    ]
    assert translated(*parts) == [put(_id=3), put(_id=1), put(_id=2)]
    prepared = [parts[1], entry(6, op="c", ns="admin.$cmd", o={"commitTransaction": 1}, **other, **after(2))]
    assert translated(*prepared) == [put(_id=7)]
    assert translated(parts[1], parts[2]) == [put(_id=3)]


def test_a_transaction_without_its_beginning_is_refused() -> None:
    last = entry(4, op="c", ns="admin.$cmd", o=applied(2), **session(), **after(1))
    with pytest.raises(Untranslatable, match="beginning is not there"):
        translated(entry(3), last)


def test_commands_are_done_by_name_and_indexes_remembered() -> None:
    one = translator()
    one.indexes["app.orders"] = indexes_of('{"indexes":[{"name":"_id_"},{"name":"old","key":{"o":1}}]}')
    key = {"v": 2, "key": {"a": 1}, "name": "a_1"}
    log = [
        command(1, ns="app.$cmd", create="new", idIndex={"v": 2}, temp=True, capped=True, size=4096),
        command(2, ns="app.$cmd", createIndexes="new", **key),
        command(3, ns="app.$cmd", commitIndexBuild="orders", indexes=[{**key, "name": "b_1"}]),
        command(4, ns="app.$cmd", dropIndexes="orders", index="old"),
        command(5, ns="app.$cmd", renameCollection="app.new", to="app.newer", dropTarget=False),
        command(6, ns="app.$cmd", drop="users"),
    ]
    assert [each for raw in log for each in one.translate(logged(raw))] == [
        Create("app.new", bson.encode({"capped": True, "size": 4096})),
        Rename("app.new", "app.newer"),
        Drop("app.users"),
    ]
    named = {index.namespace: bson.decode(index.spec) for index in one.indexing() if isinstance(index.spec, bytes)}
    assert named == {"app.newer": key, "app.orders": {**key, "name": "b_1"}}
    assert all(isinstance(index, Index) for index in one.indexing()) and len(one.indexing()) == 2


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (command(9, ns="app.$cmd", collMod="orders", validator={}), "no replay can do collMod"),
        (command(9, ns="app.$cmd", dropDatabase=1), "no replay can do dropDatabase"),
        (command(9, ns="app.$cmd", create="v", viewOn="orders", pipeline=[]), "makes a view"),
        (entry(9, ns="app.system.views", o={"_id": "app.v"}), "changes a view"),
        (entry(9, op="u", o={"$v": 1, "$set": {"a.b": 1}}, o2={"_id": 1}), "before MongoDB 5.0"),
        (entry(9, op="x"), "no operation x"),
        (entry(9, o={"a": 1}), "no _id"),
        (entry(9, op="u", o={"a": 1}), "o2"),
    ],
)
def test_what_no_write_does_exactly_is_refused_with_the_moment_before_it(raw: bytes, why: str) -> None:
    with pytest.raises(Untranslatable, match=why) as raised:
        translated(raw)
    assert "--at 1970-01-01T00:00:08Z" in str(raised.value)


def test_names_are_changed_everywhere_and_a_rename_out_of_what_comes_back_is_refused() -> None:
    names = Names((("app.orders", "rescue.o"),))
    assert translated(entry(1, o={"_id": 1}), entry(2, ns="app.users"), names=names) == [
        Put("rescue.o", bson.encode({"_id": 1}), bson.encode({"_id": 1}))
    ]
    with pytest.raises(Untranslatable, match="only one of them comes back"):
        translated(command(3, ns="app.$cmd", renameCollection="app.orders", to="app.old"), names=names)


def test_the_id_of_a_document_is_found_wherever_it_stands() -> None:
    assert id_of(bson.encode({"a": 1, "_id": {"b": 2}})) == bson.encode({"_id": {"b": 2}})


@pytest.mark.parametrize(
    "id",
    [
        1,
        bson.Int64(1),
        1.5,
        True,
        None,
        "a",
        b"a",
        bson.ObjectId(b"a" * 12),
        bson.Decimal128("1"),
        bson.Timestamp(1, 2),
        datetime(2026, 8, 1, tzinfo=UTC),
        {"a": 1},
        bson.MinKey(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_id_of_a_document_is_its_value_of_whatever_kind(id: Any) -> None:
    alone = bson.encode({"_id": id})
    assert id_of(alone) == id_of(bson.encode({"_id": id, "n": 1})) == id_of(bson.encode({"n": 1, "_id": id})) == alone


@pytest.mark.parametrize("end", range(5, 14))
def test_a_document_that_is_cut_in_its_id_has_none(end: int) -> None:
    with pytest.raises((ValueError, IndexError)):
        id_of(bson.encode({"_id": bson.Int64(1)})[:end])
