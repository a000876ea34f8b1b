"""Copies of media that were damaged behind our back: found by name, counted out, repaired from a good copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from onlyvips.core.audit import AuditPlan, Place, audit
from onlyvips.core.catalog import Backup, with_verifications
from onlyvips.core.verification import Verification
from onlyvips.errors import Fenced, Misuse
from onlyvips.steps.media_copies import PlainCopies
from onlyvips.steps.repair import Repair, Repaired, repair
from onlyvips.steps.verify import Reading, verify
from tests.procedures.media import Minutes, brought_back, catalog, name_of, synced, take, trees
from tests.procedures.test_media import MEDIA, small_is_less_than_a_kilobyte
from tests.simulators.media import SimulatedMedia, SimulatedTree
from tests.simulators.objects import Killed, Life

__all__ = ["small_is_less_than_a_kilobyte"]
CHANGED = {**MEDIA, "a.jpg": b"another", "big.mp4": MEDIA["big.mp4"] + b"!", "new": b"n"}
NOW = Minutes(10_000)


def two_backups(*names: str) -> tuple[list[SimulatedTree], str, str]:
    """Of MEDIA, then of CHANGED, in every destination."""
    places, source = trees(*names), SimulatedMedia(MEDIA)
    first = name_of(take(source, places))
    source.replace_all(CHANGED)
    return places, first, name_of(take(source, places))


def one(places: Sequence[SimulatedTree], name: str) -> Backup:
    (found,) = [each for each in catalog(places) if each.name == name]
    return found


def plain(places: Sequence[SimulatedTree]) -> PlainCopies:
    return PlainCopies({place.name: place for place in places})


def read_back(places: Sequence[SimulatedTree], name: str, share: float = 1.0) -> dict[str, Verification]:
    reading = Reading(NOW, os.urandom, share, plain=plain(places))
    return {each.destination: each for each in verify(one(places, name), [p.store for p in places], reading)}


def repaired(
    places: Sequence[SimulatedTree], name: str, *, newest: bool = True, check: object = None
) -> list[Repaired]:
    by = Repair(99, NOW, check or (lambda: None), plain(places), newest)  # type: ignore[arg-type]
    return repair(one(places, name), [place.store for place in places], by)


def key_of(place: SimulatedTree, name: str) -> str:
    return f"lab/media-tree/{name}"


DAMAGES: dict[str, Callable[[SimulatedTree], None]] = {
    "a flipped byte": lambda tree: tree.store.objects.update({key_of(tree, "b/c.jpg"): b"cC"}),
    "a flipped byte of a large one": lambda tree: tree.store.objects.update(
        {key_of(tree, "big.mp4"): b"L" + CHANGED["big.mp4"][1:]}
    ),
    "an object gone": lambda tree: tree.store.objects.pop(key_of(tree, "new")) and None,
    "the tree gone": lambda tree: _lose(tree, "media-tree"),
    "everything gone": lambda tree: tree.store.objects.clear(),
    "the index gone": lambda tree: _lose(tree, "0001-index"),
}


def _lose(tree: SimulatedTree, part: str) -> None:
    for key in [key for key in tree.store.objects if part in key]:
        del tree.store.objects[key]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_one_copy_is_found_and_repaired_from_another(damage: str):
    places, first, second = two_backups("a", "b", "c")
    DAMAGES[damage](places[1])
    found = read_back(places, second)
    assert [name for name, each in found.items() if each.good] == ["a", "c"]
    done = repaired(places, second)
    assert [each.why for each in done] == ["", "", ""]
    assert [bool(each.written) for each in done] == [False, True, False]
    assert all(each.good and each.whole for each in read_back(places, second).values())
    assert brought_back(places[1].store.objects, second) == CHANGED
    assert synced(places[1].store.objects) == CHANGED
    if damage in ("everything gone", "the index gone"):
        assert [each.why for each in repaired(places, first, newest=False)] == ["", "", ""]
        assert synced(places[1].store.objects) == CHANGED, "the tree stays that of the newest"
    assert brought_back(places[1].store.objects, first) == MEDIA


def test_the_audit_names_what_is_damaged_and_counts_two_copies():
    places, _, second = two_backups("a", "b", "c")
    places[1].store.objects[key_of(places[1], "b/c.jpg")] = b"cC"
    del places[1].store.objects[key_of(places[1], "new")]
    spots = tuple(Place(name, "s3", False, False) for name in "abc")
    plan = AuditPlan("lab", {"media": 86400.0}, spots, 3, 1, 0, 0, 3600.0, 86400.0)
    results = list(read_back(places, second).values())
    report = audit(with_verifications(catalog(places), results), {}, plan, NOW.now())
    assert report.standings[0].copies == ("a", "c")
    told = " ".join(each.what for each in report.findings)
    assert "b media-tree/b/c.jpg has SHA-256" in told and "b media-tree/new is not there" in told
    assert audit(catalog(places), {}, plan, NOW.now()).standings[0].copies == ("a", "c")


def test_a_copy_that_nobody_read_back_does_not_count_yet():
    places, _, second = two_backups("a")
    assert [copy.verified for copy in one(places, second).copies] == [""]
    read_back(places, second)
    assert [copy.verified for copy in one(places, second).copies] != [""]


def test_an_older_backup_is_read_from_the_versions_too_and_damage_there_is_its_own():
    places, first, second = two_backups("a", "b")
    assert all(each.good for each in read_back(places, first).values())
    (kept,) = [key for key, data in places[1].store.objects.items() if "versions" in key and data == b"a"]
    places[1].store.objects[kept] = b"?"
    assert [each.good for each in read_back(places, first).values()] == [True, False]
    assert all(each.good for each in read_back(places, second).values())
    assert [bool(each.written) for each in repaired(places, first, newest=False)] == [False, True]
    assert brought_back(places[1].store.objects, first) == MEDIA


def test_what_is_good_in_no_copy_is_told_by_name_and_the_rest_is_repaired():
    places, _, second = two_backups("a", "b")
    for place in places:
        place.store.objects[key_of(place, "b/c.jpg")] = b"cC"
    del places[1].store.objects[key_of(places[1], "new")]
    done = repaired(places, second)
    assert all(
        '1 files are good in no other copy, so they cannot be repaired: "media-tree/b/c.jpg"' in d.why for d in done
    )
    assert synced(places[1].store.objects)["new"] == b"n"


def test_two_copies_damaged_in_different_places_repair_each_other_and_one_that_is_away_stops_nobody():
    places, _, second = two_backups("a", "b", "c")
    places[1].store.objects[key_of(places[1], "b/c.jpg")] = b"cC"
    del places[2].store.objects[key_of(places[2], "new")]
    backup = one(places, second)
    places[0].store.goes_away_while_reading()
    by = Repair(99, NOW, plain=plain(places))
    done = {each.destination: each.why for each in repair(backup, [place.store for place in places], by)}
    assert "connection broke" in done["a"] and done["b"] == done["c"] == ""
    for place in places[1:]:
        assert brought_back(place.store.objects, second) == CHANGED


def test_a_destination_that_missed_a_backup_is_given_it_and_keeps_the_one_that_it_had():
    places, source = trees("a", "b"), SimulatedMedia(MEDIA)
    first = name_of(take(source, places))
    before = dict(places[1].store.objects)
    source.replace_all(CHANGED)
    second = name_of(take(source, places))
    places[1].store.objects = before
    assert [each.why for each in repaired(places, second)] == ["", ""]
    assert brought_back(places[1].store.objects, second) == CHANGED
    assert brought_back(places[1].store.objects, first) == MEDIA


def test_a_death_at_any_write_of_a_repair_leaves_it_to_be_done_again():
    def broken() -> tuple[list[SimulatedTree], str, str]:
        found = two_backups("a", "b")
        DAMAGES["a flipped byte of a large one"](found[0][1])
        DAMAGES["an object gone"](found[0][1])
        return found

    alive = Life()
    places, _, second = broken()
    places[1].store._life = alive
    repaired(places, second)
    assert alive.writes > 5
    for death in range(1, alive.writes + 1):
        places, first, second = broken()
        places[1].store._life = Life(death)
        with pytest.raises(Killed):
            repaired(places, second)
        places[1].store._life = Life()
        assert [each.why for each in repaired(places, second)] == ["", ""]
        assert brought_back(places[1].store.objects, second) == CHANGED
        assert brought_back(places[1].store.objects, first) == MEDIA


def test_a_repair_whose_lease_was_lost_stops():
    places, _, second = two_backups("a", "b")
    del places[1].store.objects[key_of(places[1], "new")]

    def lost() -> None:
        raise Fenced("Somebody else writes now.")

    with pytest.raises(Fenced):
        repaired(places, second, check=lost)
    assert "new" not in synced(places[1].store.objects)


def test_a_share_reads_that_much_and_is_no_evidence_of_all():
    places, _, second = two_backups("a")
    found = read_back(places, second, share=0.5)["a"]
    assert (found.objects, found.of, found.whole) == (1 + 3, 1 + 6, False)


def test_what_one_reading_found_good_is_not_read_twice_for_backups_that_share_it():
    places, first, second = two_backups("a")
    reading = Reading(NOW, os.urandom, plain=plain(places))
    verify(one(places, second), [places[0].store], reading)
    places[0].reads.clear()
    verify(one(places, first), [places[0].store], reading)
    assert {key.rpartition("/")[2] for key in places[0].reads if "tree" in key} == {"a.jpg"}


def test_media_without_their_trees_are_not_half_read():
    places, _, second = two_backups("a")
    with pytest.raises(Misuse):
        verify(one(places, second), [places[0].store], Reading(NOW, os.urandom))
