"""Entries of the oplog as MongoDB writes them: where they are, what they are to a transaction, what forbids a base."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core import little_bson
from onlyvips.core.manifest import Edge
from onlyvips.core.oplog_entry import Position, Transactions, forbidden, parse, position
from tests.simulators.oplog import NOTHING_BEFORE, START, after, command, entry, session

DIFF = {"$v": 2, "diff": {"u": {"status": "done"}, "d": {"old": False}}}


def applied(**more: Any) -> dict[str, Any]:
    return {"applyOps": [{"op": "i", "ns": "app.orders", "o": {"_id": 1}}], **more}


@pytest.mark.parametrize(
    "raw",
    [
        entry(START, 7, 3, "u", o=DIFF, o2={"_id": 1}, ui=bson.Binary(b"u" * 16, 4)),
        entry(START, 7, 3, "i", o={"_id": bson.Regex("a", "i"), "m": [bson.MinKey(), bson.Decimal128("1")]}),
        entry(START, 7, 3, "d"),
        entry(START, 7, 3, "n", ""),
        bson.encode({"_id": bson.ObjectId(), "op": "i", "ns": "app.orders", "ts": bson.Timestamp(START, 7), "t": 3}),
    ],
)
def test_an_entry_says_where_it_is(raw: bytes):
    found = parse(raw)
    assert found.edge == Edge(f"{START}:7", 3)
    assert position(found.edge) == found.position == Position(START, 7)
    assert found.position.name == "20260801T120000Z-7"
    assert not found.role and not forbidden(found)


@pytest.mark.parametrize("raw", [bson.encode({"op": "i"}), bson.encode({"ts": bson.Timestamp(1, 1)}), b"\5\0\0\0\0"])
def test_a_document_that_is_no_entry_is_refused(raw: bytes):
    with pytest.raises(ValueError, match="no entry of an oplog"):
        parse(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (command(1, ns="app.$cmd", renameCollection="app.a", to="app.b"), "a collection was renamed (app)"),
        (command(1, ns="app.$cmd", importCollection="app.a"), "a collection was imported"),
        (command(1, upgradeDowngradeViewlessTimeseries="x"), "time series were changed"),
        (entry(1, op="u", ns="admin.system.version", o={"$v": 2}), "feature compatibility version"),
        (command(1, ns="config.$cmd", create="reshardingOperations"), "was resharded"),
        (entry(1, ns="config.localReshardingOperations.donor"), "was resharded"),
    ],
)
def test_what_no_base_may_have_in_its_window_is_named(raw: bytes, why: str):
    assert why in forbidden(parse(raw))


@pytest.mark.parametrize(
    "raw",
    [
        command(1, ns="app.$cmd", create="orders"),
        command(1, ns="app.$cmd", create="reshardingOperations"),
        command(1, ns="app.$cmd", drop="orders"),
        entry(1, o={"renameCollection": "a field of a document"}),
        entry(1, op="n", o={"msg": "renameCollection"}),
    ],
)
def test_what_a_replay_can_do_is_allowed(raw: bytes):
    assert forbidden(parse(raw)) == ""


def test_the_entry_with_which_a_log_was_made_is_known():
    assert parse(entry(1, op="n", ns="", o={"msg": "initiating set"})).begins_the_log
    assert not parse(entry(1, op="n", ns="", o={"msg": "periodic noop"})).begins_the_log
    assert not parse(entry(1, o={"msg": "initiating set"})).begins_the_log


# --- transactions


def seen(*raws: bytes) -> Transactions:
    found = Transactions()
    for raw in raws:
        found.see(parse(raw))
    return found


def part(at: int, before: dict[str, Any], number: int = 1, **more: Any) -> bytes:
    return entry(at, op="c", ns="admin.$cmd", o=applied(**more), **session(number), **before)


def test_a_large_transaction_is_open_from_its_first_part_to_its_last():
    first, second, last = (
        part(1, NOTHING_BEFORE, partialTxn=True),
        part(2, after(1), partialTxn=True),
        part(3, after(2)),
    )
    assert seen(first).oldest == seen(first, second).oldest == (1, 1)
    assert seen(first, second, last).oldest is None
    assert seen(first, second, last).torn is None
    assert seen(second, last).torn == (2, 1)
    assert seen(entry(2), last).torn == (3, 1)
    assert seen(last).torn is None


@pytest.mark.parametrize("end", ["commitTransaction", "abortTransaction"])
def test_a_prepared_transaction_is_open_until_it_is_committed_or_aborted(end: str):
    prepared = part(1, NOTHING_BEFORE, prepare=True)
    ended = entry(2, op="c", ns="admin.$cmd", o={end: 1, "prepared": True}, **session(), **after(1))
    assert seen(prepared).oldest == (1, 1)
    assert seen(prepared, ended).oldest is None
    assert seen(entry(1), ended).torn == ((2, 1) if end == "commitTransaction" else None)


def test_a_small_transaction_and_a_retried_insert_of_many_are_never_open():
    assert seen(part(1, NOTHING_BEFORE)) == seen(entry(1))
    many = entry(2, op="c", ns="admin.$cmd", o=applied(), multiOpType=1, **session(), **after(1))
    assert seen(many) == seen(entry(1))
    retried = entry(3, op="i", **session(), **after(1))
    assert seen(retried) == seen(entry(1))


def test_transactions_of_several_sessions_are_told_apart():
    found = seen(part(1, NOTHING_BEFORE, 1, partialTxn=True), part(2, NOTHING_BEFORE, 2, partialTxn=True))
    assert found.oldest == (1, 1)
    found.see(parse(part(3, after(1), 1)))
    assert found.oldest == (2, 1)


# --- BSON


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(),
        st.binary(max_size=20),
        st.builds(bson.ObjectId),
        st.builds(bson.Regex, st.from_regex(r"[a-z]{0,5}", fullmatch=True)),
        st.builds(bson.Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        st.builds(bson.Code, st.text(), st.one_of(st.none(), st.just({"a": 1}))),
        st.just(bson.Decimal128("1.5")),
        st.just(bson.MinKey()),
        st.just(datetime(2026, 8, 1, tzinfo=UTC)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z$.]{1,6}", fullmatch=True), VALUES, max_size=6))
def test_the_elements_of_any_document_are_found(document: dict[str, Any]):
    raw = bson.encode(document)
    found = list(little_bson.elements(raw))
    assert [one.name for one in found] == list(document)
    again = b"".join(bytes([one.kind]) + one.name.encode() + b"\0" + one.raw for one in found)
    assert little_bson.document(again) == raw


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), VALUES, max_size=4), st.data())
def test_a_document_that_was_cut_is_an_error_and_no_crash(document: dict[str, Any], data: st.DataObject):
    raw = bson.encode(document)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - whichever sentence
        list(little_bson.elements(raw[:cut]))
