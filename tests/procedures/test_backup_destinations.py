"""Destinations of a backup that are slow, refuse, or cannot take back: what is told of each, and when it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from onlyvips.core.manifest import manifest_from_json
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import EVERYTHING, Namespace
from onlyvips.steps.copies import Outcome, probe_stores
from onlyvips.steps.pipe import check_recipients
from tests.procedures.test_backup import IDENTITIES, SimulatedDatabase, database, document, manifests, stores, take


def scrambled(one: bytes) -> bytes:
    """The document with a padding that does not compress."""
    padding = one.count(b"x") // 2
    return document(1, 2 * padding).replace(b"x" * 2 * padding, os.urandom(padding).hex().encode())


def wait_until(what: Callable[[], bool], limit: float = 20.0) -> bool:
    until = time.monotonic() + limit
    while not what() and time.monotonic() < until:
        time.sleep(0.005)
    return what()


def test_a_failure_ends_the_reading_back_of_what_nobody_wants_any_more():
    (a,) = stores("a")
    a.reads_slowly(0.01)

    class Broken(SimulatedDatabase):
        def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
            yield from super().documents(namespace, where)
            if namespace.collection == "broken":
                assert wait_until(lambda: a.chunks_read > 5)
                raise Transient("The database went away.")

    with pytest.raises(Transient):
        take(Broken({"broken": [document(1)], "slow": [scrambled(document(1, 3_000_000))]}), a)
    assert a.chunks_read < 700
    assert manifests(a) == []


def test_a_destination_that_is_slow_and_steady_has_not_stalled():
    (a,) = stores("a")
    a.reads_slowly(0.05)
    base = take(SimulatedDatabase({"one": [scrambled(document(1, 60_000))]}), a, stall_timeout=0.4)
    assert base.destinations == (Outcome("a", True),)
    assert a.chunks_read * 0.05 > 2 * 0.4


def test_a_destination_that_cannot_take_back_either_still_says_what_went_wrong_first():
    a, b = stores("a", "b")
    b.refuses_key("orders")
    b.cannot_abort()
    (why,) = [one.why for one in take(database(), a, b).destinations if not one.complete]
    assert "507 InsufficientStorage" in why
    assert "could not be removed" in why and "403 AccessDenied" in why


def test_a_destination_without_its_copys_record_is_not_listed_as_a_copy():
    a, b = stores("a", "b")
    b.refuses_key("copies/b")
    base = take(database(), a, b)
    (found,) = manifests(a)
    stored = manifest_from_json(a.objects[found])
    assert (stored.copies, [one.name for one in stored.dropped]) == (("a",), ["b"])
    assert base.degraded and stored.degraded
    assert manifests(b) == []


def test_when_no_destination_confirms_the_manifest_it_says_so_and_not_that_nothing_is_there():
    (a,) = stores("a")
    a.refuses_key("manifest.json")
    with pytest.raises(Permanent, match="Every object of the backup is complete, and no destination confirmed"):
        take(database(), a)


@pytest.mark.parametrize("key", [str(IDENTITIES[0]), "age1nonsense"])
def test_a_recipient_that_is_none_is_named_by_its_place_and_never_shown(key: str):
    with pytest.raises(Refused) as raised:
        check_recipients([str(IDENTITIES[1].to_public()), key])
    assert "Recipient 2 of the backups" in str(raised.value)
    assert key not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_destination_that_fails_does_not_keep_a_backup_from_the_others():
    """A release needs them all; a backup by itself is degraded, which is better than none."""
    a, b = stores("a", "b")
    b.refuses_writes()
    probe_stores([a, b], nonce="n1", all_needed=False)
    with pytest.raises(Refused, match="AccessDenied"):
        probe_stores([a, b], nonce="n2")
    a.refuses_writes()
    with pytest.raises(Refused, match="a: cannot write.* b: cannot write"):
        probe_stores([a, b], nonce="n3", all_needed=False)


def test_two_destinations_that_are_one_place_are_refused_however_few_are_needed():
    a, b, c = stores("a", "b", "c")
    b.objects = a.objects
    c.refuses_writes()
    with pytest.raises(Refused, match="a and b are the same place"):
        probe_stores([a, b, c], nonce="n1", all_needed=False)
