"""A raft snapshot passes unchanged, and none that lacks or changes anything passes for whole."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.raft_snapshot import BrokenSnapshot, checked
from tests.simulators.vault import pack, summed

SEAL = b"seal"
FILES = summed({"meta.json": b'{"Index": 42}', "state.bin": bytes(range(256)) * 400 + os.urandom(20_000)}, SEAL)
WHOLE = pack(FILES)
TWICE = gzip.compress(gzip.decompress(pack({"state.bin": b"other"}))[:1024] + gzip.decompress(WHOLE))


def through(data: bytes, step: int = 1000) -> bytes:
    return b"".join(checked(data[at : at + step] for at in range(0, len(data), step)))


@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_a_whole_snapshot_passes_byte_for_byte_however_it_comes(step: int):
    assert through(WHOLE, step) == WHOLE


def test_empty_chunks_are_not_the_end():
    assert b"".join(checked(iter([b"", WHOLE[:9], b"", b"", WHOLE[9:], b""]))) == WHOLE


@given(st.integers(0, len(WHOLE) - 1))
def test_a_snapshot_that_ends_anywhere_too_early_is_broken(end: int):
    with pytest.raises(BrokenSnapshot):
        through(WHOLE[:end])


@given(st.integers(10, len(WHOLE) - 1), st.integers(0, 7))
def test_a_bit_flipped_anywhere_behind_the_gzip_header_is_found(at: int, bit: int):
    with pytest.raises(BrokenSnapshot):
        through(WHOLE[:at] + bytes([WHOLE[at] ^ 1 << bit]) + WHOLE[at + 1 :])


def without(name: str) -> dict[str, bytes]:
    return {key: data for key, data in FILES.items() if key != name}


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no whole gzip'd tar"),
    "JSON": (b'{"errors": []}', "no whole gzip'd tar"),
    "an error after the snapshot": (WHOLE + b'{"errors": ["seal"]}', "no whole gzip'd tar"),
    "no tar": (gzip.compress(os.urandom(5000)), "no whole gzip'd tar"),
    "an empty tar": (pack({}), "lacks SHA256SUMS, SHA256SUMS.sealed, meta.json, state.bin"),
    **{f"no {name}": (pack(without(name)), f"lacks {name}") for name in FILES},
    **{f"an empty {name}": (pack({**FILES, name: b""}), f"{name} has 0 bytes") for name in FILES},
    "another state": (pack({**FILES, "state.bin": b"other"}), "state.bin is not what its SHA256SUMS says"),
    "another meta": (pack({**FILES, "meta.json": b"{}"}), "meta.json is not what its SHA256SUMS says"),
    "sums of one": (pack({**FILES, "SHA256SUMS": FILES["SHA256SUMS"][:78]}), "state.bin is not what"),
    "endless sums": (pack({**FILES, "SHA256SUMS": b"x" * 10_000}), "SHA256SUMS has 10000 bytes"),
    "a state before the state": (TWICE, "'state.bin' does not belong into it, or comes twice"),
    "a file of another program": (pack({**FILES, "etcd.db": b"x"}), "'etcd.db' does not belong"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_whole_snapshot_is_told_with_what_is_wrong(case: str):
    data, sentence = BROKEN[case]
    with pytest.raises(BrokenSnapshot, match=sentence):
        through(data)


def test_an_error_of_the_source_is_passed_on():
    class Away(Exception):
        pass

    def chunks() -> Iterator[bytes]:
        yield WHOLE[:500]
        raise Away

    with pytest.raises(Away):
        list(checked(chunks()))


def peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_snapshot():
    large = pack(summed({"meta.json": b"{}", "state.bin": os.urandom(8 << 20)}, SEAL))
    chunks = (large[at : at + 65_536] for at in range(0, len(large), 65_536))
    assert peak(lambda: [len(chunk) for chunk in checked(chunks)]) < 2 << 20
