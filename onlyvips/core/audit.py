"""3-2-1-1-0 by evidence: what the catalog shows against what the environment asks for, finding by finding. Pure.

A copy counts when it is complete and all of it was read back, and found good, not longer ago than the environment
allows. It is immutable when its objects were seen locked. Media and sites are what the environment declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips.core.catalog import BAD_MANIFEST, Backup, Copy, by_kind, newest
from onlyvips.core.manifest import OPLOG, WARNING, Manifest, moment, seconds
from onlyvips.core.oplog import Broken
from onlyvips.core.oplog_chain import Chain, best_chain
from onlyvips.core.oplog_entry import position

Severity = Literal["fault", "warning", "note"]
LATE = 1.5
"""A backup, or a drill, is overdue at this many times the time between two."""
CLOCKS_APART = 300.0
"""Seconds that a clock may be ahead of ours."""


@dataclass(frozen=True)
class Place:
    """A destination as the environment declares it."""

    name: str
    medium: str
    offsite: bool
    immutable: bool


@dataclass(frozen=True)
class AuditPlan:
    """What is asked for. ``every``: seconds between two backups of a kind, 0 where none is said; ``rpo``: seconds that
    may be lost of the database; ``verified_within``: seconds for which a read-back counts; ``oplog_limit``: seconds
    that slices of the oplog may end before now."""

    environment: str
    every: Mapping[str, float]
    places: tuple[Place, ...]
    copies: int
    media: int
    offsite: int
    immutable: int
    rpo: float
    verified_within: float
    oplog_limit: float = 0.0

    @property
    def immutable_places(self) -> list[str]:
        """Destinations whose copies are to be locked."""
        return [place.name for place in self.places if place.immutable]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing: where, what, and what to do."""

    severity: Severity
    kind: str
    what: str
    todo: str


@dataclass(frozen=True)
class Standing:
    """How one kind stands: its newest good backup, the copies that count, and the moment it brings back ("" for none;
    of the database and its oplog, by the base and the slices that lead furthest)."""

    kind: str
    newest: str
    newest_size: int
    started: str
    finished: str
    recoverable: str
    copies: tuple[str, ...]
    media: tuple[str, ...]
    offsite: tuple[str, ...]
    immutable: tuple[str, ...]
    backups: int
    size: int


@dataclass(frozen=True)
class Report:
    """An audit: it holds when no finding is a fault."""

    environment: str
    at: str
    standings: tuple[Standing, ...]
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        return not any(finding.severity == "fault" for finding in self.findings)


Locks = Mapping[tuple[str, str], float]
"""(backup's prefix, destination) → until when its objects were seen to be locked, unix seconds, the first to end."""


def audit(
    backups: Sequence[Backup],
    away: Mapping[str, str],
    plan: AuditPlan,
    now: float,
    locks: Locks | None = None,
    breaks: Sequence[Broken] = (),
) -> Report:
    """The report at ``now``, unix seconds. ``away``: destinations that could not be read, with the reason; ``locks``
    of the newest backups' copies, where somebody looked; ``breaks``: where a timeline of the oplog was found broken."""
    kinds = by_kind(backups)
    bases = whole(kinds.get("mongodb", []))
    best = best_chain(bases, whole(kinds.get(OPLOG, [])))
    standings = [_standing(kind, kinds.get(kind, []), plan, now, locks or {}, best) for kind in plan.every]
    findings = [
        Finding("fault", "", f"{name} could not be read: {why}", "its copies count for nothing until it answers")
        for name, why in away.items()
    ]
    for standing in standings:
        findings += _of_standing(standing, plan, now, "mongodb" if best and best.stopped else OPLOG)
        findings += _of_facts(newest(kinds.get(standing.kind, []), standing.kind))
    if OPLOG in plan.every:
        findings += _of_timelines(bases, best, breaks, plan)
    for kind, found in kinds.items():
        for one in found:
            findings += _of_backup(one, kind, plan, now)
    return Report(plan.environment, moment(now), tuple(standings), tuple(findings))


def counts(copy: Copy, plan: AuditPlan, now: float) -> bool:
    """Whether the copy is complete, and was read back whole not too long ago."""
    return copy.complete and bool(copy.verified) and now - seconds(copy.verified) <= plan.verified_within


def whole(backups: Sequence[Backup]) -> list[Manifest]:
    """Manifests of those of which a complete copy is known."""
    return [one.manifest for one in backups if one.manifest and one.complete]


def _standing(
    kind: str, found: Sequence[Backup], plan: AuditPlan, now: float, locks: Locks, best: Chain | None
) -> Standing:
    last = newest(found, kind)
    locked = {name for (prefix, name), until in locks.items() if last and prefix == last.prefix and until > now}
    good = {copy.destination for copy in last.copies if counts(copy, plan, now)} if last else set()
    places = [place for place in plan.places if place.name in good]
    return Standing(
        kind=kind,
        newest=last.name if last else "",
        newest_size=last.manifest.size if last and last.manifest else 0,
        started=last.manifest.started if last and last.manifest else "",
        finished=last.finished if last else "",
        recoverable=_recoverable(kind, last, best),
        copies=tuple(place.name for place in places),
        media=tuple(sorted({place.medium for place in places})),
        offsite=tuple(place.name for place in places if place.offsite),
        immutable=tuple(place.name for place in places if place.name in locked),
        backups=sum(one.manifest is not None for one in found),
        size=sum(one.manifest.size for one in found if one.manifest),
    )


def _recoverable(kind: str, last: Backup | None, best: Chain | None) -> str:
    """The newest moment of which everything is there: without an oplog, that of the newest backup's start."""
    found = [best.until] if best and kind in ("mongodb", OPLOG) else []
    if last and last.manifest and kind != OPLOG and not last.manifest.window:
        found.append(seconds(last.manifest.started))
    return moment(max(found)) if found else ""


