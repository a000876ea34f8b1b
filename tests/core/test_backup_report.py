"""What backups and audits say to people and to monitoring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onlyvips.adapters.gauges_textfile import write_gauges
from onlyvips.core import backup_report as report
from onlyvips.core.audit import audit
from onlyvips.core.backup_metrics import gauges
from onlyvips.core.catalog import Shelf, read_catalog
from onlyvips.core.manifest import seconds
from onlyvips.core.verification import Damage, Verification
from onlyvips.errors import Permanent
from tests.core.test_audit import NOW, PLAN, everywhere, locked
from tests.core.test_catalog import MANIFEST, shelf

READ = Verification("lab/mongodb/x-e7", "mongodb", "a", "2026-08-01T13:00:00Z", "stored", 2, 2, 2048)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 50, "3072.0 TiB")]
)
def test_sizes_are_for_people(count: int, told: str):
    assert report.size(count) == told


def test_a_backup_says_where_it_is_and_a_degraded_one_how_to_finish_it():
    assert report.taken(MANIFEST, "") == f"Backup {MANIFEST.id}-e7 of mongodb: 8 B in a, b, each read back."
    told = report.taken(MANIFEST, "c: it was full.")
    assert told.endswith(f"c: it was full. Correct that, then `onlyvips backup repair {MANIFEST.id}-e7 -e lab`.")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (READ, "x-e7 at a: 2 objects, 2.0 KiB read back (stored), as they were written."),
        (replace(READ, objects=1), "x-e7 at a: 1 of 2 objects"),
        (replace(READ, away="it broke off"), "x-e7 at a could not be read back: it broke off"),
        (replace(READ, damage=(Damage("objects/one", "lies"),)), "x-e7 at a is damaged: objects/one lies."),
    ],
)
def test_a_read_back_says_what_was_found(found: Verification, told: str):
    assert report.verification(found).startswith(told)


def test_a_line_of_the_list_names_who_lacks_it():
    (backup,) = read_catalog([shelf("a"), shelf("b", lacks=("objects/one",)), Shelf("c", away="?")])
    assert report.catalog_row(backup)[3:] == ("8 B", "1 (a), not b")
    (half,) = read_catalog([shelf("a", lacks=("manifest.json",))])
    assert report.catalog_row(half)[2:] == ("never finished", "", "no backup")
    entry = report.catalog_entry(backup)
    assert [(copy["destination"], copy["complete"], copy["away"]) for copy in entry["copies"]] == [
        ("a", True, False),
        ("b", False, False),
        ("c", False, True),
    ]


def test_an_audit_ends_with_whether_it_holds():
    good = audit(everywhere(), {}, PLAN, NOW, locked(everywhere()))
    assert report.audit_lines(good)[-1] == "3-2-1-1-0 of lab holds, at 2026-08-01T12:30:00Z."
    assert "Nothing was found wrong." in report.audit_markdown(good)
    bad = audit([], {}, PLAN, NOW)
    assert report.audit_headline(bad) == "3-2-1-1-0 of lab does not hold: 1 fault, at 2026-08-01T12:30:00Z."
    assert report.faults(bad) == [
        "fault: mongodb: there is no backup of mongodb. Do: onlyvips backup run -e lab --kind mongodb"
    ]
    assert [row["faults"] for row in report.audit_table(bad)] == [1]
    (row,) = report.findings_table(bad)
    assert (row["severity"], row["kind"]) == ("fault", "mongodb")
    assert row["what to do"].startswith("onlyvips backup ")
    assert f"**fault** mongodb: {row['what was found']}. Do: `{row['what to do']}`" in report.audit_markdown(bad)
    assert report.findings_table(good) == []


def test_monitoring_gets_every_number_in_prometheus_own_format(tmp_path: Path):
    file = tmp_path / "backups.prom"
    write_gauges(file, gauges(audit(everywhere(), {}, PLAN, NOW, locked(everywhere()))))
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    about = '{environment="lab",kind="mongodb"}'
    assert {name: float(value) for name, value in values.items()} == {
        f"onlyvips_backup_copies{about}": 3,
        f"onlyvips_backup_faults{about}": 0,
        f"onlyvips_backup_last_success_timestamp_seconds{about}": seconds(MANIFEST.finished),
        f"onlyvips_backup_age_seconds{about}": NOW - seconds(MANIFEST.finished),
        f"onlyvips_backup_recoverable_timestamp_seconds{about}": seconds(MANIFEST.started),
        f"onlyvips_backup_duration_seconds{about}": 9,
        f"onlyvips_backup_size_bytes{about}": 8,
    }


def test_a_kind_without_a_backup_has_no_age_that_could_look_good():
    names = {gauge.name for gauge in gauges(audit([], {}, PLAN, NOW))}
    assert names == {"onlyvips_backup_copies", "onlyvips_backup_faults"}


def test_metrics_that_cannot_be_written_are_told_with_their_file(tmp_path: Path):
    with pytest.raises(Permanent, match=r"none/backups.prom: No such file.* correct backup.metrics_file"):
        write_gauges(tmp_path / "none" / "backups.prom", gauges(audit([], {}, PLAN, NOW)))


def test_progress_says_what_is_left_where_it_is_known() -> None:
    mebi = 1 << 20
    assert report.progress(3 * mebi, 0, 60.0) == "3.0 MiB read, 51.2 KiB/s"
    told = report.progress(3 * mebi, 12, 60.0, 12 * mebi)
    assert told == "3.0 MiB of about 12.0 MiB read, 12 documents, 51.2 KiB/s, about 3 min left"
    assert report.progress(3 * mebi, 0, 60.0, 4 * mebi).endswith(", about 20 s left")
    assert report.progress(3 * mebi, 0, 3600.0, 12 * mebi).endswith(", about 3 h 0 min left")
    assert report.progress(0, 0, 1.0, 12 * mebi) == "0 B of about 12.0 MiB read, 0 B/s"


def test_what_was_guessed_too_low_is_never_more_than_done() -> None:
    assert report.progress(5 << 20, 0, 1.0, 4 << 20) == "5.0 MiB read, 5.0 MiB/s"
    assert report.percentage(5 << 20, 4 << 20) == 99.0
    assert report.percentage(1, 0) == 0.0
