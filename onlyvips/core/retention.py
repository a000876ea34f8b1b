"""Which backups stay, which go, and why: a pure function of the catalog, the policy and what the stores say.

A backup is kept for each reason that holds of it; one without a reason goes. A tier (hourly … yearly) keeps the first
backup of each of its last periods that have one: the first one stays the first, so what was promoted once is never
demoted by a later one, and its copies can be locked for as long as it will be kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from onlyvips.core.catalog import NO_MANIFEST, Backup, by_kind
from onlyvips.core.manifest import OPLOG, Window, moment, seconds
from onlyvips.core.periods import PERIODS, Period

Action = Literal["keep", "remove"]
_AHEAD = 300.0
"""Seconds that a clock may be ahead of ours."""


@dataclass(frozen=True)
class Policy:
    """What is kept of one kind: the newest ``last``, the first of each of so many hours, days …, and whatever was
    finished less than ``within`` seconds ago. ``locked_for``: seconds for which a copy is locked once it is written."""

    last: int = 1
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: float = 0.0
    locked_for: float = 0.0


@dataclass(frozen=True)
class Facts:
    """What is known beside the catalog, by the prefix of a backup; times are unix seconds.

    ``written``: when the newest object below it was written. ``hidden``: a store still keeps an older version of its
    manifest. ``locked``: until when some object of it is locked, looked up for what would go. ``longest_run``: seconds
    after which a run that did not finish is taken for dead.
    """

    now: float
    longest_run: float
    written: Mapping[str, float] = field(default_factory=dict)
    hidden: Collection[str] = ()
    locked: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What becomes of one backup, with every reason. Where copies can be locked, one that stays and is locked for less
    than until ``at_least`` (unix seconds, 0: never mind) is to be locked until ``until``."""

    backup: Backup
    action: Action
    reasons: tuple[str, ...]
    at_least: float = 0.0
    until: float = 0.0


Needs = Callable[[Backup], Collection[str]]
"""The prefixes of the other backups without which this one brings nothing back."""


def decide(
    backups: Sequence[Backup], policies: Mapping[str, Policy], facts: Facts, needs: Needs | None = None
) -> list[Decision]:
    """One decision a backup, in their order. ``backups`` is the whole catalog, for kinds need each other.

    No destination may be away: what it has could be what keeps a backup.
    """
    kept = _Kept()
    for kind, found in by_kind(backups).items():
        _keep_of_kind(kept, kind, found, policies.get(kind), facts)
    for one in backups:
        _keep_what_is_locked(kept, one, facts)
    _keep_what_is_needed(kept, {one.prefix: one for one in backups}, needs or chains(backups))
    return [_decision(one, kept, policies, facts) for one in backups]


