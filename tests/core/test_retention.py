"""Retention: what stays, what goes and why; whatever the catalog, the last good backup and every chain stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlyvips.core.catalog import BAD_MANIFEST, NO_MANIFEST, Backup, Copy
from onlyvips.core.manifest import Edge, NamespaceRecord, ObjectRecord, Window, backup_id, moment, prefix, seconds
from onlyvips.core.oplog_chain import best_chain, chain
from onlyvips.core.retention import Decision, Facts, Policy, chains, decide
from tests.core.test_manifest import MANIFEST as OF_A_BASE

HOUR, DAY = 3600.0, 86400.0
START = seconds("2026-08-01T00:00:00Z")
WHOLE = (Copy("a"), Copy("b"), Copy("c"))
OBJECTS = (ObjectRecord("objects/one", 3, "ab" * 32),)
PLAIN = replace(OF_A_BASE, objects=OBJECTS, dropped=(), window=None)


def backup(at: float, kind: str = "mongodb", copies: Sequence[Copy] = WHOLE, window: Window | None = None) -> Backup:
    """A finished backup, begun and ended at ``at``."""
    id, when = backup_id(at, b"abcd"), moment(at)
    manifest = replace(PLAIN, id=id, kind=kind, epoch=7, started=when, finished=when, window=window)
    return Backup(manifest.prefix, kind, manifest, tuple(copies))


def slice_(start: float, end: float, timeline: str = "t1", copies: Sequence[Copy] = WHOLE) -> Backup:
    window, when = Window(Edge(f"{start:.0f}:1", 1), Edge(f"{end:.0f}:1", 1)), moment(end)
    id = f"{start:.0f}-{end:.0f}"
    manifest = replace(
        PLAIN, id=id, kind="oplog", epoch=7, started=when, finished=when, window=window, timeline=timeline
    )
    return Backup(manifest.prefix, "oplog", manifest, tuple(copies))


def base(start: float, end: float, copies: Sequence[Copy] = WHOLE) -> Backup:
    return backup(end, copies=copies, window=Window(Edge(f"{start:.0f}:1", 1), Edge(f"{end:.0f}:1", 1)))


def unfinished(at: float, flaw: str = NO_MANIFEST) -> Backup:
    place = prefix("lab", "mongodb", backup_id(at, b"dead"), 3)
    return Backup(place, "mongodb", None, (Copy("a", (flaw,)), Copy("b", (NO_MANIFEST,))))


def decided(backups: Sequence[Backup], policy: Policy, now: float, **facts: object) -> list[Decision]:
    policies = {"mongodb": policy, "oplog": Policy(within=policy.within)}
    return decide(backups, policies, replace(Facts(now, DAY), **facts))


def kept(decisions: Sequence[Decision]) -> list[Backup]:
    return [one.backup for one in decisions if one.action == "keep"]


def every(hours: float, count: int) -> list[Backup]:
    return [backup(START + number * hours * HOUR) for number in range(count)]


def reasons(decisions: Sequence[Decision], one: Backup) -> str:
    return "; ".join(next(each.reasons for each in decisions if each.backup is one))


def test_the_last_ones_stay_and_the_first_of_each_of_the_last_days():
    found = every(6, 20)  # five days, four a day
    decisions = decided(found, Policy(last=2, daily=3), START + 5 * DAY)
    assert kept(decisions) == [found[8], found[12], found[16], found[18], found[19]]
    assert "the first of day 2026-08-03 (daily)" in reasons(decisions, found[8])
    assert reasons(decisions, found[19]) == "it is the last good one of mongodb; it is one of the last 2"
    assert reasons(decisions, found[17]) == "it is beyond the last 2, 3 daily"


def test_what_was_the_first_of_its_month_stays_so_when_others_come_and_is_locked_until_its_tier_ends():
    policy = Policy(last=1, monthly=3, locked_for=2 * DAY)
    first = every(6, 8)
    before = decided(first[:1], policy, START + HOUR)
    after = decided(first, policy, START + 2 * DAY)
    assert kept(after) == [first[0], first[7]]
    assert before[0].until == after[0].until == seconds("2026-11-01T00:00:00Z")
    assert (after[7].at_least, after[7].until) == (START + 3 * DAY, START + 4 * DAY)


def test_without_new_backups_nothing_ever_goes():
    found = every(6, 20)
    policy = Policy(last=2, daily=3)
    now = kept(decided(found, policy, START + 5 * DAY))
    assert kept(decided(now, policy, START + 5000 * DAY)) == now


def test_what_some_destination_lacks_does_not_stand_alone_for_its_day():
    half = backup(START, copies=(Copy("a"), Copy("b", ("lacks objects/one",)), Copy("c")))
    found = [half, *every(6, 8)[1:]]
    decisions = decided(found, Policy(last=1, daily=2), START + 2 * DAY)
    assert kept(decisions) == [found[0], found[1], found[4], found[7]]


def test_the_last_good_copy_of_each_destination_stays():
    found = every(24, 5)
    lacking = (Copy("a"), Copy("b", ("lacks objects/one",)), Copy("c"))
    found[2:] = [replace(one, copies=lacking) for one in found[2:]]
    decisions = decided(found, Policy(last=1), START + 9 * DAY)
    assert kept(decisions) == [found[1], found[4]]
    assert reasons(decisions, found[1]) == "it is the last good one at b"


def test_what_is_complete_nowhere_is_no_good_one_and_nobody_but_a_person_removes_it():
    damaged = [Copy(name, ("lacks objects/one",)) for name in "abc"]
    found = [*every(24, 3), backup(START + 3 * DAY, copies=damaged)]
    decisions = decided(found, Policy(last=1), START + 9 * DAY)
    assert kept(decisions) == found[2:]
    assert "no copy of it is complete" in reasons(decisions, found[3])


def test_kinds_without_a_policy_stay_whole():
    found = [backup(START + number * DAY, "redis") for number in range(5)]
    decisions = decide(found, {"media": Policy(last=1)}, Facts(START + 99 * DAY, DAY))
    assert kept(decisions) == found and "no retention for redis" in reasons(decisions, found[0])


def test_a_backup_from_the_future_stays_and_counts_for_nothing_yet():
    found = [*every(24, 2), backup(START + 900 * DAY)]
    decisions = decided(found, Policy(last=1), START + 3 * DAY)
    assert kept(decisions) == found[1:]
    assert "still to come" in reasons(decisions, found[2])


# --- locks and leftovers


def test_what_would_go_and_is_locked_stays_and_says_until_when():
    found = every(24, 3)
    now = START + 3 * DAY
    locked = {found[0].prefix: now + HOUR, found[1].prefix: now - 1}
    decisions = decided(found, Policy(last=1), now, locked=locked)
    assert kept(decisions) == [found[0], found[2]]
    assert reasons(decisions, found[0]) == "it would go, and is locked until 2026-08-04T01:00:00Z"
    locking = decided(found, Policy(last=1, locked_for=DAY), now, locked=locked)
    assert [bool(one.until) for one in locking] == [False, False, True]
    held = decided(found, Policy(last=1), now, locked={found[0].prefix: float("inf")})
    assert "until somebody lifts its legal hold" in reasons(held, found[0])


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "when it was written is not known"),
        ({"written": START + DAY}, "may be alive or be tried again until 2026-08-03T00:00:00Z"),
        ({"written": START, "hidden": True}, "find out who did that"),
        ({"written": START}, ""),
    ],
)
def test_what_was_never_finished_goes_when_no_run_can_be_at_it_any_more(facts: dict[str, object], told: str):
    one, now = unfinished(START), START + 1.5 * DAY
    written = {one.prefix: facts["written"]} if "written" in facts else {}
    hidden = {one.prefix} if facts.get("hidden") else ()
    (found,) = decided([one], Policy(), now, written=written, hidden=hidden)
    assert found.action == ("keep" if told else "remove")
    assert (told or "nothing was written to it for 1 d 12 h") in found.reasons[0]


def test_what_lost_every_manifest_that_can_be_believed_is_no_leftover():
    one = unfinished(START, f"{BAD_MANIFEST} cannot be believed (seal)")
    (found,) = decided([one], Policy(), START + 99 * DAY, written={one.prefix: START})
    assert found.action == "keep" and "cannot be believed" in found.reasons[0]


# --- chains


def chained(days: int) -> list[Backup]:
    """Bases every six hours, each taken in ten minutes, and slices of an hour."""
    bases = [base(START + n * 6 * HOUR, START + n * 6 * HOUR + 600) for n in range(days * 4)]
    return [*bases, *(slice_(START + n * HOUR, START + (n + 1) * HOUR) for n in range(days * 24))]


def replayable(found: Sequence[Backup], at: float) -> bool:
    """Whether the moment ``at`` can be brought back: a base before it, and slices without a gap from its start."""
    bases = [one.manifest.window for one in found if one.kind == "mongodb" and one.manifest]
    starts = [int(window.start.ts.split(":")[0]) for window in bases if window]
    reach = max((start for start in starts if start <= at), default=None)
    slices = sorted(
        (int(w.start.ts.split(":")[0]), int(w.end.ts.split(":")[0]))
        for one in found
        if one.kind == "oplog" and one.manifest and (w := one.manifest.window)
    )
    for start, end in slices:
        if reach is not None and start <= reach < end:
            reach = end
    return reach is not None and reach >= at


def test_every_moment_of_the_last_days_can_be_brought_back_and_older_bases_keep_their_own_slices():
    found, now = chained(9), START + 9 * DAY
    decisions = decided(found, Policy(last=1, weekly=2, within=2 * DAY), now)
    stays = kept(decisions)
    assert all(replayable(stays, now - hours * HOUR) for hours in range(48))
    old = [one for one in stays if one.finished < moment(now - 3 * DAY)]
    bases = [one for one in old if one.kind == "mongodb"]
    assert [one.finished for one in bases] == ["2026-08-01T00:10:00Z", "2026-08-03T00:10:00Z"]
    closing = chains(found)(bases[0]) | chains(found)(bases[1])
    assert {one.prefix for one in old} == {one.prefix for one in bases} | closing
    assert len(closing) == 3  # the slice that begins with a base, and the one that ends where it begins


def test_a_slice_needs_the_newest_base_before_it_and_the_slices_between_of_its_own_timeline():
    found = [
        base(START, START + 600),
        base(START + 6 * HOUR, START + 6 * HOUR + 600),
        slice_(START + 5 * HOUR, START + 7 * HOUR),
        slice_(START + 7 * HOUR, START + 8 * HOUR),
        slice_(START + 7 * HOUR, START + 8 * HOUR, "t2"),
        slice_(START + 8 * HOUR, START + 9 * HOUR),
    ]
    assert chains(found)(found[5]) == {found[1].prefix, found[2].prefix, found[3].prefix}
    assert chains(found)(found[1]) == {found[2].prefix}
    log = NamespaceRecord("local", "oplog.rs", "oplog", "", 3, 99, "0" * 16)
    manifest = replace(found[1].manifest, objects=(replace(OBJECTS[0], namespaces=(log,)),))
    assert chains(found)(replace(found[1], manifest=manifest)) == set()


def test_what_the_program_would_replay_to_any_moment_it_can_bring_back_is_what_stays():
    """The chain as the audit follows it, over what retention leaves."""
    found, now = chained(9), START + 9 * DAY
    stays = kept(decided(found, Policy(last=1, daily=3, within=2 * DAY), now))
    bases, slices = ([one.manifest for one in stays if one.kind == kind] for kind in ("mongodb", "oplog"))
    best = best_chain(bases, slices)
    assert best is not None and (best.until, best.why) == (now, "")
    for base_ in bases[-8:]:
        assert chain(base_, slices).until == now


# --- whatever the catalog

_PLACES = st.sets(st.sampled_from("abc"))
_MOMENTS = st.integers(min_value=0, max_value=24 * 40)
_POLICIES = st.builds(
    Policy,
    last=st.integers(1, 4),
    hourly=st.integers(0, 3),
    daily=st.integers(0, 4),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 2),
    yearly=st.integers(0, 1),
    within=st.sampled_from([0.0, 6 * HOUR, 5 * DAY]),
    locked_for=st.sampled_from([0.0, DAY]),
)


def _some(places: set[str]) -> list[Copy]:
    return [Copy(name, () if name in places else ("lacks objects/one",)) for name in "abc"]


@st.composite
def catalogs(draw: st.DrawFn) -> list[Backup]:
    found = {}
    for hours, places, shape in draw(st.lists(st.tuples(_MOMENTS, _PLACES, st.integers(0, 3)), max_size=40)):
        at = START + hours * HOUR
        made = {
            0: lambda: backup(at, copies=_some(places)),  # noqa: B023 - called at once
            1: lambda: base(at - 600, at, copies=_some(places)),  # noqa: B023
            2: lambda: slice_(at - 2 * HOUR, at, copies=_some(places)),  # noqa: B023
            3: lambda: unfinished(at),  # noqa: B023
        }[shape]()
        found[made.prefix] = made
    return list(found.values())


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Backup], Policy, Facts]:
    found = draw(catalogs())
    now = START + draw(_MOMENTS) * HOUR
    locked = {one.prefix: now + draw(st.integers(-5, 5)) * HOUR for one in found if draw(st.booleans())}
    written = {one.prefix: START + draw(_MOMENTS) * HOUR for one in found if one.manifest is None}
    return found, draw(_POLICIES), Facts(now, DAY, written=written, locked=locked)


def run(found: Sequence[Backup], policy: Policy, facts: Facts) -> list[Decision]:
    return decide(found, {"mongodb": policy, "oplog": policy}, facts)


@given(scenes())
def test_every_backup_has_one_decision_and_a_reason(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    decisions = run(found, policy, facts)
    assert [one.backup for one in decisions] == found
    assert all(one.reasons and all(one.reasons) for one in decisions)


@given(scenes())
def test_the_last_good_backup_of_a_kind_and_of_each_destination_stays(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    stays = kept(run(found, policy, facts))
    for kind in ("mongodb", "oplog"):
        for name in "abc":
            mine = [one for one in found if one.kind == kind and one.manifest and name in one.complete]
            past = [one for one in mine if seconds(one.finished) <= facts.now + 300]
            if past:
                last = max(past, key=lambda one: (one.finished, one.name))
                assert last in stays


@given(scenes())
def test_no_base_and_no_slice_that_is_wanted_loses_what_it_needs(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    decisions = run(found, policy, facts)
    stays = {one.prefix for one in kept(decisions)}
    needs = chains(found)
    for one in decisions:
        only_for_another = all(reason.endswith("needs it") for reason in one.reasons)
        if one.action == "keep" and (one.backup.kind == "mongodb" or not only_for_another):
            assert needs(one.backup) <= stays


@given(scenes())
def test_what_is_locked_stays(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    goes = [one.backup for one in run(found, policy, facts) if one.action == "remove"]
    assert all(facts.locked.get(one.prefix, 0) <= facts.now for one in goes if one.manifest)


@given(scenes())
def test_a_second_prune_removes_nothing(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    stays = kept(run(found, policy, facts))
    assert kept(run(stays, policy, facts)) == stays


@given(scenes(), st.integers(0, 24 * 60))
def test_what_goes_now_would_not_stay_later(scene: tuple[list[Backup], Policy, Facts], hours: int):
    found, policy, facts = scene
    now = {one.backup.prefix for one in run(found, policy, facts) if one.action == "remove"}
    later = run(found, policy, replace(facts, now=facts.now + hours * HOUR))
    assert now <= {one.backup.prefix for one in later if one.action == "remove"}


@given(scenes())
def test_who_stays_in_a_tier_is_locked_for_as_long_as_that_holds(scene: tuple[list[Backup], Policy, Facts]):
    found, policy, facts = scene
    for one in run(found, policy, facts):
        assert one.at_least <= one.until
        only_locked = any(reason.startswith("it would go, and is locked") for reason in one.reasons)
        stays = policy.locked_for and one.action == "keep" and one.backup.manifest
        assert bool(one.until) == bool(stays) or only_locked
