"""Media: what changed is what a listing shows, an index comes back as it was written, every key has one path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.media import (
    Entry,
    Gone,
    Index,
    Item,
    Left,
    at,
    batches,
    bytes_under,
    compare,
    entries_from,
    entry_line,
    from_lines,
    named,
    needed,
    to_lines,
    told,
)
from onlyvips.core.media_paths import PART, aside, from_aside, to_key, to_path
from onlyvips.core.strict_json import BadManifest

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ODD = st.lists(
    st.one_of(
        st.sampled_from(
            ["", ".", "..", "a", ".env", "=onlyvips=", "=onlyvips=a", "=onlyvips-in=", f"{PART}1", "x" * 300]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=300),
    ),
    min_size=1,
    max_size=5,
).map("/".join)
ENTRIES = st.builds(
    Entry,
    st.builds(Item, KEYS, st.integers(0, 1 << 50), st.text(max_size=9), st.text(max_size=9), st.floats(0, 1e10)),
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.dictionaries(KEYS, KEYS, max_size=3),
)


def entry(key: str, etag: str = "e", size: int = 1, sha256: str = "0" * 64, **tags: str) -> Entry:
    return Entry(Item(key, size, etag), sha256, tags)


@given(st.lists(ENTRIES, unique_by=lambda one: one.key), st.lists(KEYS))
def test_an_index_comes_back_as_it_was_written(entries: list[Entry], others: list[str]):
    gone = tuple(Gone(key, 3, "a" * 64, "2026-08-01T12:00:00Z") for key in others)
    index = Index(
        "before-e1", {one.key: one for one in entries}, gone, tuple(Left(key, "it\nchanged") for key in others)
    )
    lines = list(to_lines(index))
    assert from_lines(lines) == index
    assert all(line.count(b"\n") == 1 for line in lines)
    assert entries_from(map(entry_line, entries)) == entries


@pytest.mark.parametrize("damage", ["cut", "an entry less", "no head", "garbage", "another schema"])
def test_an_index_that_is_not_whole_is_not_believed(damage: str):
    lines = list(to_lines(Index("", {key: entry(key) for key in "abc"})))
    broken = {
        "cut": lines[:-1],
        "an entry less": [lines[0], *lines[2:]],
        "no head": lines[1:],
        "garbage": [lines[0], b"{", *lines[1:]],
        "another schema": [lines[0].replace(b'"schema":1', b'"schema":2'), *lines[1:]],
    }
    with pytest.raises(BadManifest):
        from_lines(broken[damage])


def test_what_is_listed_as_before_need_not_be_read():
    before = {one.key: one for one in (entry("same"), entry("changed"), entry("grown"), entry("gone"))}
    listed = [Item("same", 1, "e"), Item("changed", 1, "f"), Item("grown", 2, "e"), Item("new", 1, "e")]
    found = compare(listed, before, {})
    assert set(found.known) == {"same"}
    assert [item.key for item in found.unknown] == ["changed", "grown", "new"]
    assert [one.key for one in found.gone] == ["gone"]


def test_what_a_run_that_died_had_read_is_known_as_long_as_it_is_still_that():
    dead = {"new": [entry("new", "n1", sha256="1" * 64)], "again": [entry("again", "n1", sha256="2" * 64)]}
    found = compare([Item("new", 1, "n1"), Item("again", 1, "n2")], {}, dead)
    assert {key: one.sha256 for key, one in found.known.items()} == {"new": "1" * 64}
    assert [item.key for item in found.unknown] == ["again"]


def test_a_source_that_tells_no_etags_is_read_every_time():
    found = compare([Item("a", 1, "")], {"a": entry("a", "")}, {})
    assert [item.key for item in found.unknown] == ["a"]


def test_a_tag_tells_the_bytes_of_its_own_destination_alone():
    known = [entry("a", sha256="1" * 64, disk="t1", s3="t2"), entry("a", sha256="2" * 64, disk="t3")]
    assert bytes_under("t1", 1, known, "disk") == "1" * 64
    assert bytes_under("t3", 1, known, "disk") == "2" * 64
    assert bytes_under("t1", 1, known, "s3") == bytes_under("t1", 2, known, "disk") == ""


@given(st.lists(st.integers(0, 30)), st.integers(1, 20), st.integers(20, 60))
def test_batches_hold_everything_once_within_their_bounds(sizes: list[int], small: int, most: int):
    items = [Item(str(number), size, "e") for number, size in enumerate(sizes)]
    found = batches(items, small, most)
    assert sorted(item.key for batch in found for item in batch) == sorted(item.key for item in items)
    for batch in found:
        assert len(batch) == 1 or sum(item.size for item in batch) <= most
        assert len(batch) == 1 or all(item.size <= small for item in batch)
    assert [len(batch) for batch in batches([Item(str(n), 0, "e") for n in range(4001)], 1, 1)] == [2000, 2000, 1]


def test_the_backup_of_a_moment_is_the_last_that_began_no_later():
    began = {"a": "2026-08-01T12:00:00Z", "b": "2026-08-02T12:00:00Z"}
    assert at(began, "2026-08-01T11:59:59Z") is None
    assert at(began, "2026-08-02T11:59:59Z") == "a"
    assert at(began, "2026-08-02T12:00:00Z") == "b"
    assert needed([Index("", {"a": entry("a", sha256="1" * 64)}), Index("", {})]) == {"1" * 64}


def test_facts_tell_what_changed():
    before = Index("", {key: entry(key) for key in ("same", "changed")})
    index = Index(
        "x-e1",
        {"same": entry("same"), "changed": entry("changed", sha256="1" * 64, size=5), "new": entry("new")},
        (Gone("g", 1, "0" * 64, ""),),
        (Left("l", "why"),),
    )
    facts = told(index, before, 6)
    assert (facts["files"], facts["bytes"], facts["new"], facts["changed"]) == ("3", "7", "1", "1")
    assert (facts["gone"], facts["left"], facts["left_names"], facts["before"]) == ("1", "1", '"l"', "x-e1")
    assert named([str(number) for number in range(7)]) == '"0", "1", "2", "3", "4" and 2 more'
    assert "\n" not in named(["a\nb"])


# --- paths


@given(ODD)
def test_every_key_is_a_path_below_and_comes_back(key: str):
    path = to_path(key)
    assert to_key(path) == key
    assert from_aside(path) == from_aside(aside(path)) == path
    for each in (path, aside(path)):
        assert "\0" not in each and not each.startswith("/")
        for part in each.split("/"):
            assert part not in ("", ".", "..") and not part.startswith(PART) and len(part.encode()) <= 255


@given(st.lists(ODD, unique=True, max_size=8))
def test_no_two_keys_have_one_path(keys: list[str]):
    paths = [path for key in keys for path in {to_path(key), aside(to_path(key))}]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("key", ["a", "photos/1.jpg", ".env", "a/.hidden/b", "ünïcode/größe 100%.jpg", " lead", "a\\b"])
def test_what_every_store_takes_is_called_so(key: str):
    assert to_path(key) == key


def test_a_file_and_a_directory_of_one_name_have_two_paths():
    assert aside("x/a") == "x/=onlyvips=a"
    assert not to_path("../b").startswith(to_path("..") + "/")