class _Kept:
    """Reasons to keep, by prefix, and until when that will hold (0: not known)."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = defaultdict(list)
        self.until: dict[str, float] = defaultdict(float)
        self.only_locked: set[str] = set()
        """What stays for its lock alone: that is not made longer, or it would stay for ever."""

    def add(self, one: Backup, reason: str, until: float = 0.0) -> None:
        self.reasons[one.prefix].append(reason)
        self.until[one.prefix] = max(self.until[one.prefix], until)


def _decision(one: Backup, kept: _Kept, policies: Mapping[str, Policy], facts: Facts) -> Decision:
    policy = policies.get(one.kind, Policy())
    if one.prefix not in kept.reasons:
        told = f"it is beyond {policy_told(policy)}" if one.manifest else _dead(one, facts)
        return Decision(one, "remove", (told,))
    reasons = tuple(kept.reasons[one.prefix])
    if one.manifest is None or not policy.locked_for or one.prefix in kept.only_locked:
        return Decision(one, "keep", reasons)
    tier = kept.until[one.prefix]
    at_least = max(tier, facts.now + policy.locked_for / 2)
    return Decision(one, "keep", reasons, at_least, max(tier, facts.now + policy.locked_for))


# --- by policy -------------------------------------------------------------------------------------------------------


def _keep_of_kind(kept: _Kept, kind: str, found: Sequence[Backup], policy: Policy | None, facts: Facts) -> None:
    for one in found:
        if why := _untouchable(one, kind, policy, facts):
            kept.add(one, why)
    finished = [one for one in found if one.manifest and seconds(one.finished) <= facts.now + _AHEAD]
    good = sorted((one for one in finished if one.complete), key=lambda one: (one.finished, one.name))
    if policy is None or not good:
        return
    kept.add(good[-1], f"it is the last good one of {kind}")
    for name in sorted({name for one in good for name in one.complete}):
        last = [one for one in good if name in one.complete][-1]
        if last is not good[-1]:
            kept.add(last, f"it is the last good one at {name}")
    for one in good[-policy.last :]:
        kept.add(one, f"it is one of the last {policy.last}")
    for one in good:
        if facts.now - seconds(one.finished) < policy.within:
            kept.add(one, f"it is of the last {_lasting(policy.within)}", seconds(one.finished) + policy.within)
    for period in PERIODS:
        for one, index in _firsts(good, period, getattr(policy, period.name)):
            until = period.start(index + getattr(policy, period.name))
            kept.add(one, f"it is the first of {period.label(index)} ({period.name})", until)


def _untouchable(one: Backup, kind: str, policy: Policy | None, facts: Facts) -> str:
    """Why nobody may remove it, whatever the policy says; "" where that is not so."""
    if one.manifest is None:
        return _alive(one, facts)
    if policy is None:
        return f"the environment has no retention for {kind}"
    if seconds(one.finished) > facts.now + _AHEAD:
        return f"it says that it was finished at {one.finished}, which is still to come"
    if not one.complete:
        return "no copy of it is complete: see the audit, it goes only by hand"
    return ""


def _alive(one: Backup, facts: Facts) -> str:
    """Why what has no manifest is not just left over."""
    if any(NO_MANIFEST not in copy.flaws for copy in one.copies):
        return "it has manifests that cannot be believed: see the audit, it goes only by hand"
    if one.prefix in facts.hidden:
        return "its manifest was deleted, and an older version of it is there: find out who did that"
    written = facts.written.get(one.prefix)
    if written is None:
        return "it was never finished, and when it was written is not known"
    if facts.now - written <= facts.longest_run:
        until = moment(written + facts.longest_run)
        return f"it is not finished, and its run may be alive or be tried again until {until}"
    return ""


def _dead(one: Backup, facts: Facts) -> str:
    return f"it was never finished: nothing was written to it for {_lasting(facts.now - facts.written[one.prefix])}"


def _firsts(good: Sequence[Backup], period: Period, count: int) -> Iterator[tuple[Backup, int]]:
    """The first backup of each of the last ``count`` periods; where some destination lacks that one, also the first
    that all of them have."""
    periods: dict[int, list[Backup]] = defaultdict(list)
    for one in good:
        periods[period.index(seconds(one.finished))].append(one)
    for index in sorted(periods)[-count:] if count else ():
        first = periods[index][0]
        whole = next((one for one in periods[index] if len(one.complete) == len(one.copies)), first)
        yield from ((one, index) for one in ([first] if whole is first else [first, whole]))


# --- beyond policy ---------------------------------------------------------------------------------------------------


def _keep_what_is_locked(kept: _Kept, one: Backup, facts: Facts) -> None:
    until = facts.locked.get(one.prefix, 0.0)
    if until > facts.now and one.manifest and one.prefix not in kept.reasons:
        kept.add(one, f"it would go, and is locked until {lock_told(until)}")
        kept.only_locked.add(one.prefix)


def _keep_what_is_needed(kept: _Kept, backups: Mapping[str, Backup], needs: Needs) -> None:
    """Whatever a kept one needs, and what that needs, for as long.

    A slice that stays only because another needs it is not there to go back into, so it needs nothing itself: else the
    slices of an old base would keep the base before it, and so on to the first.
    """
    asked = [one for one in backups.values() if one.manifest and one.prefix in kept.reasons]
    while asked:
        one = asked.pop()
        until = kept.until[one.prefix]
        for prefix in sorted(needs(one)):
            other = backups.get(prefix)
            if other is None or (prefix in kept.reasons and kept.until[prefix] >= until):
                continue
            kept.only_locked.discard(prefix)
            if prefix not in kept.reasons:
                kept.add(other, f"{one.name} of {one.kind} needs it")
            kept.until[prefix] = max(kept.until[prefix], until)
            if other.kind != OPLOG:
                asked.append(other)


def chains(backups: Sequence[Backup]) -> Needs:
    """What slices of the oplog and bases need of each other.

    A slice needs the newest base that began before it, and every slice of its timeline between the two. A base that
    does not hold the oplog of its window itself needs the slices that touch it, without which it is not one moment.
    """
    spans = {one.prefix: _span_of(one.manifest.window) for one in backups if one.manifest and one.manifest.window}
    good = [one for one in backups if one.prefix in spans and one.complete]
    slices = [one for one in good if one.kind == OPLOG]
    bases = sorted((one for one in good if one.kind != OPLOG), key=lambda one: spans[one.prefix])

    def needs(one: Backup) -> set[str]:
        if one.prefix not in spans:
            return set()
        start, end = spans[one.prefix]
        if one.kind != OPLOG:
            if _closes_itself(one):
                return set()
            touching = (each for each in slices if spans[each.prefix][0] <= end and start <= spans[each.prefix][1])
            return {each.prefix for each in touching if _related(one, each)}
        before = [base for base in bases if spans[base.prefix][0] <= start and _related(base, one)]
        if not before:
            return set()
        since = spans[before[-1].prefix][0]
        between = (each for each in slices if spans[each.prefix][1] >= since and spans[each.prefix][0] < start)
        return {before[-1].prefix, *(each.prefix for each in between if _timeline(each) == _timeline(one))}

    return needs


def _closes_itself(base: Backup) -> bool:
    objects = base.manifest.objects if base.manifest else ()
    return any(namespace.type == OPLOG for record in objects for namespace in record.namespaces)


def _related(base: Backup, one: Backup) -> bool:
    """Whether a slice can follow a base; one that names no timeline may be of any."""
    return _timeline(base) in ("", _timeline(one))


def _timeline(one: Backup) -> str:
    return one.manifest.timeline if one.manifest else ""


def _span_of(window: Window) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Its first and its last position in the oplog."""
    start, end = (tuple(map(int, edge.ts.split(":"))) for edge in (window.start, window.end))
    return start, end


# --- words -----------------------------------------------------------------------------------------------------------


def policy_told(policy: Policy) -> str:
    """``the last 8, 7 daily, 5 weekly``: for people."""
    tiers = [(getattr(policy, period.name), period.name) for period in PERIODS]
    within = [f"all of {_lasting(policy.within)}"] if policy.within else []
    return ", ".join([f"the last {policy.last}", *within, *(f"{count} {name}" for count, name in tiers if count)])


def lock_told(until: float) -> str:
    """When a lock ends."""
    return "somebody lifts its legal hold" if until == float("inf") else moment(until)


def _lasting(length: float) -> str:
    """``2 d 3 h``: for people."""
    days, hours, minutes = int(length // 86400), int(length // 3600 % 24), int(length // 60 % 60)
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2]) or f"{length:.0f} s"
