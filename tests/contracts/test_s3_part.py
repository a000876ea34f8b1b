"""What an S3 upload sends of one part."""

from __future__ import annotations

import hashlib

import pytest

from onlyvips.adapters.s3_part import Part
from onlyvips.errors import Misuse


def filled(*chunks: bytes, most: int = 100) -> tuple[Part, bytes]:
    part, rest = Part(), memoryview(b"")
    for chunk in chunks:
        rest = part.take(memoryview(chunk), most)
    return part, bytes(rest)


def read(part: Part) -> bytes:
    return b"".join(iter(lambda: part.read(16), b""))


def test_it_takes_no_more_than_its_size_and_gives_the_rest_back() -> None:
    part, rest = filled(b"abc", b"defgh", most=5)
    assert (len(part), read(part), part.all(), rest) == (5, b"abcde", b"abcde", b"fgh")
    assert part.digest() == hashlib.sha256(b"abcde").digest()


def test_it_can_be_read_again_from_its_beginning_only() -> None:
    part, _ = filled(b"abc", b"de")
    first = read(part)
    assert part.seek(0) == 0
    assert read(part) == first == b"abcde"
    with pytest.raises(Misuse):
        part.seek(2)


def test_an_empty_one_has_no_bytes() -> None:
    assert (len(Part()), Part().read(), Part().all()) == (0, b"", b"")
