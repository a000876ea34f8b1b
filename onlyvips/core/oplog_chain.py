"""Which slices of the transaction log belong to a base, without a gap, and to which moment they lead. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onlyvips.core.manifest import Edge, Manifest, Window, seconds
from onlyvips.core.oplog import QUIET_UNTIL
from onlyvips.core.oplog_entry import Position, position

Place = tuple[str, Edge]
"""A timeline, and an entry at which a slice of it begins or ends."""


@dataclass(frozen=True)
class Chain:
    """A base and the ``slices`` to replay on it, in order: all of the log from its window's start to ``end`` or, where
    there are none, to the window's own end. ``until``: unix seconds, up to which everything is there. ``why``: why it
    ends there though later slices are there, "" where there are none. ``tip`` is where the next slice begins."""

    base: Manifest
    slices: tuple[Manifest, ...]
    end: Edge
    until: float
    why: str
    tip: Place | None


def chain(base: Manifest, slices: Sequence[Manifest]) -> Chain:
    """The contiguous run that leads furthest. ``base`` has a window; ``slices`` are those of which a copy is whole.

    A slice follows another when it is of the same timeline and begins with the very entry that ends the other.
    """
    assert base.window is not None
    moving = [one for one in slices if one.window and one.window.start != one.window.end]
    run = _longest(moving, base.window.start)
    last = run[-1].window if run else None
    own = base.window.end
    end = last.end if last and position(last.end) >= position(own) else own
    tip = (run[-1].timeline, last.end) if last else None
    return Chain(base, tuple(run) if end is not own else (), end, _until(end, slices), _why(tip, moving), tip)


def best_chain(bases: Sequence[Manifest], slices: Sequence[Manifest]) -> Chain | None:
    """The one that leads to the newest moment; of equal ones that with the newest base."""
    chains = [chain(base, slices) for base in bases if base.window]
    return max(chains, key=lambda one: (one.until, position(one.end), one.base.finished), default=None)


def timeline(base: Manifest) -> str:
    """The name of the timeline that begins with a base."""
    return base.id.replace("-", ".")  # without the dash, for ``-e7`` ends a backup's name in keys


def starts(bases: Sequence[Manifest], slices: Sequence[Manifest]) -> list[Place]:
    """Where the next slice may begin, the best place first: where the longest chain ends; else, for a new timeline, at
    the window of the newest base, where that is newer than all of the chain."""
    tips = [one.tip for base in bases if base.window and (one := chain(base, slices)).tip]
    going_on = max((tip for tip in tips if tip), key=lambda tip: position(tip[1]), default=None)
    newest = max((base for base in bases if base.window), key=lambda base: (base.finished, base.id), default=None)
    places = [going_on] if going_on else []
    if newest and newest.window and not (going_on and position(newest.window.start) <= position(going_on[1])):
        places.append((timeline(newest), newest.window.start))
    return places


# --- how -------------------------------------------------------------------------------------------------------------


def _longest(moving: Sequence[Manifest], start: Edge) -> list[Manifest]:
    """The run from the slice that has ``start`` in it; of several the one that reaches furthest, then the shortest."""
    following: dict[Place, tuple[Position, Manifest]] = {}
    reached: dict[str, Position] = {}
    for one in sorted(moving, key=lambda one: position(_window(one).start), reverse=True):
        window = _window(one)
        after = following.get((one.timeline, window.end))
        reached[one.prefix] = after[0] if after else position(window.end)
        place = (one.timeline, window.start)
        if place not in following or following[place][0] < reached[one.prefix]:
            following[place] = (reached[one.prefix], one)
    holding = [one for one in moving if _holds(_window(one), start)]
    first = max(holding, key=lambda one: (reached[one.prefix], position(_window(one).start)), default=None)
    run = [first] if first else []
    while run and (after := following.get((run[-1].timeline, _window(run[-1]).end))):
        run.append(after[1])
    return run


def _holds(window: Window, edge: Edge) -> bool:
    if window.start.ts == edge.ts or window.end.ts == edge.ts:
        return edge in (window.start, window.end)
    inside = position(window.start) < position(edge) < position(window.end)
    return inside and window.start.term <= edge.term <= window.end.term


def _window(one: Manifest) -> Window:
    assert one.window is not None
    return one.window


def _until(end: Edge, slices: Sequence[Manifest]) -> float:
    quiet = [one for one in slices if one.window and one.window.start == one.window.end == end]
    told = [seconds(fact.value) for one in quiet for fact in one.facts if fact.name == QUIET_UNTIL]
    return max([float(position(end).seconds), *told])


def _why(tip: Place | None, moving: Sequence[Manifest]) -> str:
    if tip is None:
        return ""
    later = [_window(one).start for one in moving if one.timeline == tip[0]]
    beyond = min((edge for edge in later if position(edge) > position(tip[1])), key=position, default=None)
    return f"no slice begins with {tip[1].ts}; the next one begins with {beyond.ts}" if beyond else ""
