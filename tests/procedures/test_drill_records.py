"""Records of drills in their destinations: signed, read back, and ignored where anything of them is not as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from onlyvips.core.drills import DrillRecord, signature_key
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.steps import signature
from onlyvips.steps.drill_records import keep_begun, keep_record, read_records
from tests.core.test_drills import RECORD, begun, record
from tests.procedures.test_backup import stores
from tests.simulators.objects import SimulatedStore

SIGNER = signature.make_key()
KEYS = [SIGNER.public]
SIGNATURE = signature_key(RECORD.key)


@pytest.fixture
def places() -> list[SimulatedStore]:
    found = stores("a", "b", "c")
    keep_record(RECORD, SIGNER, found)
    return found


def read(places: list[SimulatedStore], environment: str = "lab", keys: list[str] = KEYS, newest: int = 0):
    return read_records(places, environment, keys, newest)


def everywhere(places: list[SimulatedStore], change: Callable[[dict[str, bytes]], None]) -> None:
    for place in places:
        change(place.objects)


def test_a_record_is_in_every_destination_with_its_signature_and_kept_again_it_is_the_same(
    places: list[SimulatedStore],
):
    found = read(places)
    assert found.records == (RECORD,) and found.unverified == () and found.away == {}
    assert [sorted(place.objects) for place in places] == [[RECORD.key, SIGNATURE]] * 3
    again = keep_record(RECORD, SIGNER, places)
    assert again.stores == ("a", "b", "c") and again.refusals == ()


def flipped(objects: dict[str, bytes]) -> None:
    data = objects[RECORD.key]
    objects[RECORD.key] = data[:40] + bytes([data[40] ^ 1]) + data[41:]


def better(objects: dict[str, bytes]) -> None:
    objects[RECORD.key] = objects[RECORD.key].replace(b'"documents": 1000', b'"documents": 9999')


def other_signature(objects: dict[str, bytes]) -> None:
    objects[SIGNATURE] = signature.make_key().sign(objects[RECORD.key])


def no_signature(objects: dict[str, bytes]) -> None:
    del objects[SIGNATURE]


def cut(objects: dict[str, bytes]) -> None:
    objects[SIGNATURE] = objects[SIGNATURE][:-1]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (flipped, "its signature is not by a key"),
        (better, "its signature is not by a key"),
        (other_signature, "its signature is not by a key"),
        (no_signature, "it has no signature"),
        (cut, "its signature is not by a key"),
    ],
)
def test_what_was_changed_is_ignored_by_its_name_and_another_copy_is_believed(
    fault: Callable[[dict[str, bytes]], None], told: str, places: list[SimulatedStore]
):
    everywhere(places[:2], fault)
    assert read(places).records == (RECORD,)
    fault(places[2].objects)
    found = read(places)
    assert found.records == ()
    assert found.unverified[0].id == RECORD.id and f"c: {told}" in found.unverified[0].why


def test_a_record_by_another_key_is_ignored_and_an_old_key_that_is_still_listed_counts(places: list[SimulatedStore]):
    new = signature.make_key()
    assert read(places, keys=[new.public]).records == ()
    assert read(places, keys=[new.public, SIGNER.public]).records == (RECORD,)
    assert "no public key" in read(places, keys=[]).unverified[0].why


def test_a_record_put_under_another_environment_or_another_id_is_ignored(places: list[SimulatedStore]):
    other = record(1)

    def replay(objects: dict[str, bytes]) -> None:
        for key in (RECORD.key, SIGNATURE):
            objects[key.replace("lab/", "production/")] = objects[key]
            objects[key.replace(RECORD.id, other.id)] = objects[key]

    everywhere(places, replay)
    found = read(places)
    assert found.records == (RECORD,) and [one.id for one in found.unverified] == [other.id]
    assert "was put in the place of this one" in found.unverified[0].why
    assert read(places, "production").records == ()


def test_a_key_that_is_none_is_refused_without_being_shown():
    for text in ("", "hunter2", "ed25519-private:hunter2", SIGNER.public):
        with pytest.raises(Refused, match="no signing key") as error:
            signature.signer(text)
        assert "hunter2" not in str(error.value) and error.value.__suppress_context__
    assert signature.signer(f"{SIGNER.private_text()}\n").public == SIGNER.public
    with pytest.raises(Refused, match="is no public key of drills"):
        signature.signed_by(b"", b"", ["ed25519:AAAA"])


def test_a_destination_that_takes_nothing_is_named_and_one_is_enough_none_is_not(places: list[SimulatedStore]):
    newer = record(1)
    places[0].refuses_writes()
    kept = keep_record(newer, SIGNER, places)
    assert kept.stores == ("b", "c") and "AccessDenied" in kept.refusals[0]
    assert read(places).records == (RECORD, newer)
    assert read(places, newest=1).records == (newer,)
    for place in places:
        place.refuses_writes()
    with pytest.raises(Transient, match=r"No store took the record of drill .*passed"):
        keep_record(record(2), SIGNER, places)


def test_another_record_under_the_same_id_is_never_written_over(places: list[SimulatedStore]):
    other: DrillRecord = replace(RECORD, entries=7)
    with pytest.raises((Permanent, Transient), match="does not read back as it was written"):
        keep_record(other, SIGNER, places)
    assert read(places).records == (RECORD,)


def test_a_signature_whose_record_was_never_written_is_no_record(places: list[SimulatedStore]):
    everywhere(places, lambda objects: objects.pop(RECORD.key) and None)
    found = read(places)
    assert found.records == () and found.unverified == ()


def test_what_began_is_known_until_its_record_is_there_and_believed_only_where_it_is_signed(
    places: list[SimulatedStore],
):
    dead, ended = begun(1), begun(0)
    assert keep_begun(dead, SIGNER, places).stores == ("a", "b", "c")
    found = read(places)
    assert found.records == (RECORD,) and found.unended == (dead,)
    assert read(places, newest=1).unended == (dead,) and read(places, newest=1).records == ()
    keep_begun(ended, SIGNER, places)
    keep_record(record(0), SIGNER, places)
    assert read(places).unended == (dead,) and record(0) in read(places).records
    assert read(places, "production").unended == ()
    for place in places:
        place.objects[dead.key] = place.objects[dead.key].replace(b'"Ada"', b'"Bob"')
    found = read(places)
    assert found.unended == () and [one.id for one in found.unverified] == [dead.id]


def test_a_beginning_put_in_the_place_of_another_one_is_ignored(places: list[SimulatedStore]):
    dead, other = begun(1), begun(2)
    keep_begun(dead, SIGNER, places)
    for place in places:
        for key in (dead.key, signature_key(dead.key)):
            place.objects[key.replace(dead.id, other.id)] = place.objects[key]
    found = read(places)
    assert found.unended == (dead,) and "was put in the place of this one" in found.unverified[0].why


def test_a_drill_whose_beginning_nobody_takes_does_not_begin(places: list[SimulatedStore]):
    for place in places:
        place.refuses_writes()
    with pytest.raises(Transient, match=r"No store took that drill .* begins, so it does not"):
        keep_begun(begun(1), SIGNER, places)


def test_a_destination_that_is_away_is_told_and_what_cannot_be_read_is_not_called_forged(places: list[SimulatedStore]):
    class Away(SimulatedStore):
        def list(self, prefix: str):
            raise Transient("It is away.")

    assert read([Away("d"), *places]).away == {"d": "It is away."}
    with pytest.raises(Transient, match="No destination could be asked"):
        read([Away("d")])
    places[0].goes_away_while_reading()
    assert read(places).records == (RECORD,)
    for place in places:
        place.goes_away_while_reading()
    with pytest.raises(Transient, match="could not be read"):
        read(places)
