"""A stretch of the oplog as one object of a backup: from one entry to another, both inclusive and both looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.manifest import Edge
from onlyvips.core.oplog import OBJECT, Break, Reader, boundary
from onlyvips.core.oplog_entry import Entry, Position, parse, position
from onlyvips.core.replay import Names
from onlyvips.core.replayable import Watch
from onlyvips.errors import OnlyVipsError, Transient
from onlyvips.ports import SourceOplog
from onlyvips.steps.pipe import Meter, Piece


@dataclass
class Stretch:
    """Entries ``start`` to ``end`` of ``source``. What ``lost`` makes of a break is raised when ``start`` is gone.
    ``watch`` knows afterwards what no replay of ``names`` can do."""

    source: SourceOplog
    start: Edge
    end: Edge
    lost: Callable[[Break], OnlyVipsError]
    names: Names
    check: Callable[[Reader, Watch], None] = lambda reader, watch: None
    reader: Reader = field(default_factory=lambda: Reader(fastcrc.crc64.xz))
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.names)

    def piece(self) -> Piece:
        """The object. Its reading raises, at the latest at its end, what ``check`` raises of all that was read."""
        return Piece(OBJECT, self.read, lambda: (self.reader.record,))

    def read(self, meter: Meter) -> Iterator[bytes]:
        """Raw entries, from the first one each time; the meter counts them."""
        self.reader, self.watch = reader, watch = Reader(fastcrc.crc64.xz), Watch(self.names)
        for batch in self.source.entries(position(self.start), position(self.end)):
            before = reader.tally.count
            watch.see(reader.feed(batch).entries)
            self._check_start(reader.first)
            meter.add(len(batch), reader.tally.count - before)
            yield batch
        self._check_start(reader.first)
        reader.finish()
        if reader.last is None or reader.last.edge != self.end:
            raise Transient(f"The oplog was to be read to {self.end.ts}, and that entry did not come: take it again.")
        self.check(reader, watch)

    def _check_start(self, first: Entry | None) -> None:
        if first is None or first.edge != self.start:
            oldest = parse(self.source.oldest())
            if broken := boundary(self.start, first, oldest):
                raise self.lost(broken)


def first_at(source: SourceOplog, place: Position) -> Entry | None:
    """The entry at ``place``; None where there is none."""
    batch = next(source.entries(place, place), b"")
    return parse(batch) if batch else None


def broken_at(source: SourceOplog, wanted: Edge) -> Break | None:
    """Why the log does not go on from the very entry ``wanted``; None: it does."""
    return boundary(wanted, first_at(source, position(wanted)), parse(source.oldest()))
