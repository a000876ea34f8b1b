"""A git bundle while it streams by: whole, without prerequisites, and of the refs that it names; or an error."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.bundle import BrokenBundle, BundleReader, bundle_wrong, refs_digest

HEAD, TAG = "a1" * 20, "b2" * 20
REFS = {"refs/heads/main": HEAD, "refs/tags/v1": TAG, "HEAD": HEAD}


def bundle(refs: dict[str, str] | None = None, *, head: str = "# v2 git bundle", hashing: str = "sha1") -> bytes:
    pack = b"PACK\0\0\0\x02\0\0\0\x03" + b"\n\n objects \n\n" * 20
    lines = [head, *(f"{oid} {name}" for name, oid in (REFS if refs is None else refs).items())]
    return "\n".join([*lines, "", ""]).encode() + pack + hashlib.new(hashing, pack).digest()


def read(data: bytes, step: int = 1 << 20) -> BundleReader:
    reader = BundleReader()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    reader.finish()
    return reader


@given(step=st.integers(1, 400))
def test_a_bundle_is_read_in_pieces_of_any_size(step: int):
    assert read(bundle(), step).refs == REFS


def test_a_repository_of_sha256_is_read_too():
    refs = {"HEAD": "c3" * 32}
    assert read(bundle(refs, head="# v3 git bundle\n@object-format=sha256", hashing="sha256")).refs == refs


@given(st.integers(0, len(bundle()) - 1))
def test_a_bundle_that_ends_anywhere_too_early_is_broken(length: int):
    with pytest.raises(BrokenBundle):
        read(bundle()[:length], 100)


@given(st.integers(0, len(bundle()) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_the_refs(at: int, bit: int):
    data = bytearray(bundle())
    data[at] ^= 1 << bit
    if data.startswith(b"# v3"):
        return  # which is another good one
    with suppress(BrokenBundle):
        assert read(bytes(data)).refs != REFS


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (bundle().replace(b"\n\nPACK", b"\n-" + b"d4" * 20 + b" older\n\nPACK"), "needs d4d4"),
        (bundle(head="# v9 git bundle"), "does not begin as"),
        (bundle(head="# v3 git bundle\n@filter=blob:none"), "has the capability filter=blob:none"),
        (bundle(head="# v3 git bundle\n@object-format=md5"), "uses the hash md5"),
        (bundle() + b"x", "cut short or altered"),
        (b"fatal: not a git repository\n\n", "does not begin as"),
        (b"", "ends within its header"),
        (os.urandom(100_000), "does not begin as"),
    ],
    ids=["needs another", "newer", "partial", "unknown hash", "longer", "an error's text", "nothing", "noise"],
)
def test_what_is_no_whole_bundle_of_its_own_is_told(data: bytes, told: str):
    with pytest.raises(BrokenBundle, match=told):
        read(data)


def test_refs_are_compared_with_the_facts():
    facts = {"revision": HEAD, "refs_digest": refs_digest(REFS)}
    assert bundle_wrong(REFS, facts) == ""
    assert bundle_wrong({**REFS, "worktrees/x/HEAD": TAG}, facts) == ""
    assert bundle_wrong({**REFS, "HEAD": TAG}, facts).startswith("holds revision b2b2")
    assert bundle_wrong({**REFS, "refs/tags/v2": TAG}, facts).startswith("holds refs_digest")
    assert "holds revision none" in bundle_wrong({}, facts)
