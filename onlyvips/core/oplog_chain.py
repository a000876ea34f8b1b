"""Which slices of the transaction log belong to a base, without a gap, and to which moment they lead. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from onlyvips.core.manifest import Edge, Manifest, seconds
from onlyvips.core.oplog import QUIET_UNTIL
from onlyvips.core.oplog_entry import Position, position
from onlyvips.core.replayable import Stop, first_stop, stops

Place = tuple[str, Edge]
"""A timeline, and an entry at which a slice of it begins or ends."""


@dataclass(frozen=True)
class Chain:
    """A base and the ``slices`` to replay on it, in order: all of the log from its window's start to ``end`` or, where
    there are none, to the window's own end. ``why``: why it ends there though later slices are there, "" where there
    are none. ``tip`` is where the next slice begins. ``quiet``: the last second (unix) of which it is known that after
    ``end`` nothing was written to its end, 0 where none is. ``stop``: the first entry that no replay of the whole
    database can do, just before which it ends where that is heeded."""

    base: Manifest
    slices: tuple[Manifest, ...]
    end: Edge
    why: str
    tip: Place | None
    quiet: float = 0.0
    stop: Stop | None = None

    @property
    def sound(self) -> bool:
        """Whether the whole database can be restored by it at all: its base is one moment only at its window's end."""
        return not (self.stop and self.base.window and self.stop.at <= position(self.base.window.end))

    @property
    def stopped(self) -> bool:
        """Whether it ends just before an entry that no replay can do."""
        return self.stop is not None and position(self.end) == self.stop.before

    @property
    def until(self) -> float:
        """Unix seconds, up to which everything is there: of the last one perhaps only what came before ``end``."""
        return max(self.settled, float(position(self.end).seconds))

    @property
    def settled(self) -> float:
        """The last second of which all is there, to its end."""
        return max(self.quiet, position(self.end).seconds - 1.0)


def chain(base: Manifest, slices: Sequence[Manifest], heed: bool = True) -> Chain:
    """The contiguous run that leads furthest. ``base`` has a window; ``slices`` are those of which a copy is whole.
    Unless ``heed`` is false it ends before the first entry that no replay of the whole database can do.

    A slice follows another when it is of the same timeline and begins with the very entry that ends the other.
    """
    return _Links(slices, heed).chain(base)


def best_chain(bases: Sequence[Manifest], slices: Sequence[Manifest]) -> Chain | None:
    """The one that leads to the newest moment; of equal ones that with the newest base."""
    return max(chains(bases, slices), key=lambda one: (one.until, position(one.end), one.base.finished), default=None)


def chains(bases: Sequence[Manifest], slices: Sequence[Manifest], heed: bool = True) -> list[Chain]:
    """That of each base that has a window, and that can be restored."""
    links = _Links(slices, heed)
    found = [links.chain(base) for base in bases if base.window]
    return [one for one in found if one.sound or not heed]


def timeline(base: Manifest) -> str:
    """The name of the timeline that begins with a base."""
    return base.id.replace("-", ".")  # without the dash, for ``-e7`` ends a backup's name in keys


def starts(bases: Sequence[Manifest], slices: Sequence[Manifest]) -> list[Place]:
    """Where the next slice may begin, the best place first: where the longest chain ends; else, for a new timeline, at
    the window of the newest base, where that is newer than all of the chain."""
    links = _Links(slices)
    tips = [links.chain(base).tip for base in bases if base.window]
    going_on = max((tip for tip in tips if tip), key=lambda tip: position(tip[1]), default=None)
    newest = max((base for base in bases if base.window), key=lambda base: (base.finished, base.id), default=None)
    places = [going_on] if going_on else []
    if newest and newest.window and not (going_on and position(newest.window.start) <= position(going_on[1])):
        places.append((timeline(newest), newest.window.start))
    return places


