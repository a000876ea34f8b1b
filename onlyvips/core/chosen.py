"""Which base a restore of the database begins with, which slices lead on from it, and up to which entry. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from onlyvips.core.manifest import OPLOG, Edge, Manifest, moment, seconds
from onlyvips.core.oplog_chain import Chain, chain, chains
from onlyvips.core.oplog_entry import Position, position
from onlyvips.errors import Refused

LAST = (1 << 32) - 1
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_POSITION = re.compile(r"(\d{1,10}):(\d{1,10})")


@dataclass(frozen=True)
class Chosen:
    """A chain, the last entry that is wanted, and what to tell."""

    chain: Chain
    until: Position
    reached: str
    notes: tuple[str, ...] = ()


def choose(manifests: Iterable[Manifest], at: str) -> Chosen:
    """The base and the slices that lead to ``at``. Raises Refused, which says what can be had instead."""
    every = list(manifests)
    bases = sorted((one for one in every if one.kind == "mongodb"), key=lambda one: (one.finished, one.id))
    slices = [one for one in every if one.kind == OPLOG]
    if not bases:
        raise Refused("There is no base that could be restored: onlyvips backup list. Nothing was read.")
    found = chains(bases, slices)
    if at == "latest":
        return _latest(bases, found)
    if said := _POSITION.fullmatch(at):
        return _reaching(found, Position(int(said[1]), int(said[2])), at)
    if _MOMENT.fullmatch(at):
        return _reaching(found, Position(int(_seconds(at)), LAST), at)
    return _by_name(bases, at)


def _seconds(at: str) -> float:
    try:
        return seconds(at)
    except ValueError as error:
        raise Refused(f"`{at}` is no moment: {error}.") from error


def _latest(bases: Sequence[Manifest], found: Sequence[Chain]) -> Chosen:
    if not found:
        return _alone(bases[-1])
    best = max(found, key=lambda one: (one.until, position(one.end), one.base.finished))
    notes = (f"{best.why}: what came later cannot be replayed",) if best.why else ()
    return Chosen(best, position(best.end), moment(best.until), notes)


def _alone(base: Manifest) -> Chosen:
    if base.window is not None:
        only = chain(base, [])
        return Chosen(only, position(only.end), moment(float(position(only.end).seconds)))
    note = "this base has no oplog: its collections are not of one moment"
    end = Position(int(seconds(base.finished)), 0)
    only = Chain(base, (), Edge(f"{end.seconds}:0", -1), "", None)
    return Chosen(only, end, f"between {base.started} and {base.finished}", (note,))


def _by_name(bases: Sequence[Manifest], at: str) -> Chosen:
    found = [one for one in bases if f"{one.id}-e{one.epoch}".startswith(at) and at]
    if len(found) != 1:
        what = "more than one base" if found else "neither `latest`, nor a moment like 2026-08-01T12:00:00Z, nor a base"
        raise Refused(f"`{at}` is {what}: the newest base is {bases[-1].id}-e{bases[-1].epoch}. Nothing was read.")
    return _alone(found[0])


def _reaching(found: Sequence[Chain], wanted: Position, at: str) -> Chosen:
    """The newest base that was whole before ``wanted`` and from which slices lead there."""
    if not found:
        raise Refused(f"{at} cannot be had, for no base was closed by an oplog: restore one by its name, or latest.")
    before = [one for one in found if position(_end(one)) <= wanted]
    if not before:
        first = min(found, key=lambda one: position(_end(one)))
        raise Refused(
            f"{at} is before the first base was whole: the earliest moment that can be had is "
            f"{moment(float(position(_end(first)).seconds))} ({_end(first).ts}), by the base {first.base.id}. Nothing "
            "was read."
        )
    for one in reversed(before):
        if position(one.end) >= wanted or one.until >= wanted.seconds:
            return _up_to(one, wanted)
    best = max(before, key=lambda one: (one.until, position(one.end)))
    why = f" ({best.why})" if best.why else ""
    raise Refused(
        f"{at} cannot be had: what there is leads to {moment(best.until)} ({best.end.ts}){why}, which is had by --at "
        f"{best.end.ts}. What came later is lost, unless a slice can still be taken: onlyvips backup run --kind oplog."
    )


def _up_to(one: Chain, wanted: Position) -> Chosen:
    end = min(wanted, position(one.end))
    told = moment(float(wanted.seconds)) if wanted.ordinal == LAST else f"{wanted.seconds}:{wanted.ordinal}"
    notes: tuple[str, ...] = ()
    if one.settled < wanted.seconds and position(one.end) < wanted:
        notes = (f"entries of the same second after {one.end.ts} are in no slice: they do not come back",)
    return Chosen(one, end, told, notes)


def _end(one: Chain) -> Edge:
    assert one.base.window is not None
    return one.base.window.end


# --- what is newer, and not whole ------------------------------------------------------------------------------------


def newer(chosen: Chosen, whole: Iterable[Manifest], every: Iterable[Manifest]) -> Chosen:
    """The ``latest`` of the ``whole`` ones, with a note where ``every`` one there is, whole or not, leads further."""
    try:
        other = choose(every, "latest")
    except Refused:
        return chosen
    if position(other.chain.end) <= position(chosen.chain.end):
        return chosen
    base, good = other.chain.base, {one.prefix for one in whole}
    found = [f"{one.id}-e{one.epoch}" for one in (base, *other.chain.slices) if one.prefix not in good]
    few = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
    asked = other.chain.end.ts if base.window else found[0]
    note = (
        f"no copy of {few} is complete, which would lead to {other.reached}: where each object is still there in some "
        f"copy, --at {asked} gets it"
    )
    return replace(chosen, notes=(*chosen.notes, note))
