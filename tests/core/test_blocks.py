"""Blocks read as one file are the same as the bytes joined."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from onlyvips.adapters.blocks import Blocks

BLOCKS = st.lists(st.binary(max_size=9), max_size=6)


@given(BLOCKS, st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 2]), st.integers(-1, 12)), max_size=9))
def test_blocks_are_sought_and_read_as_a_file_of_the_same_bytes(blocks: list[bytes], steps: list[tuple[int, int, int]]):
    mine, theirs = Blocks(blocks), io.BytesIO(b"".join(blocks))
    for offset, whence, size in steps:
        at = -min(offset, len(mine)) if whence == 2 else offset
        assert mine.seek(at, whence) == theirs.seek(at, whence)
        found = mine.read(size)
        assert theirs.read(len(found)) == found
        assert found or size == 0 or theirs.read(1) == b""
        theirs.seek(mine.tell())


@given(BLOCKS)
def test_all_of_it_comes_in_the_end_in_whatever_portions(blocks: list[bytes]):
    whole = b"".join(blocks)
    mine = Blocks(blocks)
    assert (len(mine), mine.read()) == (len(whole), whole)
    mine.seek(0)
    assert b"".join(iter(lambda: mine.read(3), b"")) == whole
    mine.seek(0)
    assert io.BufferedReader(mine).read() == whole
