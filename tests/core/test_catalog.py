"""The catalog: what destinations list becomes backups, and a copy that is not whole is told by what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.catalog import (
    NO_MANIFEST,
    Backup,
    Shelf,
    find,
    is_document,
    newest,
    read_catalog,
    with_verifications,
)
from onlyvips.core.manifest import CopiedObject, CopyRecord, Manifest, ObjectRecord
from onlyvips.core.strict_json import to_json
from onlyvips.core.verification import Damage, Verification, latest, verification_key
from tests.core.test_manifest import MANIFEST as OF_A_BASE

MANIFEST = replace(
    OF_A_BASE,
    objects=(ObjectRecord("objects/one", 3, "ab" * 32), ObjectRecord("objects/two", 5, "cd" * 32)),
    dropped=(),
)
PREFIX = MANIFEST.prefix
SOLD = "objects/one"


def shelf(name: str, manifest: Manifest = MANIFEST, *, lacks: tuple[str, ...] = (), **sizes: int) -> Shelf:
    """A destination with a complete copy, but for what it ``lacks``; ``sizes`` are other sizes of objects."""
    held = tuple(CopiedObject(one.key, one.size, one.sha256, "") for one in manifest.objects)
    copy = CopyRecord(name, manifest.epoch, manifest.id, manifest.finished, held)
    documents = {"manifest.json": to_json(manifest), f"copies/{name}-7.json": to_json(copy)}
    objects = {one.key: sizes.get(one.key.rpartition("/")[2], one.size) for one in manifest.objects}
    everything = {**{key: len(data) for key, data in documents.items()}, **objects}
    return Shelf(
        name,
        {manifest.prefix + key: size for key, size in everything.items() if key not in lacks},
        {manifest.prefix + key: data for key, data in documents.items() if key not in lacks},
    )


def only(*shelves: Shelf) -> Backup:
    (found,) = read_catalog(shelves)
    return found


def flaws(backup: Backup) -> dict[str, tuple[str, ...]]:
    return {copy.destination: copy.flaws for copy in backup.copies}


def test_a_backup_that_all_destinations_have_is_complete_everywhere():
    found = only(shelf("a"), shelf("b"))
    assert (found.name, found.kind, found.manifest) == (f"{MANIFEST.id}-e7", "mongodb", MANIFEST)
    assert found.complete == ("a", "b")
    assert {copy.verified for copy in found.copies} == {MANIFEST.finished}


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (shelf("b", lacks=("objects/two",)), "lacks objects/two"),
        (shelf("b", two=4), "objects/two has 4 bytes instead of 5"),
        (shelf("b", lacks=("manifest.json",)), NO_MANIFEST),
        (shelf("b", lacks=("copies/b-7.json",)), "has no record of its copy"),
        (Shelf("b"), NO_MANIFEST),
        (shelf("b", replace(MANIFEST, tool="another")), "its manifest says something else"),
    ],
)
def test_a_copy_that_is_not_whole_is_told_by_what_is_wrong(damaged: Shelf, told: str):
    found = only(shelf("a"), damaged, shelf("c"))
    assert found.complete == ("a", "c")
    assert any(flaw.startswith(told) for flaw in flaws(found)["b"])


def test_an_edited_manifest_or_record_is_not_believed():
    for key in ("manifest.json", "copies/b-7.json"):
        bad = shelf("b")
        edited = {**bad.documents, PREFIX + key: bad.documents[PREFIX + key].replace(b"2026-08-01", b"2026-08-02")}
        found = only(shelf("a"), replace(bad, documents=edited))
        assert found.complete == ("a",)
        assert any("cannot be believed (seal:" in flaw for flaw in flaws(found)["b"])
        assert found.manifest == MANIFEST


def test_of_two_manifests_that_are_both_sealed_most_decide_and_a_draw_nobody():
    other = replace(MANIFEST, tool="another")
    assert only(shelf("a", other), shelf("b"), shelf("c")).manifest == MANIFEST
    drawn = only(shelf("a", other), shelf("b"), Shelf("c"))
    assert drawn.manifest is None
    assert [any("says something else" in flaw for flaw in copy.flaws) for copy in drawn.copies] == [True, True, False]


def test_a_manifest_that_was_moved_to_another_place_makes_no_backup():
    other = replace(MANIFEST, id="20260801T120000Z-ffffffff")
    moved = Shelf("a", {PREFIX + "manifest.json": 9}, {PREFIX + "manifest.json": to_json(other)})
    found = only(moved)
    assert found.manifest is None
    assert any("is of another backup" in flaw for flaw in flaws(found)["a"])


def test_objects_without_a_manifest_are_no_backup():
    found = only(shelf("a", lacks=("manifest.json",)))
    assert found.manifest is None
    assert found.finished == "20260801T120000Z"
    assert newest([found], "mongodb") is None


def test_a_destination_that_is_away_has_no_flaws_and_no_copy():
    found = only(shelf("a"), Shelf("b", away="nothing answers"))
    assert found.complete == ("a",)
    assert found.copies[1].away and not found.copies[1].flaws


def test_slices_of_the_oplog_are_found_below_their_timeline():
    one = replace(MANIFEST, kind="oplog", id="1-2", timeline="base-1")
    found = only(shelf("a", one))
    assert (found.prefix, found.kind, found.complete) == ("lab/oplog/base-1/1-2-e7/", "oplog", ("a",))


def test_evidence_and_probes_are_no_backups():
    keys = [
        "lab/evidence/release/x.json",
        "probes/n/a",
        verification_key(PREFIX, "a", "2026-08-01T13:00:00Z", True, "n"),
    ]
    assert read_catalog([Shelf("a", dict.fromkeys(keys, 1))]) == []
    assert [key for key in [*keys, PREFIX + "objects/x"] if is_document(key, "a")] == []
    assert is_document(PREFIX + "manifest.json", "a") and is_document(PREFIX + "copies/a-7.json", "a")
    assert not is_document(PREFIX + "copies/b-7.json", "a")


def test_the_newest_read_back_says_when_a_copy_was_good_last_and_whether_it_is():
    good = verification_key(PREFIX, "a", "2026-08-01T13:00:00Z", True, "n1")
    bad = verification_key(PREFIX, "b", "2026-08-01T14:00:00Z", False, "n2")
    stale = verification_key(PREFIX, "b", "2026-08-01T13:30:00Z", True, "n3")
    a = shelf("a")
    found = only(replace(a, sizes={**a.sizes, good: 1, bad: 1, stale: 1}), shelf("b"))
    assert [copy.verified for copy in found.copies] == ["2026-08-01T13:00:00Z", ""]
    assert flaws(found)["b"] == ("was read back damaged at 2026-08-01T14:00:00Z",)


def test_a_repair_after_a_bad_read_back_makes_it_a_copy_again():
    bad = verification_key(PREFIX, "a", "2026-08-01T12:00:01Z", False, "n")
    a = shelf("a")
    assert only(replace(a, sizes={**a.sizes, bad: 1})).complete == ("a",)


def test_of_two_results_of_one_second_the_bad_one_counts():
    keys = [verification_key(PREFIX, "a", "2026-08-01T13:00:00Z", good, str(good)) for good in (True, False)]
    assert latest(keys) == latest(keys[::-1]) == {(PREFIX, "a"): ("2026-08-01T13:00:00Z", False)}


def result(**changes: object) -> Verification:
    now = "2026-08-02T00:00:00Z"
    whole = Verification(PREFIX.rstrip("/"), "mongodb", "b", now, "stored", 2, 2, 8)
    return replace(whole, **changes)


def test_what_a_read_back_found_is_shown_at_its_copy():
    backup = only(shelf("a"), shelf("b"))
    (good,) = with_verifications([backup], [result()])
    assert [copy.verified for copy in good.copies] == [MANIFEST.finished, "2026-08-02T00:00:00Z"]
    (part,) = with_verifications([backup], [result(objects=1)])
    assert part.copies[1].verified == MANIFEST.finished
    (bad,) = with_verifications([backup], [result(damage=(Damage(SOLD, "has other bytes"),))])
    assert (bad.complete, flaws(bad)["b"], bad.copies[1].verified) == (("a",), (f"{SOLD} has other bytes",), "")
    (away,) = with_verifications([backup], [result(away="it broke off")])
    assert (away.complete, flaws(away)["b"]) == (("a",), ("could not be read back (it broke off)",))


def test_a_backup_is_found_by_its_name_its_place_or_how_they_begin():
    other = replace(MANIFEST, id="20260801T120000Z-0bad0000")
    both = read_catalog([shelf("a"), shelf("a", other)])
    assert [one.name for one in find(both, f"{MANIFEST.id}-e7")] == [f"{MANIFEST.id}-e7"]
    assert [one.prefix for one in find(both, PREFIX)] == [PREFIX]
    assert len(find(both, "20260801T12")) == 2
    assert find(both, "2025") == []


def test_the_newest_is_the_one_that_was_finished_last_and_is_whole_somewhere():
    later = replace(MANIFEST, id="20260801T110000Z-aaaaaaaa", finished="2026-08-01T13:00:00Z")
    broken = replace(MANIFEST, id="20260801T180000Z-aaaaaaaa", finished="2026-08-01T18:00:00Z")
    shelves = [shelf("a"), shelf("b", later), shelf("c", broken, lacks=("objects/one",))]
    found = newest(read_catalog(shelves), "mongodb")
    assert found is not None and found.manifest == later
    assert newest(read_catalog(shelves), "redis") is None
