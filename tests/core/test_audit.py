"""The audit: each thing that breaks 3-2-1-1-0 is a finding of its own, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core.audit import AuditPlan, Place, Report, audit
from onlyvips.core.catalog import Backup, Shelf, read_catalog
from onlyvips.core.manifest import WARNING, Edge, Fact, Manifest, Window, seconds
from tests.core.test_catalog import MANIFEST, shelf

NOW = seconds("2026-08-01T12:30:00Z")
PLAN = AuditPlan(
    environment="lab",
    every={"mongodb": 6 * 3600.0},
    places=(Place("a", "s3", False, False), Place("b", "s3", True, True), Place("c", "disk", False, False)),
    copies=3,
    media=2,
    offsite=1,
    immutable=1,
    rpo=3600.0,
    verified_within=24 * 3600.0,
)


def everywhere(manifest: Manifest = MANIFEST) -> list[Backup]:
    return read_catalog([shelf(name, manifest) for name in "abc"])


def locked(backups: list[Backup]) -> dict[tuple[str, str], float]:
    """Every copy at b, for an hour and more."""
    return {(one.prefix, "b"): NOW + 1e9 for one in backups}


def audited(backups: list[Backup], plan: AuditPlan = PLAN, now: float = NOW, **away: str) -> Report:
    return audit(backups, away, plan, now, locked(backups))


def faults(report: Report) -> list[str]:
    return [finding.what for finding in report.findings if finding.severity == "fault"]


def test_three_good_copies_lately_read_back_hold():
    report = audited(everywhere())
    assert report.holds and report.findings == ()
    (one,) = report.standings
    assert (one.copies, one.media, one.offsite, one.immutable) == (("a", "b", "c"), ("disk", "s3"), ("b",), ("b",))
    assert one.recoverable == MANIFEST.started


def test_a_copy_that_nobody_read_for_a_day_does_not_count():
    report = audited(everywhere(), replace(PLAN, every={"mongodb": 0.0}, rpo=1e9), NOW + 24 * 3600)
    assert len(faults(report)) == 4
    assert "counts 0 of the 3 copies asked for (none)" in faults(report)[0]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("a", ["counts 2 of the 3 copies asked for (b, c)"]),
        ("b", ["counts 2 of the 3 copies", "0 of the 1 copies off site", "0 of the 1 immutable copies"]),
        ("c", ["counts 2 of the 3 copies asked for (a, b)", "counts 1 of the 2 media asked for (s3)"]),
    ],
)
def test_a_lost_object_takes_its_copy_out_of_every_count(lost: str, told: list[str]):
    shelves = [shelf(name, lacks=("objects/two",) if name == lost else ()) for name in "abc"]
    found = faults(audited(read_catalog(shelves)))
    assert [any(one in fault for fault in found) for one in told] == [True] * len(told)
    assert any(f"is complete at 2 of 3: {lost} lacks objects/two" in fault for fault in found)
    assert len(found) == len(told) + 1


@pytest.mark.parametrize("until", [None, 0.0, NOW - 1], ids=["nobody looked", "not locked", "its lock ran out"])
def test_a_copy_is_immutable_only_when_it_was_seen_locked(until: float | None):
    (one,) = everywhere()
    found = audit([one], {}, PLAN, NOW, {} if until is None else {(one.prefix, "b"): until})
    assert found.standings[0].immutable == () and found.standings[0].copies == ("a", "b", "c")
    assert [fault.rpartition(", and")[0] for fault in faults(found)] == [
        "",
        f"the copy of {one.name} at b is not locked",
    ]
    assert "counts 0 of the 1 immutable copies asked for (none)" in faults(found)[0]


def test_no_backup_of_a_kind_that_is_asked_for_is_a_fault():
    report = audited(everywhere(), replace(PLAN, every={**PLAN.every, "redis": 0.0}))
    assert faults(report) == ["there is no backup of redis"]
    assert report.findings[0].todo == "onlyvips backup run -e lab --kind redis"


def test_a_backup_that_is_overdue_is_a_fault_and_so_is_a_recovery_point_too_old():
    late = audited(everywhere(), replace(PLAN, rpo=1e9), NOW + 9 * 3600)
    assert [fault.partition(",")[0] for fault in faults(late)] == ["the newest backup"]
    assert "9 h 30 min old; one is due every 6 h" in faults(late)[0]
    assert audited(everywhere(), replace(PLAN, rpo=1e9), NOW + 8 * 3600).holds
    lost = audited(everywhere(), replace(PLAN, every={"mongodb": 0.0}), NOW + 3600)
    assert "brought back is 2026-08-01T12:00:00Z, 1 h 30 min ago; the RPO is 1 h" in faults(lost)[0]


def test_what_an_oplog_closes_is_brought_back_to_its_end():
    window = Window(Edge("1785585000:1", 1), Edge("1785585605:2", 1))
    (one,) = audited(everywhere(replace(MANIFEST, window=window))).standings
    assert one.recoverable == "2026-08-01T12:00:05Z"


def test_a_destination_that_is_away_is_a_fault_of_its_own_and_no_damage():
    backups = read_catalog([shelf("a"), Shelf("b", away="nothing answers"), shelf("c")])
    found = faults(audited(backups, b="nothing answers"))
    assert found[0] == "b could not be read: nothing answers"
    assert not any("is complete at" in fault for fault in found)


def test_what_was_never_finished_is_a_note_and_what_lost_its_manifest_a_fault():
    unfinished = read_catalog([shelf("a", lacks=("manifest.json",))])
    report = audited(everywhere() + [replace(one, prefix="lab/mongodb/x-e9/") for one in unfinished])
    assert report.holds
    assert "was never finished" in report.findings[0].what
    bad = shelf("a")
    edited = {key: data.replace(b"onlyvips", b"0nlyvips") for key, data in bad.documents.items()}
    found = faults(audited(read_catalog([replace(bad, documents=edited)])))
    assert any("has no manifest that can be believed (a: its manifest cannot" in fault for fault in found)


def test_a_clock_that_is_wrong_by_an_hour_is_named():
    report = audited(everywhere(), now=NOW - 3600)
    assert [finding.severity for finding in report.findings] == ["warning"]
    assert "still to come" in report.findings[0].what


def test_an_older_backup_that_is_damaged_is_named_too():
    old = replace(MANIFEST, id="20260701T120000Z-0badcafe", finished="2026-07-01T12:00:09Z")
    damaged = read_catalog([shelf("a", old, two=1), shelf("b", old), shelf("c", old)])
    found = faults(audited(everywhere() + damaged))
    assert found == ["20260701T120000Z-0badcafe-e7 is complete at 2 of 3: a objects/two has 1 bytes instead of 5"]


def test_what_the_newest_backup_warns_of_is_a_warning_and_no_fault():
    manifest = replace(MANIFEST, facts=(Fact("revision", "a1"), Fact(WARNING, "3 files are not committed")))
    report = audited(everywhere(manifest))
    (one,) = report.findings
    assert report.holds and (one.severity, one.kind) == ("warning", "mongodb")
    assert one.what.endswith(": 3 files are not committed")
