"""The window of the oplog that closes a base: opened before the first document is read, read once the last one was.

Replayed on what was read, it gives the state at its end (mongo-tools, ``mongodump --oplog``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import fastcrc

from onlyvips.core.archive import Corrupt
from onlyvips.core.manifest import Edge, Fact, Window
from onlyvips.core.oplog import Break, Reader
from onlyvips.core.oplog_entry import forbidden, logged, parse, position
from onlyvips.core.replay import Names
from onlyvips.core.replayable import Watch
from onlyvips.errors import Abandoned, OnlyVipsError, Permanent, Transient
from onlyvips.ports import SourceOplog
from onlyvips.steps.journal import Begun
from onlyvips.steps.pipe import Piece
from onlyvips.steps.stretch import Stretch, first_at

_STATE = re.compile(r"oplog (\d+:\d+) (-?\d+)\n(.*)", re.DOTALL)
_NEXT_ENTRY = 15.0
"""Seconds: a replica set that nobody writes to writes an entry each ten."""


@dataclass
class BaseWindow:
    """An open window; ``close`` is asked once every document was read."""

    source: SourceOplog
    start: Edge
    names: Names
    _stretch: Stretch | None = None

    def close(self) -> Piece:
        """The last object of the base: the oplog from the window's start to now.

        Reading it raises Permanent when the oplog was overrun meanwhile, and Abandoned when something is in it that no
        replay over a base can do: the base is to be taken again.
        """
        end = parse(self.source.newest()).edge
        self._stretch = Stretch(self.source, self.start, end, _lost, self.names, _check)
        return self._stretch.piece()

    @property
    def window(self) -> Window:
        """What was closed over, once it was read."""
        assert self._stretch is not None
        return self._stretch.reader.window

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What in it no replay of the database can do: updates of an old server, for anything else ends the base."""
        assert self._stretch is not None
        return self._stretch.watch.facts

    def state(self, rest: str) -> str:
        """What a retry must remember of this, before what else it must."""
        return f"oplog {self.start.ts} {self.start.term}\n{rest}"


def open_window(source: SourceOplog, begun: Begun | None, names: Names) -> BaseWindow:
    """From the oldest transaction that is open, else from the newest entry; what was ``begun`` keeps its own start,
    while the oplog still has all since then and nothing that forbids a base of ``names``."""
    last, watch = logged(source.newest()), Watch(names)
    newest = last.entry
    watch.see([last])
    if why := forbidden(newest) or watch.ends_a_base:
        raise Transient(
            f"The last entry of the oplog says that {why}, which no replay over a base can do again: wait for the next "
            "entry (a replica set writes one each ten seconds).",
            delay=_NEXT_ENTRY,
        )
    since = source.open_since()
    start = first_at(source, since) if since and since < newest.position else newest
    if start is None:
        raise Permanent(
            "A transaction is open that began before the oldest entry of the oplog: make the oplog bigger, or end that "
            "transaction, then take the base again."
        )
    kept = _STATE.fullmatch(begun.state) if begun else None
    before = Edge(kept[1], int(kept[2])) if kept else None
    if before and _good(source, before, newest.edge, names):
        return BaseWindow(source, before, names)
    return BaseWindow(source, start.edge, names)


def without_window(state: str) -> str:
    """What a retry must remember beside the window."""
    found = _STATE.fullmatch(state)
    return found[3] if found else state


def _good(source: SourceOplog, start: Edge, end: Edge, names: Names) -> bool:
    reader, watch = Reader(fastcrc.crc64.xz), Watch(names)
    try:
        for batch in source.entries(position(start), position(end)):
            watch.see(reader.feed(batch).entries)
        reader.finish()
    except Corrupt:
        return False
    return (reader.window.start, reader.window.end) == (start, end) and not _why_not(reader, watch)


def _lost(broken: Break) -> OnlyVipsError:
    if broken.name == "overflow":
        return Permanent(
            f"The oplog was overrun while the base was read ({broken.told}), so this base is none: make the oplog "
            "bigger (replSetResizeOplog), or take the base when less is written."
        )
    told = f"The oplog became another one while the base was read ({broken.told}): take the base again."
    return Abandoned(told, delay=_NEXT_ENTRY)


def _check(reader: Reader, watch: Watch) -> None:
    if why := _why_not(reader, watch):
        raise Abandoned(f"While the base was read {why}, so this base is none: take it again.", delay=_NEXT_ENTRY)


def _why_not(reader: Reader, watch: Watch) -> str:
    torn = reader.transactions.torn
    told = f"a transaction went on that began before its window ({torn.seconds}:{torn.ordinal})" if torn else ""
    return reader.why_not or told or watch.ends_a_base
