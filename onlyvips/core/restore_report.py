"""What a restore is about to do and what it did, in lines for people and in values for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from onlyvips.core.backup_report import size
from onlyvips.core.restore import RestorePlan, Source
from onlyvips.core.restore_space import unpacked
from onlyvips.core.restored import Restored, instead_of
from onlyvips.core.swap import SHADOW, final


def lines(plan: RestorePlan, how_long: str) -> Iterator[str]:
    """A plan, line by line; ``how_long`` a restore takes, in words."""
    yield f"To {plan.reached}, out of the base {plan.base.id}-e{plan.base.epoch} ({plan.base.finished})"
    if plan.logs:
        yield f"  and the oplog in {_count(len(plan.logs), 'object')}, up to {_until(plan)}"
    yield f"  to be read: {size(plan.size)}, twice; to be written: {size(unpacked(plan))} of documents of the base"
    for one in plan.coming:
        yield f"  {one.source} -> {final(one.target)}: {one.documents:,} documents in the base"
    yield f"  copies are tried in this order: {', '.join(plan.archives[0].destinations) if plan.archives else 'none'}"
    yield from _how(plan)
    yield f"  how long: {how_long}"
    for note in plan.notes:
        yield f"  note: {note}"


def _how(plan: RestorePlan) -> Iterator[str]:
    if plan.over is None:
        yield "  overwritten: nothing, the target must have none of it"
        return
    yield f"  each is restored beside what is there, as {SHADOW}…, and compared; one rename each puts it in its place"
    yield "  those renames are not one step together: stop what writes to the database before, and start it after"
    yield from _beside(plan)
    yield "  after it: every key of the cache (the database of endpoints.redis) is removed, and a new base is taken"


def _beside(plan: RestorePlan) -> Iterator[str]:
    if plan.otherwise:
        yield f"  views that are there with another definition, made anew: {', '.join(plan.otherwise)}"
    if plan.stays:
        yield f"  not in the base, so it stays unless the oplog makes it: {', '.join(plan.stays)}"
    yield "  what the oplog drops up to the moment stays where it is live: the end says which, drop it by hand"


def as_json(plan: RestorePlan, how_long: str) -> dict[str, Any]:
    """A plan in plain values."""
    return {
        "environment": plan.environment,
        "base": plan.base.prefix,
        "reached": plan.reached,
        "until": _until(plan),
        "archives": [_source(one) for one in plan.archives],
        "logs": [_source(one) for one in plan.logs],
        "namespaces": [
            {"source": one.source, "target": final(one.target), "documents": one.documents} for one in plan.coming
        ],
        "size": plan.size,
        "unpacked": unpacked(plan),
        "stays": list(plan.stays),
        "views_otherwise": list(plan.otherwise),
        "how_long": how_long,
        "notes": list(plan.notes),
    }


def done(found: Restored, live: bool = False) -> str:
    """What was done, in a few sentences; of another place than the live one, what is to be done when it goes live."""
    if found.before:
        return (
            f"Restored to {found.reached} by an earlier run already, at {found.before}: nothing was restored again, "
            "what was written since is there. Only what comes after was left to do."
        )
    told = f"Restored to {found.reached}: {found.documents:,} documents of the base read back equal"
    told += f", {found.entries:,} entries of the oplog replayed up to {found.until}" if found.until else ""
    told += f", {_count(found.indexes, 'index', 'indexes')} built, in {found.seconds:.1f} s."
    if found.resumed:
        told += " An earlier run had begun it."
    if found.doubled:
        told += f" {found.doubled:,} documents were in an archive twice; the replay settled them."
    told += instead_of(found.flaws)
    if found.remade:
        told += f" Views made anew, for they were there with another definition: {', '.join(found.remade)}."
    if found.stays:
        told += f" What the moment does not have was left there: {', '.join(found.stays)}; drop it where it must go."
    told += f" {found.accounts[:1].upper()}{found.accounts[1:]}."
    return told if live else f"{told} Flush caches, and take a new base of what goes live again."


def result(found: Restored) -> dict[str, Any]:
    """The same in plain values."""
    return asdict(found)


def _source(one: Source) -> dict[str, Any]:
    return {"key": one.key, "size": one.record.size, "destinations": list(one.destinations)}


def _until(plan: RestorePlan) -> str:
    until = plan.until
    if until is None:
        return ""
    return plan.reached if until.ordinal == (1 << 32) - 1 else f"{until.seconds}:{until.ordinal}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
