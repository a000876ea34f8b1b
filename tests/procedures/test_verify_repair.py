"""Copies on simulators that were damaged behind our back: found by name, counted out, repaired from a good copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.core.verification import Verification
from onlyvips.errors import Fenced, Permanent, Refused
from onlyvips.steps.repair import Repair, Repaired, repair
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.verify import Reading, identities, verify
from tests.procedures.test_backup import IDENTITIES, FixedClock, database, stores, take
from tests.simulators.objects import Killed, Life, SimulatedStore

OPEN = tuple(IDENTITIES[:1])


class LaterClock(FixedClock):
    """An hour after the backups were taken."""

    def now(self) -> float:
        return super().now() + 3600


READING = Reading(LaterClock(), os.urandom)
BY = Repair(9, LaterClock())


def taken() -> list[SimulatedStore]:
    found = stores("a", "b", "c")
    take(database(), *found)
    return found


def catalog(places: Sequence[SimulatedStore]) -> Backup:
    (found,) = [one for one in read_catalog(read_shelves(places, "lab")) if one.manifest or len(one.copies)]
    return found


def key_of(store: SimulatedStore, part: str) -> str:
    return next(key for key in store.objects if part in key)


def flip(store: SimulatedStore, part: str, at: int = -1) -> None:
    key = key_of(store, part)
    data = bytearray(store.objects[key])
    data[at] ^= 1
    store.objects[key] = bytes(data)


def lose(store: SimulatedStore, part: str) -> None:
    del store.objects[key_of(store, part)]


DAMAGES: dict[str, Callable[[SimulatedStore], None]] = {
    "a flipped byte": lambda store: flip(store, "app.users"),
    "an object gone": lambda store: lose(store, "app.orders"),
    "an object cut short": lambda store: store.objects.update({key_of(store, "app.users"): b"short"}),
    "the manifest gone": lambda store: lose(store, "manifest.json"),
    "the manifest edited": lambda store: flip(store, "manifest.json", 40),
    "the copy's record gone": lambda store: lose(store, f"copies/{store.name}-"),
    "the copy's record edited": lambda store: flip(store, f"copies/{store.name}-", 40),
    "everything gone": lambda store: store.objects.clear(),
}


def complete(places: Sequence[SimulatedStore]) -> set[str]:
    """Destinations whose copy is whole by the catalog and as it was written by reading it."""
    found = catalog(places)
    good = {one.destination for one in verify(found, places, READING) if one.good}
    return good & set(catalog(places).complete)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_one_copy_is_found_and_repaired_from_another(damage: str):
    places = taken()
    whole = {key: data for key, data in places[0].objects.items() if "/copies/" not in key}
    DAMAGES[damage](places[1])
    assert complete(places) == {"a", "c"}
    done = repair(catalog(places), places, BY)
    assert [one.why for one in done] == ["", "", ""]
    assert [bool(one.written) for one in done] == [False, True, False]
    assert complete(places) == {"a", "b", "c"}
    assert {key: places[1].objects[key] for key in whole} == whole
    assert repair(catalog(places), places, BY) == [Repaired(name, ()) for name in "abc"]


def test_a_degraded_backup_is_finished_by_a_repair():
    places = stores("a", "b")
    places[1].refuses_writes()
    take(database(), *places)
    healthy = SimulatedStore("b")
    assert complete([places[0], healthy]) == {"a"}
    assert [one.why for one in repair(catalog([places[0], healthy]), [places[0], healthy], BY)] == ["", ""]
    assert complete([places[0], healthy]) == {"a", "b"}


def test_a_bad_copy_never_repairs_another():
    places = taken()[:2]
    for place in places:
        flip(place, "app.users")
    done = repair(catalog(places), places, BY)
    assert all("is good in no other copy, so it cannot be repaired" in one.why for one in done)
    assert all(one.written == () for one in done)
    assert all(place.uploads == set() for place in places)


def test_two_copies_damaged_in_different_places_repair_each_other():
    places = taken()[:2]
    flip(places[0], "app.users")
    lose(places[1], "app.orders")
    assert complete(places) == set()
    assert [one.why for one in repair(catalog(places), places, BY)] == ["", ""]
    assert complete(places) == {"a", "b"}


def test_a_destination_that_cannot_be_repaired_does_not_stop_the_others():
    places = taken()
    for place in places[1:]:
        lose(place, "app.orders")
    places[1].refuses_writes()
    done = {one.destination: one for one in repair(catalog(places), places, BY)}
    assert "AccessDenied" in done["b"].why
    assert done["c"].why == "" and done["c"].written
    assert complete(places) == {"a", "c"}


def test_a_death_at_any_write_of_a_repair_leaves_it_to_be_done_again():
    alive = Life()
    assert len(_repaired_with(alive)) == 3
    for death in range(1, alive.writes + 1):
        places = taken()
        _damage_b(places)
        places[1]._life = Life(death)
        with pytest.raises(Killed):
            repair(catalog(places), places, BY)
        places[1]._life = Life()
        assert [one.why for one in repair(catalog(places), places, replace(BY, epoch=10))] == ["", "", ""]
        assert complete(places) == {"a", "b", "c"}


def _damage_b(places: Sequence[SimulatedStore]) -> None:
    flip(places[1], "app.users")
    lose(places[1], "manifest.json")


def _repaired_with(life: Life) -> list[Repaired]:
    places = taken()
    _damage_b(places)
    places[1]._life = life
    return repair(catalog(places), places, BY)


def test_a_repair_whose_lease_was_lost_stops():
    places = taken()
    lose(places[1], "app.users")

    def lost() -> None:
        raise Fenced("Somebody else writes now.")

    with pytest.raises(Fenced):
        repair(catalog(places), places, replace(BY, check=lost))
    assert places[1].uploads == set()


def test_without_a_manifest_nothing_is_read_back_or_repaired():
    places = taken()
    for place in places:
        lose(place, "manifest.json")
    for action in (lambda: verify(catalog(places), places, READING), lambda: repair(catalog(places), places, BY)):
        with pytest.raises(Permanent, match="no manifest that can be believed"):
            action()


# --- reading back


def results(places: Sequence[SimulatedStore], reading: Reading = READING) -> dict[str, Verification]:
    return {one.destination: one for one in verify(catalog(places), places, reading)}


@pytest.mark.parametrize("reading", [READING, replace(READING, identities=OPEN)], ids=["stored", "decrypted"])
def test_a_flipped_byte_anywhere_in_an_object_is_found_and_named(reading: Reading):
    places = taken()
    size = len(places[1].objects[key_of(places[1], "app.users")])
    for at in range(0, size, max(1, size // 40)):
        flip(places[1], "app.users", at)
        found = results(places, reading)
        (damage,) = found["b"].damage
        assert "app.users" in damage.key and "SHA-256" in damage.why
        assert found["a"].good and found["c"].good
        flip(places[1], "app.users", at)
    assert results(places, reading)["b"].good


def test_decrypting_finds_what_the_hash_alone_cannot():
    """A manifest that does not say what the archive holds: written so, by a fault of ours."""
    places = taken()
    backup = catalog(places)
    assert backup.manifest is not None
    for wrong in ({"documents": 7}, {"bytes": 7}, {"crc64": "0" * 16}, {"collection": "others"}):
        first = backup.manifest.objects[0]
        lie = replace(first, namespaces=(replace(first.namespaces[0], **wrong),))
        told = replace(backup.manifest, objects=(lie, *backup.manifest.objects[1:]))
        lied = replace(backup, manifest=told)
        assert all(one.good for one in verify(lied, places, READING))
        found = verify(lied, places, replace(READING, identities=OPEN))
        assert ["the manifest says" in one.damage[0].why for one in found] == [True] * 3


def test_an_identity_that_the_backup_is_not_for_opens_nothing_and_says_so():
    import pyrage

    places = taken()
    found = results(places, replace(READING, identities=(pyrage.x25519.Identity.generate(),)))
    assert all("does not open" in one.damage[0].why for one in found.values())
    with pytest.raises(Refused, match="no age secret key") as raised:
        identities(["AGE-SECRET-KEY-1NONSENSE"])
    assert "NONSENSE" not in str(raised.value) and raised.value.__suppress_context__
    assert len(identities([str(IDENTITIES[0]) + "\n"])) == 1


def test_a_copy_that_cannot_be_read_is_away_and_not_damaged():
    places = taken()
    places[1].goes_away_while_reading()
    backup = read_catalog(read_shelves([places[0], places[2]], "lab"))[0]
    backup = replace(backup, copies=(*backup.copies, replace(backup.copies[0], destination="b")))
    found = {one.destination: one for one in verify(backup, places, READING)}
    assert "the connection broke" in found["b"].away
    assert found["b"].damage == () and not found["b"].good
    assert not any("/b/" in key for key in places[0].objects if "evidence" in key)


def test_what_was_found_is_kept_as_evidence_in_every_store_that_takes_it():
    places = taken()
    flip(places[1], "app.users")
    places[2].refuses_writes()
    verify(catalog(places), places, READING)
    kept = {key for key in places[0].objects if "/evidence/verify/" in key}
    assert kept == {key for key in places[1].objects if "/evidence/verify/" in key}
    assert [("-bad-" in key, key.split("/")[5]) for key in sorted(kept)] == [(False, "a"), (True, "b"), (False, "c")]
    (copy,) = [one for one in catalog(places).copies if one.destination == "b"]
    assert copy.flaws == ("was read back damaged at 2026-08-01T13:00:00Z",)


def test_damage_is_told_even_where_no_store_takes_the_evidence_of_it():
    places = taken()
    flip(places[1], "app.users")
    for place in places:
        place.refuses_writes()
    with pytest.raises(Permanent, match=r"No store took the evidence") as raised:
        verify(catalog(places), places[1:2], READING)
    assert "at b is damaged: objects/" in str(raised.value)
    assert "onlyvips backup repair 20260801T120000Z-abababab-e3 -e lab" in str(raised.value)


def test_a_share_reads_that_much_other_objects_each_time_and_is_no_evidence_when_good():
    places = taken()
    found = results(places, replace(READING, share=0.34))
    assert {(one.objects, one.of, one.whole) for one in found.values()} == {(1, 3, False)}
    assert not any("/evidence/" in key for key in places[0].objects)
    read: set[str] = set()
    for salt in range(20):
        for place in places:
            place.objects = {key: b"?" if "/objects/" in key else data for key, data in place.objects.items()}
        one = replace(READING, share=0.34, entropy=lambda n, salt=salt: bytes([salt]) * n)
        read |= {damage.key for damage in results(places, one)["a"].damage}
    assert len(read) == 3


def test_a_store_that_is_away_makes_a_shelf_with_its_reason_and_the_others_are_read():
    places = taken()
    places[1].goes_away_while_reading()
    shelves = read_shelves(places, "lab")
    assert [bool(shelf.away) for shelf in shelves] == [False, True, False]
    assert read_catalog(shelves)[0].complete == ("a", "c")