# --- how -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Link:
    """A slice with more than one entry, between two places of the log."""

    start: Position
    end: Position
    first: Edge
    last: Edge
    slice: Manifest
    stops: tuple[Stop, ...]

    def holds(self, edge: Edge, at: Position) -> bool:
        """Whether the entry is in it; a term is never older than the one before."""
        if at in (self.start, self.end):
            return edge in (self.first, self.last)
        return self.start < at < self.end and self.first.term <= edge.term <= self.last.term


class _Links:
    """Which slice follows which, found out once for any number of bases."""

    def __init__(self, slices: Sequence[Manifest], heed: bool = True) -> None:
        self._heed = heed
        self._links = sorted(_moving(slices), key=lambda link: link.start, reverse=True)
        self._following: dict[Place, _Link] = {}
        self._reached: dict[str, Position] = {}
        self._starts: dict[str, list[Position]] = defaultdict(list)
        for link in self._links:
            self._add(link)
        self._quiet: dict[Edge, float] = defaultdict(float)
        self._still: dict[Edge, Manifest] = {}
        for one in slices:
            if one.window:
                if one.window.start == one.window.end:
                    self._still[one.window.end] = one
                told = [seconds(fact.value) - 1 for fact in one.facts if fact.name == QUIET_UNTIL]
                self._quiet[one.window.end] = max([self._quiet[one.window.end], *told])

    def _add(self, link: _Link) -> None:
        """The next one towards the beginning: all that can follow it are known."""
        line = link.slice.timeline
        after = self._following.get((line, link.last))
        self._reached[link.slice.prefix] = reached = self._reached[after.slice.prefix] if after else link.end
        other = self._following.get((line, link.first))
        if other is None or self._reached[other.slice.prefix] < reached:
            self._following[line, link.first] = link
        self._starts[line].append(link.start)

    def chain(self, base: Manifest) -> Chain:
        """See ``chain``."""
        assert base.window is not None
        run, own = self._run(base.window.start), base.window.end
        last = run[-1] if run else None
        closed = last is not None and last.end >= position(own)
        end = last.last if last and closed else own
        tip = (last.slice.timeline, last.last) if last else None
        still = self._still.get(own)
        replayed = tuple(link.slice for link in run) if closed else (still,) if still else ()
        found = Chain(base, replayed, end, self._why(last), tip, self._quiet.get(end, 0.0))
        met = [*stops(base), *(stop for link in run for stop in link.stops), *(stops(still) if still else ())]
        stop = first_stop(met, position(base.window.start))
        return self._ended(found, stop) if stop else found

    def _ended(self, one: Chain, stop: Stop) -> Chain:
        """The chain up to just before an entry that no replay can do."""
        if not self._heed:
            return replace(one, stop=stop)
        slices = tuple(each for each in one.slices if each.window and position(each.window.start) < stop.at)
        end = Edge(f"{stop.before.seconds}:{stop.before.ordinal}", one.end.term)
        return replace(one, slices=slices, end=end, why=stop.told, quiet=0.0, stop=stop)

    def _run(self, start: Edge) -> list[_Link]:
        """From the slice that has ``start`` in it; of several the one that leads furthest, then the shortest."""
        at = position(start)
        holding = (link for link in self._links if link.holds(start, at))
        first = max(holding, key=lambda link: (self._reached[link.slice.prefix], link.start), default=None)
        run = [first] if first else []
        while run and (after := self._following.get((run[-1].slice.timeline, run[-1].last))):
            run.append(after)
        return run

    def _why(self, last: _Link | None) -> str:
        if last is None:
            return ""
        known = sorted(self._starts[last.slice.timeline])
        later = known[bisect_right(known, last.end) :]
        if not later:
            return ""
        return f"no slice begins with {last.last.ts}; the next one begins with {later[0].seconds}:{later[0].ordinal}"


def _moving(slices: Sequence[Manifest]) -> Iterator[_Link]:
    for one in slices:
        if one.window and one.window.start != one.window.end:
            first, last = one.window.start, one.window.end
            yield _Link(position(first), position(last), first, last, one, tuple(stops(one)))
