"""A slice of the oplog: from the very entry that ended the slice before it, to the newest one. One object, one backup.

Where the log does not go on from there the timeline is broken: that is kept as evidence, and a new base is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onlyvips.core.manifest import Edge, Fact, Manifest, Server, moment
from onlyvips.core.oplog import FOLLOWS, OPEN_SINCE, QUIET_UNTIL, Break, Broken, break_key
from onlyvips.core.oplog_chain import Place, starts
from onlyvips.core.oplog_entry import parse, position
from onlyvips.core.plan import BackupPlan
from onlyvips.core.replay import Names
from onlyvips.core.restore import everything
from onlyvips.core.strict_json import to_json
from onlyvips.errors import OnlyVipsError, Permanent, Refused
from onlyvips.ports import ObjectStore, SourceOplog
from onlyvips.steps.backup import About, Run, Session, Slice
from onlyvips.steps.copies import put_once
from onlyvips.steps.stretch import Stretch, broken_at


@dataclass(frozen=True)
class Known:
    """What the catalog has: bases and slices of which a copy is whole, breaks that were told, destinations away."""

    bases: Sequence[Manifest]
    slices: Sequence[Manifest]
    breaks: Sequence[Broken] = ()
    away: Sequence[str] = ()


@dataclass
class _Next:
    """The slice that comes next."""

    source: SourceOplog
    known: Known
    stores: Sequence[ObjectStore]
    plan: BackupPlan
    run: Run
    facts: list[Fact] = field(default_factory=list)

    def place(self) -> Place:
        """Where it begins. Raises Refused without a base, and Permanent when the log does not go on from anywhere."""
        places = starts(self.known.bases, self.known.slices)
        if not places:
            raise Refused(self._no_base())
        broken: list[OnlyVipsError] = []
        for timeline, edge in places:
            found = broken_at(self.source, edge)
            if found is None:
                return timeline, edge
            broken.append(self.lost(timeline, found))
            self.facts = [Fact(FOLLOWS, f"{timeline}, broken after {edge.ts} ({found.name}: {found.told})")]
        raise broken[0]

    def lost(self, timeline: str, broken: Break) -> Permanent:
        """Keep the break as evidence, once, in every destination that takes it; the error that tells it."""
        broke = Broken(timeline, moment(self.run.clock.now()), broken.name, broken.wanted, broken.told)
        told = (
            f"The timeline {timeline} of {self.plan.environment}'s oplog is broken ({broken.name}): {broken.told}. "
            f"Nothing later can be brought back by it; take a new base at once: onlyvips backup run -e "
            f"{self.plan.environment} --kind mongodb."
        )
        if (timeline, broke.position) in {(one.timeline, one.position) for one in self.known.breaks}:
            return Permanent(told)
        key, refusals = break_key(self.plan.environment, broke, self.run.entropy(4).hex()), list[str]()
        for store in self.stores:
            try:
                put_once(store, key, to_json(broke))
            except OnlyVipsError as error:
                refusals.append(str(error))
        lacking = f" Not every destination took the evidence of it: {' '.join(refusals)}" if refusals else ""
        return Permanent(told + lacking)

    @property
    def names(self) -> Names:
        """What a restore of the newest base brings back: an entry that is about nothing of that stops none."""
        return everything(max(self.known.bases, key=lambda base: (base.finished, base.id)))

    def end(self) -> Edge:
        """The newest entry; where none came while one looked, and there is none that is not final yet, the facts say
        until when nothing was written."""
        newest = parse(self.source.newest()).edge
        seen = min(self.run.clock.now(), float(self.source.describe()["now"]))
        later = parse(self.source.newest()).edge
        if later == newest and self.source.describe()["last"] in ("newest", newest.ts):
            self.facts.append(Fact(QUIET_UNTIL, moment(seen)))
        return later

    def _no_base(self) -> str:
        away = f", as far as one can see without {', '.join(self.known.away)}" if self.known.away else ""
        return (
            f"No base of {self.plan.environment}'s database has an oplog's window{away}, so a slice could be replayed "
            f"on nothing; nothing was read. Take one: onlyvips backup run -e {self.plan.environment} --kind mongodb."
        )


def slice_session(
    source: SourceOplog, known: Known, stores: Sequence[ObjectStore], plan: BackupPlan, run: Run
) -> Session:
    """The next slice, ready to be taken. Raises Refused when there is no base, Permanent when the timeline is broken.

    An attempt that died is not gone on with: the next one begins at the same entry, or after what was published.
    """
    following = _Next(source, known, stores, plan, run)
    timeline, start = following.place()
    end = following.end()
    stretch = Stretch(source, start, end, lambda broken: following.lost(timeline, broken), following.names)

    def about() -> About:
        server, since = source.describe(), [source.open_since(), stretch.reader.transactions.oldest]
        oldest = min((one for one in since if one), default=None)
        opened = [Fact(OPEN_SINCE, f"{oldest.seconds}:{oldest.ordinal}")] if oldest else []
        told = Server(server["dialect"], server["version"])
        return About(told, "local.oplog.rs", stretch.reader.window, (*following.facts, *opened, *stretch.watch.facts))

    named = Slice(f"{position(start).name}-{position(end).name}", timeline)
    return Session([stretch.piece()], about, stores, plan, run, named=named)
