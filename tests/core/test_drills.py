"""Records of drills: what an audit finds in them, how long they say a restore takes, what their names are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onlyvips.core import drill_findings, drills
from onlyvips.core.audit import Finding
from onlyvips.core.drills import Begun, Compared, DrillPlan, DrillRecord, Drills, Unverified
from onlyvips.core.manifest import moment, seconds
from onlyvips.core.strict_json import BadManifest
from onlyvips.errors import Refused

PLAN = DrillPlan("lab", rehearsed=True, every=7 * 86400.0, limit=30 * 86400.0, rto=7200.0, rpo=3600.0)
RECORD = DrillRecord(
    id="20260801T120000Z-0badcafe",
    environment="lab",
    kind="mongodb",
    operator="Ada",
    tool="onlyvips-rollout 0.1.0",
    at="latest",
    started="2026-08-01T12:00:00Z",
    ended="2026-08-01T12:10:00Z",
    verdict=drills.PASSED,
    reasons=(),
    rto_ms=7200_000,
    rpo_ms=3600_000,
    base="lab/mongodb/20260801T060000Z-0badcafe-e7/",
    slices=("lab/oplog/x/y-e1/",),
    reached="2026-08-01T11:58:00Z",
    size=600 << 20,
    documents=1000,
    entries=50,
    recovery_time_ms=300_000,
    recovery_point_ms=120_000,
    verification_ms=60_000,
    compared=(Compared("app.users", "drill.users", 2, "ab", 2, "ab"),),
    removed=("drill_lab_x",),
)
NOW = seconds(RECORD.ended) + 86400


def failed(day: int, *reasons: str) -> DrillRecord:
    return replace(record(day), verdict=drills.FAILED, reasons=reasons or ("There is no slice.",))


def record(day: int) -> DrillRecord:
    """A drill that passed so many days after the first."""
    at = seconds(RECORD.started) + day * 86400
    return replace(RECORD, id=drills.id_of(at, b"\0\0\0\1"), started=moment(at), ended=moment(at + 600))


def older(day: int) -> DrillRecord:
    """One of an older moment, that passed."""
    return replace(record(day), at="2026-07-01T12:00:00Z")


def begun(day: int, at: str = "latest") -> Begun:
    """One of which there is no record."""
    one = record(day)
    return Begun(one.id, "lab", "mongodb", "Ada", one.tool, at, one.started, drills.scratch_name("lab", one.id))


def found(*records: DrillRecord, plan: DrillPlan = PLAN, now: float = NOW, bad: tuple[Unverified, ...] = (), **more):
    return drill_findings.findings(Drills(records, bad, **more), plan, now)


def faults(findings: list[Finding]) -> list[str]:
    return [one.what for one in findings if one.severity == "fault"]


def test_a_good_drill_of_yesterday_is_nothing_to_tell():
    assert found(RECORD) == []


def test_no_drill_at_all_is_a_fault_and_says_what_to_do():
    (one,) = found()
    assert (one.severity, one.what) == ("fault", "no restore was rehearsed yet")
    assert one.todo == "onlyvips drill run -e lab"


def test_an_environment_that_rehearses_nothing_is_named_as_not_covered():
    (one,) = found(plan=replace(PLAN, rehearsed=False))
    assert one.severity == "warning" and "are not rehearsed" in one.what


def test_a_drill_older_than_the_limit_is_stale_to_the_minute():
    limit = seconds(RECORD.ended) + PLAN.limit
    assert faults(found(RECORD, now=limit)) == []
    assert [one.severity for one in found(RECORD, now=limit + 60)] == ["fault"]
    assert faults(found(RECORD, now=limit + 60)) == [
        f"the last good drill, {RECORD.id}, is 30 d 1 min old; at most 30 d is accepted"
    ]


def test_the_last_drill_that_failed_is_a_fault_with_its_sentence_whatever_was_good_before():
    told = faults(found(RECORD, failed(1), now=NOW + 2 * 86400))
    assert told == [f"the last drill, {failed(1).id}, failed: There is no slice"]
    assert found(failed(0), record(1), now=NOW + 2 * 86400) == []
    assert faults(found(failed(0)))[1:] == ["no drill of the latest moment has passed yet"]


def test_a_restore_slower_than_the_rto_is_a_fault_and_an_old_recovery_point_a_warning():
    slow = replace(RECORD, recovery_time_ms=7_260_000)
    assert faults(found(slow)) == [f"the restore of the last good drill, {RECORD.id}, took 2 h 1 min; the RTO is 2 h"]
    (one,) = found(replace(RECORD, recovery_point_ms=3_661_000))
    assert one.severity == "warning" and "was 1 h 1 min ago; the RPO is 1 h" in one.what
    assert found(replace(RECORD, recovery_time_ms=7_200_000, recovery_point_ms=3_600_000)) == []


def test_a_record_that_nobody_can_believe_is_a_fault_when_a_newer_one_does_not_outweigh_it():
    older, newer = (Unverified(record(day).id, "s3-a: it has no signature") for day in (-1, 1))
    (one,) = found(RECORD, bad=(older,))
    assert one.severity == "warning" and "unsigned or forged" in one.what and "s3-a" in one.what
    assert len(faults(found(RECORD, bad=(newer,)))) == 1
    assert len(faults(found(bad=(older,)))) == 2


def test_a_database_that_the_last_drill_left_is_a_warning_until_the_next_one():
    left = replace(RECORD, left=("drill_lab_x (It was away.)",))
    (one,) = found(left)
    assert one.severity == "warning" and "drill_lab_x" in one.what
    assert found(left, record(1), now=NOW + 86400) == []


def test_a_drill_is_overdue_at_one_and_a_half_times_the_time_between_two_whether_it_passed_or_not():
    due = seconds(RECORD.ended) + 1.5 * PLAN.every
    assert found(RECORD, now=due) == []
    (one,) = found(RECORD, now=due + 120)
    assert one.severity == "warning"
    assert one.what == f"the newest drill, {RECORD.id}, ended 10 d 12 h ago; one is due every 7 d"
    assert "warning" in [one.severity for one in found(record(-1), failed(0), now=due + 120)]
    assert [one.severity for one in found(RECORD, older(9), now=due + 120)] == ["warning"]


def test_a_drill_of_an_older_moment_that_passed_clears_nothing_and_one_that_failed_breaks_nothing():
    told = faults(found(RECORD, failed(1), older(2), now=NOW + 2 * 86400))
    assert told == [f"the last drill, {failed(1).id}, failed: There is no slice"]
    wrong = replace(failed(1), at="2026-07-01T12:00:00Z")
    assert found(RECORD, wrong, now=NOW + 86400) == []
    slow = replace(older(1), recovery_time_ms=9_000_000)
    assert found(RECORD, slow, now=NOW + 86400) == []
    assert faults(found(older(0))) == [
        f"no restore of the latest moment was rehearsed yet (drill {older(0).id} was of an older one)"
    ]
    assert drill_findings.last_good(Drills((RECORD, older(1))), "mongodb", NOW + 86400) == RECORD


def test_a_drill_that_began_and_never_ended_is_a_fault_with_its_name_until_another_one_ends():
    dead = begun(1)
    told = found(RECORD, unended=(dead,), now=NOW + 86400)
    assert [one.severity for one in told] == ["warning", "fault"]
    assert f"drill {dead.id} died and may have left a database on the scratch server" in told[0].what
    assert dead.scratch in told[0].what
    assert told[1].what == f"the last drill, {dead.id}, began at {dead.started}, and no record says that it ended"
    assert found(RECORD, record(2), unended=(dead,), now=NOW + 2 * 86400) == []
    away = found(RECORD, unended=(dead,), away={"s3-b": "It is away."}, now=NOW + 86400)
    assert "may be where nobody answers: s3-b" in away[1].what
    assert faults(found(unended=(dead,), now=NOW + 86400)) == [
        told[1].what,
        "no drill of the latest moment has passed yet",
    ]


def test_what_a_dead_drill_left_is_told_until_one_says_that_it_removed_it():
    dead = begun(1)
    wrong = failed(2)
    assert any(dead.scratch in one.what for one in found(wrong, unended=(dead,), now=NOW + 2 * 86400))
    removed = replace(failed(2), removed=(dead.scratch,))
    assert not any(dead.scratch in one.what for one in found(removed, unended=(dead,), now=NOW + 2 * 86400))
    (one,) = found(RECORD, unended=(begun(1, "2026-07-01T12:00:00Z"),), now=NOW + 86400)
    assert one.severity == "warning" and dead.scratch in one.what


def test_a_drill_that_runs_is_neither_dead_nor_has_it_left_anything():
    (one,) = found(RECORD, unended=(begun(1),), running=begun(1).id, now=NOW + 86400)
    assert one.severity == "note" and f"drill {begun(1).id} runs since" in one.what


def test_a_drill_of_tomorrow_does_not_count():
    told = found(record(3))
    assert [one.severity for one in told] == ["warning", "fault"]
    assert "still to come" in told[0].what


# --- how long


def test_an_estimate_rests_on_the_newest_good_drills_of_the_kind_alone():
    assert drills.speed(Drills(), "mongodb") is None
    fast = replace(record(1), recovery_time_ms=100_000)
    speed = drills.speed(Drills((RECORD, failed(2), fast, replace(record(3), kind="redis"))), "mongodb")
    assert speed is not None and speed.drills == 2 and speed.rate == 2 * (600 << 20) / 400
    assert (
        drills.how_long(6 * (600 << 20), speed)
        == f"about 20 min, by the last 2 good drills, the newest of {fast.ended}"
    )
    many = drills.speed(Drills(tuple(record(day) for day in range(9))), "mongodb")
    assert many is not None and many.drills == 5


# --- the record itself


def test_a_record_reads_back_as_it_was_and_only_under_its_own_environment_and_id():
    data = drills.as_stored(RECORD)
    assert drills.read_record(data, "lab", RECORD.id) == RECORD
    for environment, id in (("production", RECORD.id), ("lab", record(1).id)):
        with pytest.raises(Refused, match="was put in the place of this one"):
            drills.read_record(data, environment, id)
    with pytest.raises(BadManifest):
        drills.read_record(data.replace(b'"entries": 50', b'"entries": 51'), "lab", RECORD.id)


@pytest.mark.parametrize(
    "change",
    [{"verdict": "fine"}, {"verdict": "failed"}, {"reasons": ("why",)}, {"id": "x"}, {"ended": "now"}, {"size": -1}],
    ids=str,
)
def test_a_record_that_contradicts_itself_is_none(change: dict[str, object]):
    with pytest.raises(ValueError):
        replace(RECORD, **change)  # type: ignore[arg-type]


def test_scratch_databases_are_known_by_name_to_their_own_environment_alone():
    name = drills.scratch_name("lab-2", RECORD.id)
    assert name == "drill_lab_2_20260801t120000z_0badcafe"
    assert drills.is_scratch("lab-2", name)
    for other in ("lab", "lab-22", "production"):
        assert not drills.is_scratch(other, name)
    for no in ("onlyvips", "drill_lab_2_", "drill_lab_2_20260801t120000z_0badcafe_x", f"x{name}"):
        assert not drills.is_scratch("lab-2", no)
    longest = drills.scratch_name("a" * 53, RECORD.id)
    assert len(longest) <= 63 and drills.is_scratch("a" * 53, longest)


@pytest.mark.parametrize("at", ["latest", "2026-08-01T12:00:00Z", "1785585600:3"])
def test_moments_that_a_drill_can_be_of(at: str):
    drills.check_at(at)


@pytest.mark.parametrize("at", ["", "yesterday", "20260801T120000Z-0badcafe", "2026-08-01", "latest "])
def test_what_is_no_moment_is_refused(at: str):
    with pytest.raises(Refused, match="is no moment"):
        drills.check_at(at)


def test_a_drill_in_words_says_what_failed_and_what_was_left():
    told = "\n".join(drills.lines(replace(failed(0), left=("drill_lab_y",))))
    for part in ("failed", "There is no slice.", "removed drill_lab_x", "drill_lab_y could not be removed", "Ada"):
        assert part in told
    wrong = replace(RECORD.compared[0], read_documents=3)
    assert "reads back as 3 documents" in "\n".join(drills.lines(replace(failed(0), compared=(wrong,))))
    assert drills.row(RECORD) == (RECORD.id, "mongodb", "latest", "passed", "5 min", "2 min", RECORD.reached)
    assert "to 2026-07-01T12:00:00Z and not to the latest moment, passed" in drills.headline(older(0))


def test_drills_that_never_ended_stand_in_the_table_where_they_began():
    dead, runs = begun(1), begun(3)
    rows = drills.rows(Drills((RECORD, record(2)), unended=(dead, runs), running=runs.id))
    assert [(row[0], row[3]) for row in rows] == [
        (RECORD.id, "passed"),
        (dead.id, "never ended"),
        (record(2).id, "passed"),
        (runs.id, "running"),
    ]
    assert any(dead.scratch in line for line in drills.begun_lines(dead))
