"""The archive framing: golden bytes, round trips, and that no damage passes."""

import re
import struct
from itertools import pairwise

import fastcrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.archive import (
    TERMINATOR,
    Closed,
    Corrupt,
    Documents,
    Entry,
    Event,
    Prelude,
    Reader,
    Tally,
    write_block_header,
    write_collection,
    write_prelude,
)

GOLDEN_HEADER = bytes.fromhex(
    "340000000264620002000000610002636f6c6c656374696f6e0002000000620008454f4600001243524300000000000000000000"
)
GOLDEN_DOCUMENT = bytes.fromhex("0e000000105f6964000100000000")
GOLDEN_CRC = 0xF3EA61436A4459FE


def crc(data: bytes, before: int) -> int:
    return fastcrc.crc64.xz(data, before)


def document(number: int) -> bytes:
    return GOLDEN_DOCUMENT[:9] + struct.pack("<i", number) + b"\0"


def prelude(*names: str, type: str = "collection") -> Prelude:
    return Prelude("7.0.42", "test", tuple(Entry("app", name, "{}", type) for name in names))


def archive(head: Prelude, collections: dict[str, list[bytes]]) -> bytes:
    body = b"".join(
        b"".join(write_collection(("app", name), batches, Tally(), crc)) for name, batches in collections.items()
    )
    return write_prelude(head) + body


def read(data: bytes, portion: int = 1 << 20) -> list[Event]:
    reader = Reader(crc)
    events: list[Event] = []
    for at in range(0, len(data), portion):
        events += reader.feed(data[at : at + portion])
    reader.finish()
    return events


def content(events: list[Event]) -> dict[str, bytes]:
    """Collection -> its documents, of those that were closed."""
    found = {event.collection: b"" for event in events if isinstance(event, Closed)}
    for event in events:
        if isinstance(event, Documents):
            found[event.collection] += event.data
    return found


SMALL = archive(prelude("b", "none"), {"b": [document(1), document(2) + document(3)], "none": []})


def test_a_block_header_is_byte_for_byte_mongodumps():
    assert write_block_header("a", "b") == GOLDEN_HEADER


def test_the_end_of_a_collection_carries_its_crc_as_a_signed_number():
    tally = Tally()
    data = b"".join(write_collection(("a", "b"), [GOLDEN_DOCUMENT], tally, crc))
    assert tally == Tally(GOLDEN_CRC, 1, 14)
    assert data.endswith(struct.pack("<q", GOLDEN_CRC - (1 << 64)) + b"\0" + TERMINATOR)
    assert data.startswith(GOLDEN_HEADER + GOLDEN_DOCUMENT + TERMINATOR)


def test_the_crc_is_crc_64_xz():
    assert crc(b"123456789", 0) == 0x995DC9BBDF1939FA
    assert crc(b"6789", crc(b"12345", 0)) == 0x995DC9BBDF1939FA


def test_the_prelude_begins_as_mongodumps_does():
    data = write_prelude(prelude("b"))
    assert data.startswith(bytes.fromhex("6de29981"))
    assert data[8:].startswith(
        b"\x10concurrent_collections\0\x01\0\0\0\x02version\0\x04\0\0\x000.1\0\x02server_version\0"
    )
    assert data.endswith(b"\x10size\0\0\0\0\0\x02type\0\x0b\0\0\0collection\0\0" + TERMINATOR)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
        st.lists(st.lists(st.integers(-(2**31), 2**31 - 1).map(document), max_size=4).map(b"".join), max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 200),
)
def test_what_was_written_is_read_back_whatever_the_portions(collections: dict[str, list[bytes]], portion: int):
    head = prelude(*collections)
    events = read(archive(head, collections), portion)
    assert events[0] == head
    assert content(events) == {name: b"".join(batches) for name, batches in collections.items()}
    for closed in (event for event in events if isinstance(event, Closed)):
        data = b"".join(collections[closed.collection])
        assert (closed.crc64, closed.size, closed.count) == (crc(data, 0), len(data), len(data) // 14)


def test_blocks_of_two_collections_may_alternate():
    data = write_prelude(prelude("x", "y"))
    for name, number in (("x", 1), ("y", 2), ("x", 3)):
        data += write_block_header("app", name) + document(number) + TERMINATOR
    for name, documents in (("x", document(1) + document(3)), ("y", document(2))):
        data += write_block_header("app", name, closing_crc=crc(documents, 0)) + TERMINATOR
    assert content(read(data)) == {"x": document(1) + document(3), "y": document(2)}


def test_a_time_series_may_come_from_its_buckets():
    data = write_prelude(prelude("x", type="timeseries"))
    data += b"".join(write_collection(("app", "system.buckets.x"), [document(1)], Tally(), crc))
    assert content(read(data)) == {"system.buckets.x": document(1)}


CONTENTS = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
    st.lists(st.integers(-(2**31), 2**31 - 1).map(document), max_size=5),
    min_size=1,
    max_size=4,
)


@st.composite
def interleaved(draw: st.DrawFn) -> tuple[dict[str, bytes], bytes]:
    """Collections, and an archive in which their blocks alternate as they like, each opened as often as it likes."""
    collections = draw(CONTENTS)
    names = draw(st.permutations(list(collections)))
    data = write_prelude(prelude(*names))
    left = {name: list(documents) for name, documents in collections.items()}
    for name, count in draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 3)), max_size=8)):
        data += write_block_header("app", name) + b"".join(left[name][:count]) + TERMINATOR
        del left[name][:count]
    for name in names:
        data += write_block_header("app", name) + b"".join(left[name]) + TERMINATOR
        whole = crc(b"".join(collections[name]), 0)
        data += write_block_header("app", name, closing_crc=whole) + TERMINATOR
    return {name: b"".join(documents) for name, documents in collections.items()}, data


