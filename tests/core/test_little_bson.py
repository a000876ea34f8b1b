"""How many documents stand one after the other, without looking at more of them than it takes."""

from __future__ import annotations

import bson
import pytest

from onlyvips.core.little_bson import are_at_most


def run(count: int, size: int = 0) -> bytes:
    return b"".join(bson.encode({"_id": number, "x": b"." * size}) for number in range(count))


@pytest.mark.parametrize("size", [0, 1, 50, 5000])
@pytest.mark.parametrize("most", [1, 2, 9, 100])
def test_it_is_exact_at_the_limit_whatever_the_size(size: int, most: int):
    assert are_at_most(most, b"")
    assert are_at_most(most, run(most - 1, size))
    assert are_at_most(most, run(most, size))
    assert not are_at_most(most, run(most + 1, size))


def test_many_tiny_ones_before_a_large_one_and_after_it_count_too():
    tiny, large = bson.encode({"_id": None}), run(1, 1 << 20)
    assert not are_at_most(100, tiny * 100 + large)
    assert not are_at_most(100, large + tiny * 100)
    assert are_at_most(101, large + tiny * 100)
