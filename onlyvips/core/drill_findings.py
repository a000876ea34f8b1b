"""What an audit finds in the drills of an environment. Pure.

Drills of ``latest`` count, as the newest one and as the last good one; one of an older moment says nothing of the
backups that came since.
"""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core.audit import CLOCKS_APART, LATE, Finding
from onlyvips.core.drills import Begun, DrillPlan, DrillRecord, Drills, span
from onlyvips.core.manifest import seconds


def findings(drills: Drills, plan: DrillPlan, now: float, kind: str = "mongodb") -> list[Finding]:
    """What is wrong with the drills of ``kind`` at ``now``, unix seconds.

    No drill of the latest moment, the last one failed or never ended, the last good one too old, a restore slower than
    the RTO, and a record after the last good one that nobody can believe are faults. One that is overdue, what was
    left on the scratch server, and the recovery point of back then are warnings: that of now the audit measures.
    """
    return list(_findings(drills, plan, now, kind)) if plan.rehearsed else [_not_rehearsed(plan, kind)]


def counting(drills: Drills, kind: str, now: float) -> list[DrillRecord]:
    """Records that count, oldest first: of the latest moment, and not from a clock that is ahead."""
    return [one for one in drills.records if one.kind == kind and one.of_latest and not _to_come(one, now)]


def last_good(drills: Drills, kind: str, now: float) -> DrillRecord | None:
    """The newest that counts and passed."""
    return next((one for one in reversed(counting(drills, kind, now)) if one.passed), None)


def _to_come(one: DrillRecord, now: float) -> bool:
    return seconds(one.ended) - now > CLOCKS_APART


def _again(plan: DrillPlan) -> str:
    return f"onlyvips drill run -e {plan.environment}"


def _not_rehearsed(plan: DrillPlan, kind: str) -> Finding:
    told = f"restores of {plan.environment} are not rehearsed: recovery.drill names no target"
    return Finding("warning", kind, told, "docs/runbooks/drill.md says how to set drills up")


def _findings(drills: Drills, plan: DrillPlan, now: float, kind: str) -> Iterator[Finding]:
    counted = counting(drills, kind, now)
    last, good = counted[-1] if counted else None, last_good(drills, kind, now)
    yield from _of_unverified(drills, good, kind)
    for one in drills.records:
        if one.kind == kind and _to_come(one, now):
            told = f"drill {one.id} says that it ended at {one.ended}, which is still to come: it does not count"
            yield Finding("warning", kind, told, "set the clocks of the workers")
    dead = _dead(drills, kind, last)
    yield from _of_remains(drills, plan, kind)
    yield from _of_unended(drills, dead, plan, kind)
    if last is None:
        if dead is None:
            yield Finding("fault", kind, _none(drills, kind), _again(plan))
            return
    elif dead is None and not last.passed:
        told = f"the last drill, {last.id}, failed: {' '.join(last.reasons).rstrip('.')}"
        yield Finding("fault", kind, told, f"correct it, then {_again(plan)}")
    if good is None:
        yield Finding("fault", kind, "no drill of the latest moment has passed yet", _again(plan))
        return
    yield from _of_age(counted[-1], good, plan, now, kind)
    yield from _of_targets(good, plan, kind)


def _none(drills: Drills, kind: str) -> str:
    older = [one.id for one in drills.records if one.kind == kind and not one.of_latest]
    if not older:
        return "no restore was rehearsed yet"
    return f"no restore of the latest moment was rehearsed yet (drill {older[-1]} was of an older one)"


def _of_unverified(drills: Drills, good: DrillRecord | None, kind: str) -> Iterator[Finding]:
    """Of what came after the last good drill nobody knows how it ended."""
    for one in drills.unverified:
        newer = good is None or one.id > good.id
        told = f"drill {one.id} is unsigned or forged, and counts for nothing ({one.why})"
        todo = "find out who wrote it; where the key changed, add the old public key to recovery.drill.public_keys"
        yield Finding("fault" if newer else "warning", kind, told, todo)


# --- what died, what is left


def _dead(drills: Drills, kind: str, last: DrillRecord | None) -> Begun | None:
    """The newest drill of the latest moment, where it began after the last one that ended, and does not run."""
    found = [one for one in drills.unended if one.kind == kind and one.of_latest and one.id != drills.running]
    return found[-1] if found and (last is None or found[-1].id > last.id) else None


def _of_unended(drills: Drills, dead: Begun | None, plan: DrillPlan, kind: str) -> Iterator[Finding]:
    for one in (one for one in drills.unended if one.kind == kind and one.id == drills.running):
        told = f"drill {one.id} runs since {one.started}, or died within the last minutes"
        yield Finding("note", kind, told, f"onlyvips drill list -e {plan.environment} says how it ended")
    if dead is not None:
        told = f"the last drill, {dead.id}, began at {dead.started}, and no record says that it ended"
        if drills.away:
            told += f" (its record may be where nobody answers: {', '.join(sorted(drills.away))})"
        yield Finding("fault", kind, told, f"it died: see why in the log of its worker, then {_again(plan)}")


def _of_remains(drills: Drills, plan: DrillPlan, kind: str) -> Iterator[Finding]:
    """What is on the scratch server still, with all that was restored, as far as records say."""
    for id, name, sure in _remains(drills, kind):
        told = f"drill {id} {'left' if sure else 'died and may have left'} a database on the scratch server"
        todo = f"drop it by hand, or {_again(plan)}, which removes it"
        yield Finding("warning", kind, f"{told}, with what it restored: {name}", todo)


def _remains(drills: Drills, kind: str) -> list[tuple[str, str, bool]]:
    """By which drill, what, and whether its record says so; but not what a later one removed: one that passed has
    removed all."""
    ours = [one for one in drills.records if one.kind == kind]
    found = {name.partition(" ")[0]: (one.id, name, True) for one in ours for name in one.left}
    for one in (one for one in drills.unended if one.kind == kind and one.id != drills.running):
        found.setdefault(one.scratch, (one.id, one.scratch, False))
    return [
        told
        for name, told in found.items()
        if not any(later.id > told[0] and (later.passed or name in later.removed) for later in ours)
    ]


# --- how old, how slow


def _of_age(last: DrillRecord, good: DrillRecord, plan: DrillPlan, now: float, kind: str) -> Iterator[Finding]:
    stale = (age := now - seconds(good.ended)) > plan.limit
    if stale:
        told = f"the last good drill, {good.id}, is {span(age)} old; at most {span(plan.limit)} is accepted"
        yield Finding("fault", kind, told, _again(plan))
    if (since := now - seconds(last.ended)) > LATE * plan.every and not (stale and last == good):
        told = f"the newest drill, {last.id}, ended {span(since)} ago; one is due every {span(plan.every)}"
        yield Finding("warning", kind, told, f"see why none was started or none ended, or {_again(plan)}")


def _of_targets(good: DrillRecord, plan: DrillPlan, kind: str) -> Iterator[Finding]:
    if good.recovery_time_ms is not None and (took := good.recovery_time_ms / 1000) > plan.rto:
        told = f"the restore of the last good drill, {good.id}, took {span(took)}; the RTO is {span(plan.rto)}"
        yield Finding("fault", kind, told, "give the restore more workers or a faster target, or change the target")
    if good.recovery_point_ms is not None and (lost := good.recovery_point_ms / 1000) > plan.rpo:
        told = f"as the last good drill, {good.id}, began, the newest moment to be had was {span(lost)} ago"
        yield Finding("warning", kind, f"{told}; the RPO is {span(plan.rpo)}", "see that slices are taken on time")
