"""Which base a restore of the database begins with, which slices lead on from it, and up to which entry. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from onlyvips.core.manifest import OPLOG, Edge, Manifest, moment, seconds
from onlyvips.core.oplog_chain import Chain, chain, chains
from onlyvips.core.oplog_entry import Position, position
from onlyvips.core.replayable import LAST
from onlyvips.errors import Refused

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_POSITION = re.compile(r"(\d{1,10}):(\d{1,10})")


@dataclass(frozen=True)
class Chosen:
    """A chain, the last entry that is wanted, and what to tell."""

    chain: Chain
    until: Position
    reached: str
    notes: tuple[str, ...] = ()


def choose(manifests: Iterable[Manifest], at: str, all_of_it: bool = True, sliced: bool = False) -> Chosen:
    """The base and the slices that lead to ``at``. Raises Refused, which says what can be had instead. Of ``all_of_it``
    an entry that no replay of the whole database can do is the end; of some collections it is told alone. Where
    ``sliced``, a base that has slices comes before one that has none."""
    every = list(manifests)
    bases = sorted((one for one in every if one.kind == "mongodb"), key=lambda one: (one.finished, one.id))
    slices = [one for one in every if one.kind == OPLOG]
    if not bases:
        raise Refused(
            "There is no base that could be restored: see `onlyvips backup list -e ENVIRONMENT`. Nothing was read."
        )
    found = chains(bases, slices, heed=all_of_it)
    if sliced and (long := [one for one in found if one.slices]):
        with suppress(Refused):
            return _among(bases, slices, long, at, all_of_it)
    return _among(bases, slices, found, at, all_of_it)


def _among(
    bases: Sequence[Manifest], slices: Sequence[Manifest], found: Sequence[Chain], at: str, all_of_it: bool
) -> Chosen:
    if at == "latest":
        return _latest(found) if found else _alone(bases[-1], slices, all_of_it)
    if said := _POSITION.fullmatch(at):
        return _reaching(found, Position(int(said[1]), int(said[2])), at)
    if _MOMENT.fullmatch(at):
        return _reaching(found, Position(int(_seconds(at)), LAST), at)
    return _alone(_named(bases, at), slices, all_of_it)


def _seconds(at: str) -> float:
    try:
        return seconds(at)
    except ValueError as error:
        raise Refused(f"`{at}` is no moment: {error}.") from error


def _latest(found: Sequence[Chain]) -> Chosen:
    best = max(found, key=lambda one: (one.until, position(one.end), one.base.finished))
    notes = (f"{best.why}: what came later cannot be replayed",) if best.why else ()
    return _passing(Chosen(best, position(best.end), moment(best.until), notes))


def _alone(base: Manifest, slices: Sequence[Manifest], heed: bool) -> Chosen:
    if base.window is not None:
        if heed and not (found := chain(base, slices)).sound:
            raise Refused(
                f"The base {base.id}-e{base.epoch} cannot be restored whole: it is one moment only at the end of its "
                f"window, and {found.why}. Nothing was read. Ask for another base or moment by --at; MongoDB's own "
                "tools may do it (docs/runbooks/restore.md, without our code)."
            )
        only = chain(base, [], heed)
        return _passing(Chosen(only, position(only.end), moment(float(position(only.end).seconds))))
    note = "this base has no oplog: its collections are not of one moment"
    end = Position(int(seconds(base.finished)), 0)
    only = Chain(base, (), Edge(f"{end.seconds}:0", -1), "", None)
    return Chosen(only, end, f"between {base.started} and {base.finished}", (note,))


def _named(bases: Sequence[Manifest], at: str) -> Manifest:
    found = [one for one in bases if f"{one.id}-e{one.epoch}".startswith(at) and at]
    if len(found) != 1:
        what = "more than one base" if found else "neither `latest`, nor a moment like 2026-08-01T12:00:00Z, nor a base"
        raise Refused(f"`{at}` is {what}: the newest base is {bases[-1].id}-e{bases[-1].epoch}. Nothing was read.")
    return found[0]


def _reaching(found: Sequence[Chain], wanted: Position, at: str) -> Chosen:
    """The newest base that was whole before ``wanted`` and from which slices lead there."""
    if not found:
        raise Refused(
            f"{at} cannot be had, for no base has an oplog that can be replayed: restore one by its name, or latest."
        )
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
            return _passing(_up_to(one, wanted))
    raise Refused(_too_late(found, before, wanted, at))


def _too_late(found: Sequence[Chain], before: Sequence[Chain], wanted: Position, at: str) -> str:
    best = max(before, key=lambda one: (one.until, position(one.end)))
    why, by = f" ({best.why})" if best.why else "", _at(best)
    told = f"{at} cannot be had: what there is leads to {moment(best.until)} ({by}){why}, which is had by --at {by}."
    take = f"onlyvips backup run -e {best.base.environment} --kind"
    if not best.stopped:
        return f"{told} What came later is lost, unless a slice can still be taken: {take} oplog."
    later = [_end(one) for one in found if position(_end(one)) > wanted]
    if later:
        told += f" The next moment after it is that of {min(later, key=position).ts}, by a newer base."
    return (
        f"{told} Collections that this is not about can be had alone, by --namespace; where the source still lives, "
        f"take a base now: {take} mongodb."
    )


def _at(one: Chain) -> str:
    """How the end of a chain is asked for."""
    end = position(one.end)
    return moment(float(end.seconds)) if end.ordinal == LAST else one.end.ts


def _passing(one: Chosen) -> Chosen:
    """With a note where entries are passed by that no replay of the whole database can do."""
    stop = one.chain.stop
    if stop is None or stop.at > one.until:
        return one
    note = f"{stop.told}; collections that it is not about go past it, which is seen before anything is written"
    return replace(one, notes=(*one.notes, note))


def _up_to(one: Chain, wanted: Position) -> Chosen:
    end = min(wanted, position(one.end))
    told = moment(float(wanted.seconds)) if wanted.ordinal == LAST else f"{wanted.seconds}:{wanted.ordinal}"
    notes: tuple[str, ...] = ()
    if one.settled < wanted.seconds and position(one.end) < wanted:
        notes = (_missing(one),)
    return Chosen(one, end, told, notes)


def _missing(one: Chain) -> str:
    if one.stop and one.stopped:
        return f"{one.stop.told}: it and what came later in that second do not come back"
    return f"entries of the same second after {one.end.ts} are in no slice: they do not come back"


def _end(one: Chain) -> Edge:
    assert one.base.window is not None
    return one.base.window.end


# --- what is newer, and not whole ------------------------------------------------------------------------------------


def newer(
    chosen: Chosen, whole: Iterable[Manifest], every: Iterable[Manifest], all_of_it: bool, sliced: bool = False
) -> Chosen:
    """The ``latest`` of the ``whole`` ones, with a note where ``every`` one there is, whole or not, leads further."""
    try:
        other = choose(every, "latest", all_of_it, sliced)
    except Refused:
        return chosen
    if position(other.chain.end) <= position(chosen.chain.end):
        return chosen
    base, good = other.chain.base, {one.prefix for one in whole}
    found = [f"{one.id}-e{one.epoch}" for one in (base, *other.chain.slices) if one.prefix not in good]
    few = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
    asked = _at(other.chain) if base.window else found[0]
    note = (
        f"no copy of {few} is complete, which would lead to {other.reached}: where each object is still there in some "
        f"copy, --at {asked} gets it"
    )
    return replace(chosen, notes=(*chosen.notes, note))
