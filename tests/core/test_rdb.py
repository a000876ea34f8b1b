"""An RDB is found whole while it passes, whatever the chunks; and its keys are counted. The files are real ones."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import anycrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.rdb import BrokenRdb, Database, Rdb, Reader, checked
from tests.simulators.redis import closed, rdb, string

FILES = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "rdbs").glob("*.rdb")}
HEAD = b"REDIS0012"
KEY = string(b"k")


def reader() -> Reader:
    return Reader(anycrc.Model("CRC64-REDIS").calc)


def found(*chunks: bytes) -> Rdb:
    made = reader()
    assert list(checked(chunks, made)) == list(chunks)
    return made.finish()


def one_key(kind: int, value: bytes) -> bytes:
    """A file of one key of a type, between two strings."""
    around = b"\0" + string(b"before") + string(b"1"), b"\0" + string(b"behind") + string(b"2")
    return closed(HEAD + b"\xfe\0" + around[0] + bytes([kind]) + KEY + value + around[1] + b"\xff")


def test_the_checksum_is_the_one_that_redis_names_in_its_own_tests():
    assert anycrc.Model("CRC64-REDIS").calc(b"123456789") == 0xE9C6D914C4B8D9CA


@pytest.mark.parametrize("name", FILES)
def test_what_redis_wrote_is_whole_and_every_key_is_counted(name: str):
    rdb = found(FILES[name])
    assert rdb.databases == (Database(0, 19, 2), Database(7, 70, 1))
    assert (rdb.keys, rdb.size, rdb.uncounted) == (89, len(FILES[name]), "")
    assert rdb.told["redis-ver"].startswith(name.removeprefix("redis-"))
    assert rdb.crc64 == f"{int.from_bytes(FILES[name][-8:], 'little'):016x}" != "0" * 16


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
def test_it_does_not_matter_where_the_chunks_end(name: str, data: st.DataObject):
    file = FILES[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=30)))
    edges = [0, *cuts, len(file)]
    assert found(*(file[start:end] for start, end in zip(edges, edges[1:], strict=False))) == found(file)


@pytest.mark.parametrize("name", FILES)
def test_byte_by_byte_it_is_the_same(name: str):
    assert found(*(bytes([byte]) for byte in FILES[name])) == found(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_of_any_byte_is_found(name: str):
    for at in range(len(FILES[name])):
        broken = bytearray(FILES[name])
        broken[at] ^= 1 << at % 8
        with pytest.raises(BrokenRdb):
            found(bytes(broken))


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_anywhere_is_found(name: str, checksum: bool):
    whole = FILES[name] if checksum else FILES[name][:-8] + bytes(8)
    found(whole)
    for size in range(len(whole)):
        with pytest.raises(BrokenRdb):
            found(whole[:size])


@pytest.mark.parametrize("checksum", [True, False])
def test_what_follows_the_end_is_found(checksum: bool):
    whole = rdb({0: {b"a": b"1"}}, checksum=checksum)
    for more in (b"x", bytes(8), whole):
        with pytest.raises(BrokenRdb):
            found(whole, more)
    with pytest.raises(BrokenRdb, match="no checksum .*, and bytes follow its end"):
        found(whole[:-8], bytes(9))


def test_the_sentences_say_what_is_wrong():
    with pytest.raises(BrokenRdb, match="it has 3 bytes"):
        found(b"RED")
    with pytest.raises(BrokenRdb, match="begins with b'<html><bo' and not as an RDB of version 5 or newer"):
        found(b"<html><body>not found</body></html>")
    with pytest.raises(BrokenRdb, match="not as an RDB of version 5"):
        found(closed(b"REDIS0004\xff"))
    with pytest.raises(BrokenRdb, match="CRC-64 of its 19 bytes is [0-9a-f]{16}, its end says 0102030405060708"):
        found(HEAD + b"\xff " + bytes(range(8, 0, -1)))


STREAM = bytes([1]) + string(b"i" * 16) + string(b"listpack") + bytes([1, 9, 0])
GROUP = string(b"g") + bytes([5, 0])
PENDING = bytes([1]) + b"i" * 16 + b"t" * 8 + bytes([1])
CONSUMER = string(b"c") + b"t" * 8
VALUES = {
    "old stream": (15, STREAM + bytes([1]) + GROUP + PENDING + bytes([1]) + CONSUMER + bytes([1]) + b"i" * 16),
    "newest stream": (
        21,
        STREAM
        + bytes([1, 0, 0, 0, 6])
        + bytes([1])
        + GROUP
        + bytes([3])
        + PENDING
        + bytes([1])
        + CONSUMER
        + b"a" * 8
        + bytes([1])
        + b"i" * 16,
    ),
    "hash with expiring fields": (24, b"t" * 8 + bytes([2]) + (bytes([0]) + string(b"f") + string(b"v")) * 2),
    "packed hash with expiring fields": (25, b"t" * 8 + string(b"listpack")),
    "module": (
        7,
        b"\x81" + b"m" * 8 + bytes([1, 5, 2, 6]) + b"\x03ffff" + b"\x04dddddddd" + b"\x05" + string(b"s") + b"\0",
    ),
    "set of listpack": (20, string(b"listpack")),
    "set": (2, bytes([3]) + string(b"a") + b"\xc0\x01" + b"\xc3\x03\x40\x64abc"),
    "long list": (14, b"\x80\0\0\0\x02" + string(b"x" * 20_000) + string(b"y" * 100)),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_every_type_is_passed_exactly(name: str, step: int):
    file = one_key(*VALUES[name])
    bare = file[:-8] + bytes(8)  # without a checksum the walk alone finds the end
    for each in (file, bare):
        rdb = found(*(each[at : at + step] for at in range(0, len(each), step)))
        assert (rdb.keys, rdb.uncounted) == (3, "")


def test_opcodes_that_are_no_keys_count_for_nothing():
    module_aux = b"\xf7\x81" + b"m" * 8 + bytes([2, 1, 5]) + string(b"x") + b"\0"
    others = b"\xf5" + string(b"#!lua") + b"\xfe\x02\xfb\x05\x01\xf4\x01\x02\x03"
    keys = b"\xf8\x09\xf9\x07\0" + KEY + KEY + b"\xfd" + b"s" * 4 + b"\0" + KEY + KEY
    rdb = found(closed(HEAD + module_aux + others + keys + b"\xff", checksum=False))
    assert rdb.databases == (Database(2, 2, 1),)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [(99, b"?", "its type 99 is not known"), (0, b"\xc4", "encoded as 196"), (7, b"\x01\x09", "of kind 9")],
)
def test_what_is_not_known_here_is_whole_by_its_checksum_and_not_counted(kind: int, value: bytes, why: str):
    file = one_key(kind, value)
    rdb = found(file)
    assert why in rdb.uncounted and rdb.keys == 0
    with pytest.raises(BrokenRdb, match=rf"no checksum \(rdbchecksum no\), and .*{why}.*: set rdbchecksum to yes"):
        found(file[:-8] + bytes(8))


def test_valkeys_own_format_is_whole_by_its_checksum_alone():
    file = closed(b"VALKEY080" + rdb({0: {b"a": b"1"}})[9:-8])
    assert (found(file).version, found(file).keys) == (80, 0)
    assert "Valkey" in found(file).uncounted
    for broken in (file[:-1], file + b"x", file[:20] + b"x" + file[21:], file[:-8] + bytes(8)):
        with pytest.raises(BrokenRdb):
            found(broken)


def test_a_value_of_any_size_takes_no_memory():
    def chunks() -> list[bytes]:
        return [bytes(1 << 16)] * 320

    made, size = reader(), 320 << 16
    made.feed(HEAD + b"\xfe\0\0" + KEY + b"\x80" + size.to_bytes(4, "big"))
    tracemalloc.start()
    for chunk in chunks():
        made.feed(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.keys == 1
    assert peak < 1 << 20
