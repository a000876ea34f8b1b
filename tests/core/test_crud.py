"""Inserts, updates and deletes read by their heads: the same as an entry read in full, or not read at all."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core import oplog_entry
from onlyvips.core.crud import Crud, Heads
from onlyvips.core.little_bson import fields
from tests.simulators.oplog import entry

LSID = {"lsid": {"id": bson.Binary(b"0" * 16, 4), "uid": b"1" * 32}, "txnNumber": bson.Int64(3)}
PREVIOUS = {"prevOpTime": {"ts": bson.Timestamp(1, 1), "t": bson.Int64(1)}}


def read(first: bytes, then: bytes) -> Crud | None:
    """What heads that learned the first one make of the other."""
    heads = Heads()
    heads.learn(first, *oplog_entry.logged(first))
    return heads.read(then)


def same(found: Crud, data: bytes) -> bool:
    """Whether it says what the entry says that is read in full."""
    whole, told = oplog_entry.parse(data), fields(data)
    which = told["o2"].raw if "o2" in told else b""
    return (found.entry, found.what, found.which) == (whole, told["o"].raw, which)


WRITES: list[dict[str, Any]] = [
    {"op": "i", "o": {"_id": 7, "text": "x" * 300}},
    {"op": "u", "o": {"$v": 2, "diff": {"u": {"a": 1}}}, "o2": {"_id": 7}},
    {"op": "d", "o": {"_id": 7}},
    {"op": "i", "o": {"_id": "a"}, "o2": {"_id": "a"}},
]


@pytest.mark.parametrize("more", [{}, LSID, LSID | {"stmtId": 4}], ids=["plain", "retryable", "of many statements"])
@pytest.mark.parametrize("write", WRITES, ids=["insert", "update", "delete", "with o2"])
def test_one_of_a_known_head_is_read_as_the_whole_entry_says(write: dict[str, Any], more: dict[str, Any]) -> None:
    first = entry(5, 1, **write, **more)
    other = {**write, **more, "o": {**write["o"], "_id": "another"} if "_id" in write["o"] else write["o"]}
    if "txnNumber" in other:
        other["txnNumber"] = bson.Int64(99)
    then = entry(6, 2, 8, **other)
    found = read(first, then)
    assert found is not None and same(found, then)
    assert (found.position, found.term) == ((6, 2), 8)


@pytest.mark.parametrize(
    "then",
    [
        entry(6, op="i", ns="app.others"),
        entry(6, op="n", ns=""),
        entry(6, op="c", ns="app.$cmd", o={"drop": "orders"}),
        entry(6, t=5),
        entry(6, extra=1),
        entry(6, o2="no document"),
        b"\x0e\0\0\0\x03lsid\0\0\0\0",
    ],
    ids=[
        "another collection",
        "nothing",
        "a command",
        "a field twice",
        "a field more",
        "another o2",
        "nothing but a session",
    ],
)
def test_what_is_not_exactly_of_a_known_form_is_not_read(then: bytes) -> None:
    assert read(entry(5), then) is None


def test_why_no_base_may_have_one_is_told_with_it() -> None:
    first = entry(5, ns="admin.system.version")
    found = read(first, entry(6, ns="admin.system.version"))
    assert found is not None and "feature compatibility" in found.why_not


@given(st.data())
def test_bytes_changed_anywhere_are_read_as_in_full_or_not_at_all(data: st.DataObject) -> None:
    write = data.draw(st.sampled_from(WRITES))
    whole = bytearray(entry(5, 1, **write, **data.draw(st.sampled_from([{}, LSID, PREVIOUS]))))
    heads = Heads()
    heads.learn(bytes(whole), *oplog_entry.logged(bytes(whole)))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(whole)
    if (found := heads.read(changed)) is None:
        return
    try:
        assert same(found, changed)
    except ValueError:  # inside of o or o2, which heads do not look into
        assert fields(changed)["o"].raw == found.what


def test_more_heads_than_are_kept_are_read_in_full_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onlyvips.core.crud._MOST", 2)
    heads, entries = Heads(), [entry(5, ns=f"app.c{number}") for number in range(3)]
    for one in entries:
        heads.learn(one, *oplog_entry.logged(one))
    assert [heads.read(one) is not None for one in entries] == [False, False, True]
