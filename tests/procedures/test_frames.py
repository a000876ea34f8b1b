"""A stream of zstd frames: any portions in, the same bytes out, and every damage is noticed."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.steps.frames import Decompressor, ZstdError, compress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEBIBYTE = 1 << 20


def opened(packed: bytes, portion: int = 1 << 16) -> tuple[bytes, bool]:
    reader = Decompressor()
    portions = [packed[at : at + portion] for at in range(0, len(packed), portion)]
    return b"".join(piece for one in portions for piece in reader.feed(one)), reader.whole


@pytest.mark.parametrize("threads", [0, 2])
@given(sizes=st.lists(st.integers(0, 3 * MEBIBYTE), max_size=12), portion=st.integers(1, 1 << 20))
def test_whatever_the_portions_the_bytes_come_back(threads: int, sizes: list[int], portion: int) -> None:
    chunks = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    packed = b"".join(compress(iter(chunks), 1, threads))
    assert opened(packed, portion) == (b"".join(chunks), True)
    assert zstd.decompress(packed) == b"".join(chunks)


def test_small_chunks_are_gathered_and_large_ones_cut_so_that_no_frame_is_above_8_mebibytes() -> None:
    sizes = [3, 3, 3, 17, 1, 8]
    frames = list(compress([bytes([size]) * size * MEBIBYTE for size in sizes], 3))
    found = [len(zstd.decompress(frame)) / MEBIBYTE for frame in frames]
    assert found[:1] + found[-2:] == [6, 1, 8]
    assert sum(found) == sum(sizes)
    assert max(found) <= 8


def test_a_stream_without_bytes_is_one_empty_frame() -> None:
    assert [zstd.decompress(frame) for frame in compress([], 3)] == [b""]
    assert not Decompressor().whole


def test_a_stream_that_ends_inside_a_frame_is_not_whole() -> None:
    first, second = compress([b"a" * 8 * MEBIBYTE, b"b" * 100], 3)
    for end in range(len(first) + 1, len(first + second)):
        assert not opened((first + second)[:end])[1]


def test_what_is_no_frame_is_an_error() -> None:
    packed = b"".join(compress([b"a" * 100], 3))
    with pytest.raises(ZstdError):
        opened(packed + b"more than a magic number")
    for at in range(len(packed)):
        flipped = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        with pytest.raises(ZstdError):
            if opened(flipped) != (b"a" * 100, True):
                raise ZstdError("other bytes, or not whole")
