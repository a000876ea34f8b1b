"""Cutting a collection by ``_id``: every document in exactly one piece, whatever the types; without the rest, lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson import json_util
from hypothesis import example, given
from hypothesis import strategies as st

from onlyvips.core.ranges import UNKNOWN, Id, Range, Sampled, Strides, cut, id_of, matching, pieces_for, rest
from tests.simulators.queries import decoded, matches

NAN = float("nan")


def encoded(id: Any) -> bytes:
    return bson.encode({"_id": id, "x": 1})


def pieces_of(ids: Sequence[Any], count: int, *, rest_too: bool = True, texts: bool = True) -> list[list[Any]]:
    """What each piece would hold of these documents."""
    ranges = cut([Sampled(id_of(encoded(id)) or UNKNOWN, 1) for id in ids], count, texts=texts)
    questions = [matching(one) for one in ranges] + ([rest(ranges)] if rest_too else [])
    return [[id for id in ids if matches(id, decoded(question))] for question in questions]


IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(bson.Int64),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(),
    st.floats().map(lambda number: bson.Decimal128(str(number) if math.isfinite(number) else "NaN")),
    st.text(max_size=6).filter(lambda text: "\0" not in text),
    st.binary(min_size=12, max_size=12).map(bson.ObjectId),
    st.binary(max_size=5),
    st.tuples(st.binary(max_size=4), st.sampled_from([3, 4, 5, 128])).map(lambda both: bson.Binary(*both)),
    st.integers(-(2**63), 2**63 - 1).map(bson.DatetimeMS),
    st.sampled_from([None, True, False, bson.MinKey(), bson.MaxKey(), bson.Code("f"), bson.Timestamp(1, 2)]),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 5), max_size=2),
)


@given(st.lists(IDS, min_size=1, max_size=40), st.integers(2, 9), st.booleans())
@example([NAN, 1, 2.5, "a", None], 3, True)
@example([2**53, 2**53 + 1, float(2**53), 0.0, -0.0], 4, True)
def test_every_document_is_in_exactly_one_piece_whatever_its_id(ids: list[Any], count: int, texts: bool):
    found = pieces_of(ids, count, texts=texts)
    if cut([Sampled(id_of(encoded(id)) or UNKNOWN, 1) for id in ids], count, texts=texts):
        for id in ids:
            mine = sum(1 for piece in found for other in piece if other is id)
            assert mine == sum(1 for other in ids if other is id)


MIXED = [*range(20), *(f"t{n}" for n in range(3)), NAN, None, True, bson.MinKey()]


def test_without_the_rest_documents_are_lost_and_with_it_none():
    whole, without = pieces_of(MIXED, 4), pieces_of(MIXED, 4, rest_too=False)
    assert sorted(map(repr, (id for piece in whole for id in piece))) == sorted(map(repr, MIXED))
    lost = {repr(id) for id in MIXED} - {repr(id) for piece in without for id in piece}
    assert {"nan", "None", "True", "MinKey()"} <= lost


def test_the_rest_is_asked_as_nor_of_the_ranges_as_they_are_asked():
    ranges = (Range(None, Id(0x10, b"\5\0\0\0")), Range(Id(0x10, b"\5\0\0\0"), None))
    assert decoded(matching(ranges[0])) == {"_id": {"$lt": 5}}
    assert decoded(matching(ranges[1])) == {"_id": {"$gte": 5}}
    assert decoded(rest(ranges)) == {"$nor": [{"_id": {"$lt": 5}}, {"_id": {"$gte": 5}}]}


def test_pieces_are_of_about_one_size_by_bytes_and_not_by_documents():
    """The first tenth of the documents has nine tenths of the bytes."""
    samples = [Sampled(id_of(encoded(n)) or UNKNOWN, 900 if n < 100 else 11) for n in range(1000)]
    ranges = cut(samples, 5)
    sizes = [sum(one.weight for n, one in enumerate(samples) if matches(n, decoded(matching(each)))) for each in ranges]
    assert len(sizes) == 5
    assert max(sizes) < 1.1 * sum(sizes) / 5


def test_each_kind_with_a_share_worth_a_piece_gets_ranges_of_its_own():
    ids = [*range(300), *(bson.ObjectId(n.to_bytes(12, "big")) for n in range(600)), *(f"{n}" for n in range(9))]
    found = pieces_of(ids, 6)
    assert [len(piece) for piece in found] == [150, 150, 150, 150, 150, 150, 9]


def test_a_collation_orders_texts_in_its_own_way_so_none_is_a_bound():
    samples = [Sampled(id_of(encoded(f"{n}")) or UNKNOWN, 1) for n in range(100)]
    assert len(cut(samples, 4)) == 4
    assert cut(samples, 4, texts=False) == ()


def test_ids_that_are_no_bound_cut_nothing():
    assert cut([Sampled(UNKNOWN, 1)] * 50, 4) == ()
    assert cut([], 4) == ()


@pytest.mark.parametrize(
    "id", [NAN, math.inf, -math.inf, None, True, bson.MinKey(), {"a": 1}, bson.Decimal128("1"), bson.Timestamp(1, 1)]
)
def test_what_is_not_ordered_the_same_everywhere_is_never_a_bound(id: Any):
    assert cut([Sampled(id_of(encoded(id)) or UNKNOWN, 1)], 2) == ()


def test_an_id_is_read_as_its_bytes():
    assert id_of(encoded(7)) == Id(0x10, b"\7\0\0\0")
    assert id_of(encoded("é")) == Id(0x02, b"\3\0\0\0\xc3\xa9\0")
    assert id_of(encoded(bson.Binary(b"ab", 4))) == Id(0x05, b"\2\0\0\0\4ab")
    assert id_of(encoded(7).replace(b"_id", b"_ix")) is None
    assert id_of(bson.encode({})) is None


@given(st.lists(st.integers(0, 20_000), max_size=300), st.integers(2, 30))
def test_strides_keep_few_samples_that_stand_for_all_bytes(paddings: list[int], most: int):
    documents = [bson.encode({"_id": n, "p": b"x" * padding}) for n, padding in enumerate(paddings)]
    strides = Strides(most)
    for at in range(0, len(documents), 7):
        strides.add(b"".join(documents[at : at + 7]))
    found = strides.samples()
    assert len(found) <= most
    assert sum(one.weight for one in found) == sum(map(len, documents))
    numbers = [int.from_bytes(one.id.value, "little") for one in found]
    assert numbers == sorted(numbers)


def test_a_batch_that_is_no_documents_is_no_endless_walk():
    with pytest.raises(ValueError, match="cannot be 0 bytes long"):
        Strides(4).add(b"\0" * 16)


@pytest.mark.parametrize(("size", "expected"), [(1, 2), (1 << 30, 2), (8 << 30, 3), (100 << 30, 32)])
def test_the_number_of_pieces_follows_the_size(size: int, expected: int):
    assert pieces_for(size, 4 << 30) == expected


def test_a_bound_of_any_type_passes_as_it_is():
    for id in ("x", 5, bson.Int64(5), 1.5, bson.ObjectId(), bson.Binary(b"x", 4), bson.DatetimeMS(-(2**60))):
        raw = id_of(encoded(id))
        assert raw is not None
        told = decoded(matching(Range(raw, None)))["_id"]["$gte"]
        assert json_util.dumps(told) == json_util.dumps(id)