def _of_standing(one: Standing, plan: AuditPlan, now: float, leads_on: str) -> Iterator[Finding]:
    """``leads_on``: the kind of backup that leads to a newer moment of the database."""
    if not one.newest:
        yield Finding("fault", one.kind, f"there is no backup of {one.kind}", _take(one.kind, plan))
        return
    for asked, has, what in (
        (plan.copies, one.copies, "copies"),
        (plan.media, one.media, "media"),
        (plan.offsite, one.offsite, "copies off site"),
        (plan.immutable, one.immutable, "immutable copies"),
    ):
        if len(has) < asked:
            told = f"{one.newest} counts {len(has)} of the {asked} {what} asked for ({', '.join(has) or 'none'})"
            yield Finding("fault", one.kind, told, _repair(one.newest, plan))
    for name in plan.immutable_places:
        if name in one.copies and name not in one.immutable:
            told = f"the copy of {one.newest} at {name} is not locked, and the environment says that it is immutable"
            todo = (
                f"onlyvips backup prune -e {plan.environment}, which locks what stays; then see who changed the bucket"
            )
            yield Finding("fault", one.kind, told, todo)
    age, every = now - seconds(one.finished), plan.every[one.kind]
    if one.kind != OPLOG and every and age > LATE * every:
        told = f"the newest backup, {one.newest}, is {_span(age)} old; one is due every {_span(every)}"
        yield Finding("fault", one.kind, told, _take(one.kind, plan))
    if not one.recoverable:
        yield Finding(
            "fault", one.kind, "there is no base that its slices could be replayed on", _take("mongodb", plan)
        )
        return
    lost = now - seconds(one.recoverable)
    if one.kind == OPLOG and lost > plan.oplog_limit:
        told = f"slices lead to {one.recoverable}, {_span(lost)} ago; at most {_span(plan.oplog_limit)} is accepted"
        yield Finding("fault", one.kind, told, _take(leads_on, plan))
    if one.kind == "mongodb" and lost > plan.rpo:
        told = f"the newest moment that can be brought back is {one.recoverable}, {_span(lost)} ago"
        yield Finding("fault", one.kind, f"{told}; the RPO is {_span(plan.rpo)}", _take(one.kind, plan))


def _of_timelines(
    bases: Sequence[Manifest], best: Chain | None, breaks: Sequence[Broken], plan: AuditPlan
) -> Iterator[Finding]:
    """A break counts until something leads further than it: a newer base, or the slices after all."""
    places = [position(base.window.start) for base in bases if base.window]
    if best and best.tip:
        places.append(position(best.tip[1]))
    for broken in breaks:
        if max(places, default=broken.position) <= broken.position:
            told = (
                f"the timeline {broken.timeline} is broken after {broken.wanted.ts} ({broken.name}), seen {broken.at}"
            )
            yield Finding("fault", OPLOG, told, _take("mongodb", plan))
    if best and best.stop and best.stopped:
        told = f"{best.stop.told}; of what came after {moment(best.until)} nothing can be brought back by it"
        yield Finding("fault", OPLOG, told, _take("mongodb", plan))
    elif best and best.why:
        yield Finding("fault", OPLOG, f"slices are missing: {best.why}", _take("mongodb", plan))


def _of_facts(last: Backup | None) -> Iterator[Finding]:
    """What whoever took the newest backup wants to be known."""
    for fact in last.manifest.facts if last and last.manifest else ():
        if last and fact.name == WARNING:
            yield Finding("warning", last.kind, f"{last.name}: {fact.value}", "correct it, then take another one")


def _of_backup(one: Backup, kind: str, plan: AuditPlan, now: float) -> Iterator[Finding]:
    if one.manifest is None:
        yield _unfinished(one, kind)
        return
    if seconds(one.manifest.started) - now > CLOCKS_APART:
        told = f"{one.name} says that it began at {one.manifest.started}, which is still to come"
        yield Finding("warning", kind, told, "set the clocks of the workers; ages of backups are wrong until then")
    if one.manifest.window and position(one.manifest.window.end).seconds - now > CLOCKS_APART:
        told = f"{one.name} has entries of {moment(position(one.manifest.window.end).seconds)}, which is still to come"
        yield Finding("warning", kind, told, "set the clocks of the database; the RPO cannot be told until then")
    for copy in one.copies:
        for flaw in copy.flaws:
            what = f"{one.name} is complete at {len(one.complete)} of {len(one.copies)}: {copy.destination} {flaw}"
            yield Finding("fault", kind, what, _repair(one.name, plan))


def _unfinished(one: Backup, kind: str) -> Finding:
    flaws = [(copy.destination, flaw) for copy in one.copies for flaw in copy.flaws]
    manifests = [f"{name}: {flaw}" for name, flaw in flaws if flaw.startswith(BAD_MANIFEST)]
    if manifests:
        told = f"{one.name} has no manifest that can be believed ({'; '.join(manifests)})"
        return Finding("fault", kind, told, "it is no backup any more: keep all of it, and find out who changed it")
    told = f"{one.name} was never finished, or is being written now"
    return Finding("note", kind, told, "nothing: what was left behind counts for nothing")


def _take(kind: str, plan: AuditPlan) -> str:
    return f"onlyvips backup run -e {plan.environment} --kind {kind}"


def _repair(name: str, plan: AuditPlan) -> str:
    return f"onlyvips backup repair {name} -e {plan.environment}"


def _span(seconds: float) -> str:
    """``3 min``, ``2 h 5 min``, ``4 d 1 h``: for people."""
    minutes = max(0, round(seconds / 60))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    told = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(told[:2]) or "0 min"