PLACE = r"byte \d+ \(|after \d+ bytes|ends before|never had"
"""What every complaint says: where it is, or what is missing at the end."""


@given(interleaved(), st.integers(1, 100))
def test_blocks_are_put_together_whatever_their_interleaving(made: tuple[dict[str, bytes], bytes], portion: int):
    collections, data = made
    assert content(read(data, portion)) == collections


@given(interleaved(), st.data())
def test_whatever_was_cut_is_noticed_and_the_place_named(made: tuple[dict[str, bytes], bytes], draw: st.DataObject):
    _, data = made
    with pytest.raises(Corrupt, match=PLACE):
        read(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(interleaved(), st.data())
def test_whatever_was_flipped_is_noticed_and_the_place_named(made: tuple[dict[str, bytes], bytes], draw: st.DataObject):
    """Else it is one of the head's free texts, which the manifest holds too; no document changes unnoticed."""
    collections, data = made
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = data[:at] + bytes([data[at] ^ (1 << draw.draw(st.integers(0, 7)))]) + data[at + 1 :]
    try:
        events = read(damaged)
    except Corrupt as error:
        assert re.search(PLACE, str(error)), str(error)
    else:
        assert content(events) == collections
        assert events[0] != read(data)[0]


def test_every_truncation_is_noticed():
    for end in range(len(SMALL)):
        with pytest.raises(Corrupt):
            read(SMALL[:end])


def test_every_flipped_byte_is_noticed_or_changes_only_what_the_manifest_holds_too():
    whole, noticed = read(SMALL), 0
    for at in range(len(SMALL)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = SMALL[:at] + bytes([SMALL[at] ^ mask]) + SMALL[at + 1 :]
            try:
                events = read(damaged)
            except Corrupt:
                noticed += 1
                continue
            assert events[1:] == whole[1:], f"damage at {at} reached the documents"
            assert events[0] != whole[0], "the head's free texts have no checksum, but they must not look the same"
    assert noticed > 2 * len(SMALL)


BLOCK = write_block_header("app", "b")
END = write_block_header("app", "b", closing_crc=0) + TERMINATOR
HEAD = write_prelude(prelude("b"))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"PK\x03\x04", "no mongodump archive"),
        (HEAD + TERMINATOR, "a terminator where a header must be"),
        (HEAD + BLOCK + TERMINATOR + TERMINATOR, "a terminator where a header must be"),
        (HEAD + BLOCK + TERMINATOR, "ends before app.b did"),
        (HEAD, "never had app.b"),
        (HEAD + END, "ends before it began"),
        (HEAD + BLOCK + TERMINATOR + END + BLOCK, "goes on after its end"),
        (HEAD + BLOCK + TERMINATOR + END + END, "goes on after its end"),
        (HEAD + BLOCK + TERMINATOR + END[:-4] + document(1), "documents after the end"),
        (HEAD + write_block_header("app", "c"), "app.c is not in the list"),
        (HEAD + write_block_header("app", "b", closing_crc=7), "ends before it began"),
        (HEAD + BLOCK + document(1) + TERMINATOR + END, "CRC-64 of app.b is"),
        (HEAD + BLOCK + b"\x04\0\0\0\0", "cannot be 4 bytes long"),
        (HEAD + BLOCK + struct.pack("<i", 16 * 1024 * 1024 + 1), "cannot be 16777217 bytes long"),
        (HEAD + BLOCK + document(1)[:-1] + b"\x01", "does not end with a zero"),
        (HEAD + document(1), "field db"),
        (HEAD + BLOCK[:-9] + struct.pack("<q", 5) + b"\0", "a checksum where only"),
        (write_prelude(prelude("b", "b")), "twice"),
        (write_prelude(prelude("")), "without a name"),
        (HEAD.replace(b"0.1\0", b"0.2\0"), "version 0.2"),
        (HEAD + struct.pack("<i", len(BLOCK) + 5) + BLOCK[4:-1] + b"\x08a\0\0\0\0", "more fields"),
    ],
)
def test_a_broken_rule_is_named(data: bytes, complaint: str):
    with pytest.raises(Corrupt, match=complaint):
        read(data)


def test_a_document_of_sixteen_mebibytes_is_legal_and_may_arrive_in_pieces():
    largest = struct.pack("<i", 16 * 1024 * 1024)
    largest += b"\0" * (16 * 1024 * 1024 - len(largest))
    events = read(archive(prelude("b"), {"b": [largest]}), portion=1 << 18)
    assert content(events) == {"b": largest}


@pytest.mark.parametrize("batch", [document(1)[:-1], document(1) + b"\x05", b"\x03\0\0\0"])
def test_a_batch_that_is_no_sequence_of_whole_documents_is_never_passed_on(batch: bytes):
    frames = write_collection(("app", "b"), [document(1), batch], Tally(), crc)
    passed = []
    with pytest.raises(Corrupt, match=r"app\.b: the server sent a batch"):
        passed.extend(frames)
    assert batch not in passed


def test_events_of_one_collection_come_in_order():
    events = read(archive(prelude("b"), {"b": [document(n) for n in range(100)]}), portion=33)
    numbers = [
        struct.unpack_from("<i", event.data, at + 9)[0]
        for event in events
        if isinstance(event, Documents)
        for at in range(0, len(event.data), 14)
    ]
    assert all(after == before + 1 for before, after in pairwise(numbers))
    assert len(numbers) == 100
