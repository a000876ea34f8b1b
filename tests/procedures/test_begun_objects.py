"""Objects of which the beginning is opened and the rest hashed: whose they are is known, and that they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pyrage
import pytest

from onlyvips.core.manifest import ObjectRecord
from onlyvips.errors import Transient
from onlyvips.steps.opened import begin_object, open_object

IDENTITY, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
STORED = pyrage.encrypt(os.urandom(300_000), [IDENTITY.to_public()])
_CHUNK = 10_000


def record(stored: bytes) -> ObjectRecord:
    return ObjectRecord("objects/0001-app.orders.archive.zst.age", len(stored), hashlib.sha256(stored).hexdigest())


def chunks(stored: bytes) -> Iterator[bytes]:
    return (stored[at : at + _CHUNK] for at in range(0, len(stored), _CHUNK))


def test_an_object_of_the_identity_is_good():
    assert begin_object(chunks(STORED), record(STORED), [OTHER, IDENTITY]) == ""


def test_an_object_of_another_identity_does_not_open():
    assert begin_object(chunks(STORED), record(STORED), [OTHER]).startswith("does not open")


@pytest.mark.parametrize("place", [0, 250, 150_000, len(STORED) - 1])
def test_a_flipped_byte_anywhere_is_another_hash(place: int):
    bad = STORED[:place] + bytes([STORED[place] ^ 1]) + STORED[place + 1 :]
    assert begin_object(chunks(bad), record(STORED), [IDENTITY]).startswith("has SHA-256")


@pytest.mark.parametrize("length", [0, 100, 70_000, len(STORED) - 1])
def test_an_object_that_ends_too_early_is_another_hash(length: int):
    assert begin_object(chunks(STORED[:length]), record(STORED), [IDENTITY]).startswith("has SHA-256")


def test_what_does_not_decrypt_further_on_is_left_to_whoever_opens_it():
    """Such a one was written so; its reader refuses it."""
    odd = STORED[:-1] + bytes([STORED[-1] ^ 1])
    assert begin_object(chunks(odd), record(odd), [IDENTITY]) == ""
    assert open_object(chunks(odd), record(odd), [IDENTITY]).startswith("does not open")


@pytest.mark.parametrize("after", [0, 1, 20])
def test_a_store_that_goes_away_meanwhile_says_so_itself(after: int):
    def broken() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(STORED)):
            if number == after:
                raise Transient("a: went away")
            yield chunk

    with pytest.raises(Transient, match="went away"):
        begin_object(broken(), record(STORED), [IDENTITY])
