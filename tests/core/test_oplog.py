"""The log is read strictly, slices of it put together are the log, and a break has a name."""

from __future__ import annotations

import fastcrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.archive import Corrupt
from onlyvips.core.manifest import Edge
from onlyvips.core.oplog import Broken, Reader, boundary, break_key, breaks, read
from onlyvips.core.oplog_entry import parse
from tests.simulators.oplog import START, entry, run_of

CRC = fastcrc.crc64.xz
LOG = run_of(6)


def edge(raw: bytes) -> Edge:
    return parse(raw).edge


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """Any entries, in order, over several terms."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 1)), min_size=2, max_size=30))
    seconds, ordinal, term, found = START, 0, 1, []
    for more, next_, elected in steps:
        ordinal = next_ if more else ordinal + next_
        seconds, term = seconds + more, term + elected
        found.append(entry(seconds, ordinal, term, draw(st.sampled_from("iudn"))))
    return found


@given(logs(), st.data())
def test_slices_without_their_doubled_boundaries_are_the_log(log: list[bytes], data: st.DataObject):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(log) - 1)))) + [len(log) - 1]
    start, together = 0, b""
    for cut in cuts:
        piece = log[start : cut + 1]
        reader = read([b"".join(piece)], CRC)
        assert reader.window.start == edge(log[start])
        assert boundary(edge(log[start]), reader.first, parse(log[0])) is None
        together += b"".join(piece[1:] if together else piece)
        start = cut
    assert together == b"".join(log)


@given(logs(), st.data())
def test_portions_of_any_size_read_the_same(log: list[bytes], data: st.DataObject):
    whole, reader, at = b"".join(log), Reader(CRC), 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole)))
        reader.feed(whole[at : at + size])
        at += size
    reader.finish()
    assert (reader.record, reader.window) == (read([whole], CRC).record, read([whole], CRC).window)
    assert reader.record.documents == len(log)


@given(logs(), st.data())
def test_a_boundary_that_was_removed_or_altered_is_noticed(log: list[bytes], data: st.DataObject):
    at = data.draw(st.integers(0, len(log) - 1))
    was = parse(log[at])
    seconds, ordinal = was.position
    altered = entry(seconds, ordinal, was.term + 1, was.op)
    changed = data.draw(st.sampled_from([[], [altered]]))
    there = [parse(one) for one in log[:at] + changed + log[at + 1 :]]
    found = next((one for one in there if one.position >= was.position), None)
    broken = boundary(was.edge, found, there[0])
    assert broken is not None
    gone = not changed and at == 0
    assert broken.name in (("overflow", "gap") if gone else ("rollback",))


@given(logs(), st.data())
def test_entries_that_are_out_of_order_or_doubled_are_no_log(log: list[bytes], data: st.DataObject):
    at = data.draw(st.integers(0, len(log) - 1))
    other = data.draw(st.integers(0, at))
    with pytest.raises(Corrupt, match="no entry in order"):
        read([*log[: at + 1], log[other], *log[at + 1 :]], CRC)


def test_a_log_that_was_cut_short_is_named():
    whole = b"".join(LOG)
    for cut in range(len(LOG[0]) + 1, len(whole)):
        if cut not in {len(b"".join(LOG[:n])) for n in range(7)}:
            with pytest.raises(Corrupt, match="ends inside an entry"):
                read([whole[:cut]], CRC)
    with pytest.raises(Corrupt, match="no entry at all"):
        read([], CRC)


@pytest.mark.parametrize("junk", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x05\0\0\0\1", entry(START)[:-1] + b"\1"])
def test_what_is_no_entry_is_refused_with_the_place(junk: bytes):
    with pytest.raises(Corrupt, match=f"after {START + 5}:1"):
        read([*LOG, junk], CRC)


def test_a_term_that_goes_back_is_no_log():
    with pytest.raises(Corrupt, match="follows one of term 2"):
        read([entry(START, term=2), entry(START + 1, term=1)], CRC)


def test_an_entry_as_large_as_the_server_allows_is_read():
    large = entry(START, o={"_id": 1, "x": "x" * (16 * 1024 * 1024 - 500)}, note="y" * 8000)
    reader = Reader(CRC)
    for at in range(0, len(large), 1 << 20):
        reader.feed(large[at : at + (1 << 20)])
    reader.finish()
    assert reader.record.bytes == len(large) > 16 * 1024 * 1024


# --- breaks


@pytest.mark.parametrize(
    ("found", "oldest", "name"),
    [
        (entry(START + 9, term=1), entry(START), "rollback"),  # vanished
        (None, entry(START), "rollback"),  # vanished with all after it
        (entry(START + 5, term=3), entry(START), "rollback"),  # another entry in its place
        (entry(START + 9, term=2), entry(START + 9, term=2), "overflow"),
        (entry(START + 9, term=1), entry(START + 9, term=1), "gap"),  # the log of another, younger set
        (entry(START + 9, term=2), entry(START + 9, 1, 2, "n", "", o={"msg": "initiating set"}), "gap"),
    ],
)
def test_gap_overflow_and_rollback_are_told_apart(found: bytes | None, oldest: bytes, name: str):
    wanted = Edge(f"{START + 5}:1", 2)
    broken = boundary(wanted, parse(found) if found else None, parse(oldest))
    assert broken is not None
    assert broken.name == name
    assert wanted.ts in broken.told


def test_the_very_entry_is_no_break():
    assert boundary(edge(LOG[2]), parse(LOG[2]), parse(LOG[0])) is None


def test_breaks_are_told_by_a_listing_alone():
    first = Broken("20260801T120000Z.abababab", "2026-08-01T13:00:00Z", "overflow", Edge(f"{START}:4", 2), "why")
    later = Broken(first.timeline, "2026-08-01T13:10:00Z", "overflow", first.wanted)
    keys = [break_key("lab", one, f"{number:08x}") for number, one in enumerate((later, first, first))]
    (found,) = breaks([*keys, "lab/oplog/x/y-e1/manifest.json", "lab/evidence/oplog/x/z.json"])
    assert (found.timeline, found.at, found.name) == (first.timeline, first.at, "overflow")
    assert found.position == (START, 4)
