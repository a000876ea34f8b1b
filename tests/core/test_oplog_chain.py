"""The chain: which slices go on from a base without a gap, how far they lead, and where the next one begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.audit import AuditPlan, Report, audit
from onlyvips.core.backup_metrics import gauges
from onlyvips.core.catalog import Backup, Copy, read_catalog
from onlyvips.core.manifest import Edge, Fact, Manifest, Window, moment, seconds
from onlyvips.core.oplog import QUIET_UNTIL, Broken
from onlyvips.core.oplog_chain import Chain, best_chain, chain, starts, timeline
from tests.core.test_audit import PLAN, faults, locked
from tests.core.test_catalog import MANIFEST, shelf

AT = int(seconds(MANIFEST.started))


def edge(second: int, term: int = 1) -> Edge:
    return Edge(f"{AT + second}:1", term)


def base(start: int, end: int, number: int = 1) -> Manifest:
    return replace(
        MANIFEST,
        id=f"20260801T12000{number}Z-abababa{number}",
        started=moment(AT + start),
        finished=moment(AT + end),
        window=Window(edge(start), edge(end), 2),
        oplog="local.oplog.rs",
    )


TIMELINE = timeline(base(0, 0))


def piece(start: int, end: int, line: str = TIMELINE, term: int = 1, **more: str) -> Manifest:
    return replace(
        MANIFEST,
        id=f"{start}-{end}-{term}",
        kind="oplog",
        timeline=line,
        window=Window(edge(start, term), edge(end, term), 2),
        facts=tuple(Fact(name, value) for name, value in more.items()),
        finished=moment(AT + end + 1),
    )


def names(found: Chain) -> list[str]:
    return [one.id for one in found.slices]


def test_slices_that_follow_each_other_lead_to_the_end_of_the_last():
    found = chain(base(0, 5), [piece(20, 30), piece(0, 10), piece(10, 20)])
    assert names(found) == ["0-10-1", "10-20-1", "20-30-1"]
    assert (found.end, found.until, found.why, found.tip) == (edge(30), AT + 30, "", (TIMELINE, edge(30)))


def test_a_base_alone_leads_to_the_end_of_its_own_window():
    found = chain(base(0, 5), [])
    assert (found.slices, found.end, found.until, found.tip) == ((), edge(5), AT + 5, None)


def test_slices_that_end_within_the_window_are_not_enough_and_are_gone_on_from():
    found = chain(base(0, 50), [piece(0, 10)])
    assert (found.slices, found.end, found.tip) == ((), edge(50), (TIMELINE, edge(10)))


def test_a_later_base_begins_in_the_slice_that_holds_its_start():
    slices = [piece(0, 10), piece(10, 20), piece(20, 30)]
    assert names(chain(base(13, 15, 2), slices)) == ["10-20-1", "20-30-1"]
    assert names(chain(base(20, 22, 2), slices)) == ["20-30-1"]
    assert chain(base(35, 36, 2), slices).slices == ()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (piece(20, 30), f"no slice begins with {AT + 10}:1; the next one begins with {AT + 20}:1"),
        (piece(10, 30, term=2), ""),
        (piece(10, 30, "another.line"), ""),
    ],
)
def test_what_does_not_begin_with_the_very_entry_does_not_follow(other: Manifest, why: str):
    found = chain(base(0, 5), [piece(0, 10), other])
    assert (names(found), found.end, found.why) == (["0-10-1"], edge(10), why)


def test_a_slice_that_was_taken_twice_counts_by_how_far_it_leads():
    slices = [piece(0, 10), piece(0, 12), piece(0, 15), piece(12, 40), piece(10, 20)]
    assert names(chain(base(0, 5), slices)) == ["0-12-1", "12-40-1"]


def test_a_quiet_interval_moves_the_moment_and_not_the_end():
    quiet = piece(10, 10, **{QUIET_UNTIL: moment(AT + 900)})
    elsewhere = piece(5, 5, **{QUIET_UNTIL: moment(AT + 9000)})
    found = chain(base(0, 5), [piece(0, 10), quiet, elsewhere])
    assert (found.end, found.until, names(found)) == (edge(10), AT + 899, ["0-10-1"])


def test_a_base_whose_server_was_quiet_is_as_new_as_its_quiet_slices():
    found = chain(base(5, 5), [piece(5, 5, **{QUIET_UNTIL: moment(AT + 600)})])
    assert (found.until, found.tip) == (AT + 599, None)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_any_slices_minus_one_lead_up_to_the_missing_one(steps: list[int], data: st.DataObject):
    cuts = [sum(steps[:n]) for n in range(len(steps) + 1)]
    slices = [piece(start, end) for start, end in zip(cuts, cuts[1:], strict=False)]
    missing = data.draw(st.integers(0, len(slices) - 1))
    shuffled = data.draw(st.permutations(slices))
    assert chain(base(0, 0), shuffled).end == edge(cuts[-1])
    there = [one for one in shuffled if one is not slices[missing]]
    found = chain(base(0, 0), there)
    assert found.end == edge(cuts[missing])
    assert names(found) == [one.id for one in slices[:missing]]
    assert bool(found.why) == (0 < missing < len(slices) - 1)


# --- where the next one begins


def test_the_first_slice_begins_with_the_newest_bases_window():
    assert starts([], []) == []
    assert starts([MANIFEST], []) == []
    assert starts([base(0, 5), base(20, 22, 2)], []) == [(timeline(base(20, 22, 2)), edge(20))]


def test_a_timeline_goes_on_though_a_newer_base_is_there_which_is_the_next_to_begin_with():
    newer = base(30, 31, 2)
    assert starts([base(0, 5), newer], [piece(0, 10)]) == [(TIMELINE, edge(10)), (timeline(newer), edge(30))]
    within = base(8, 40, 2)
    assert starts([base(0, 5), within], [piece(0, 10)]) == [(TIMELINE, edge(10))]


def test_a_lost_slice_is_taken_again_from_where_the_chain_ends():
    assert starts([base(0, 5)], [piece(0, 10), piece(20, 30)]) == [(TIMELINE, edge(10))]


def test_a_timelines_name_is_no_name_of_a_backup():
    """``…-e1234567`` would end one in a key."""
    line = timeline(replace(MANIFEST, id="20260801T120000Z-e1234567"))
    slice_ = piece(0, 10, line)
    (found,) = read_catalog([shelf("a", slice_)])
    assert (found.prefix, found.name) == (slice_.prefix, "0-10-1-e7")


# --- the audit

ASKED = replace(PLAN, every={"mongodb": 6 * 3600.0, "oplog": 3600.0}, oplog_limit=3600.0)


def held(*manifests: Manifest) -> list[Backup]:
    return [found for one in manifests for found in read_catalog([shelf(name, one) for name in "abc"])]


def audited(*manifests: Manifest, at: float, breaks: tuple[Broken, ...] = (), plan: AuditPlan = ASKED) -> Report:
    verified = replace(plan, verified_within=1e9)
    found = held(*manifests)
    return audit(found, {}, verified, AT + at, locked(found), breaks)


def test_the_newest_moment_is_that_of_the_chain_for_the_base_and_for_its_slices():
    report = audited(base(0, 5), piece(0, 600), piece(600, 1200), at=1500)
    assert report.holds, report.findings
    assert {one.recoverable for one in report.standings} == {moment(AT + 1200)}
    values = {(one.labels[1][1], one.value) for one in gauges(report) if "recoverable" in one.name}
    assert values == {("mongodb", AT + 1200.0), ("oplog", AT + 1200.0)}


def test_slices_that_end_too_early_are_a_fault_by_the_rpo_and_by_their_own_limit():
    report = audited(base(0, 5), piece(0, 600), at=600 + 3601)
    assert [one.partition(",")[0] for one in faults(report)] == [
        f"the newest moment that can be brought back is {moment(AT + 600)}",
        f"slices lead to {moment(AT + 600)}",
    ]


def test_a_quiet_server_is_no_fault():
    quiet = piece(600, 600, **{QUIET_UNTIL: moment(AT + 7000)})
    assert audited(base(0, 5), piece(0, 600), quiet, at=7200).holds


def test_slices_without_a_base_bring_nothing_back():
    report = audited(piece(0, 600), at=700)
    assert "there is no base that its slices could be replayed on" in faults(report)
    assert [one.recoverable for one in report.standings] == ["", ""]
    assert not [one for one in gauges(report) if "recoverable" in one.name]


def test_a_missing_slice_asks_for_a_new_base():
    report = audited(base(0, 5), piece(0, 600), piece(700, 1200), at=1300)
    (found,) = [one for one in report.findings if "slices are missing" in one.what]
    assert found.todo == "onlyvips backup run -e lab --kind mongodb"


def test_a_break_asks_for_a_new_base_until_there_is_one():
    broken = Broken(TIMELINE, moment(AT + 900), "overflow", edge(600))
    report = audited(base(0, 5), piece(0, 600), at=1000, breaks=(broken,))
    (found,) = [one for one in report.findings if "is broken after" in one.what]
    assert f"{TIMELINE} is broken after {AT + 600}:1 (overflow)" in found.what
    assert found.todo == "onlyvips backup run -e lab --kind mongodb"
    assert audited(base(0, 5), piece(0, 600), base(950, 960, 2), at=1000, breaks=(broken,)).holds
    assert audited(base(0, 5), piece(0, 600), piece(600, 900), at=1000, breaks=(broken,)).holds


def test_a_break_before_the_first_slice_is_one_too():
    """The base's own window leads further than its start, and changes nothing about that."""
    broken = Broken(TIMELINE, moment(AT + 900), "overflow", edge(0))
    assert any("is broken after" in what for what in faults(audited(base(0, 5), at=1000, breaks=(broken,))))


def test_a_database_whose_clock_is_ahead_is_named():
    report = audited(base(0, 5), piece(0, 4000), at=100)
    assert any("which is still to come" in one.what for one in report.findings)


def test_the_best_chain_is_the_one_that_leads_furthest():
    older, newer = base(0, 5), base(700, 705, 2)
    assert best_chain([newer, older, MANIFEST], [piece(0, 600), piece(600, 900)]) is not None
    found = best_chain([newer, older], [piece(0, 600), piece(600, 900)])
    assert found is not None and found.base == newer
    found = best_chain([base(700, 705, 2), older], [piece(0, 900, TIMELINE, term=1)])
    assert found is not None and found.until == AT + 900


def test_only_backups_with_a_whole_copy_count():
    (found,) = held(base(0, 5))
    (cut,) = held(piece(0, 600))
    cut = replace(cut, copies=tuple(Copy(one.destination, ("lacks it",)) for one in cut.copies))
    report = audit([found, cut], {}, replace(ASKED, verified_within=1e9), AT + 700)
    assert {one.recoverable for one in report.standings if one.kind == "mongodb"} == {moment(AT + 5)}
