"""A base of a MongoDB database: pieces of collections, each a mongodump archive of raw BSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.manifest import Fact, NamespaceRecord, Server, object_key
from onlyvips.core.plan import BackupPlan
from onlyvips.core.replay import OURS, Names
from onlyvips.errors import Abandoned
from onlyvips.ports import Namespace, ObjectStore, Sampler, SourceDatabase, SourceOplog
from onlyvips.steps.accounts import AccountsDump
from onlyvips.steps.backup import TOOL, About, Run, Session, Taken, take
from onlyvips.steps.base_window import open_window
from onlyvips.steps.journal import Begun
from onlyvips.steps.pipe import Meter, Piece
from onlyvips.steps.split import Part, parts, state_of


def base(
    source: SourceDatabase,
    stores: Sequence[ObjectStore],
    plan: BackupPlan,
    run: Run,
    begun: Begun | None = None,
    oplog: SourceOplog | None = None,
    sampler: Sampler | None = None,
) -> Session:
    """A backup of ``plan.database``, ready to be taken. Its end raises Abandoned when collections changed meanwhile.

    It goes on with what was ``begun`` where collections, options and indexes are still those, and the same server
    answers. With an ``oplog`` its last object is the oplog of the time in which it was read; with a ``sampler`` (mostly
    the source itself) collections above ``plan.split_above`` are several objects. Users and
    roles of the database are an object too, where there are any.
    """
    names = Names(((f"{plan.database}.*", f"{plan.database}.*"),))
    window = open_window(oplog, begun, names) if oplog else None  # before anything is read
    namespaces = _namespaces(source, plan.database)
    state = state_of(source, namespaces, sampler, plan, begun)

    def about() -> About:
        if _namespaces(source, plan.database) != namespaces:
            raise Abandoned(f"Collections or indexes of {plan.database} changed while it was read: take it again.")
        server = source.server()
        found, facts = Server(server["dialect"], server["version"]), (*_facts(state.member), *accounts.facts())
        if window is None:
            return About(found, facts=facts)
        return About(found, server["oplog"], window.window, (*facts, *window.facts))

    dumps = [
        _Dump(source, one, part, expected)
        for one in namespaces
        for part, expected in _shares(parts(state.cuts.get(one.collection, ())), sampler.size(one) if sampler else 0)
    ]
    accounts = AccountsDump(source, plan.database, len(dumps) + 1)
    pieces = [*(dump.piece(number) for number, dump in enumerate(dumps, start=1)), *accounts.pieces]
    told, close = (window.state(state.text()), window.close) if window else (state.text(), None)
    return Session(pieces, about, stores, plan, run, begun=begun, state=told, close=close)


def _namespaces(source: SourceDatabase, database: str) -> list[Namespace]:
    """Without what a restore has there that is going on."""
    return [one for one in source.namespaces(database) if not one.collection.startswith(OURS)]


def _shares(found: Sequence[Part], size: int) -> Iterator[tuple[Part, int]]:
    """The parts of a collection with their bytes, about: ranges are cut to be alike, and the rest is mostly empty."""
    ranges = max(1, len(found) - 1)
    for number, part in enumerate(found):
        yield part, size // ranges if number < ranges else 0


def _facts(member: str) -> tuple[Fact, ...]:
    name = member.partition("#")[0]
    return (Fact("member", name),) if name else ()


def take_base(
    source: SourceDatabase, stores: Sequence[ObjectStore], plan: BackupPlan, run: Run, sampler: Sampler | None = None
) -> Taken:
    """Take it at once; see ``backup.take``."""
    return take(base(source, stores, plan, run, sampler=sampler))


@dataclass
class _Dump:
    source: SourceDatabase
    namespace: Namespace
    part: Part
    expected: int = 0
    tally: Tally = field(default_factory=Tally)

    def piece(self, number: int) -> Piece:
        key = object_key(number, self.namespace.database, self.namespace.collection, self.part.label)
        return Piece(key, self.frames, lambda: (self.record(),), self.expected)

    def frames(self, meter: Meter) -> Iterator[bytes]:
        """The archive, from its beginning each time; the meter counts its documents."""
        one, tally = self.namespace, Tally()
        self.tally = tally
        entry = Entry(one.database, one.collection, one.metadata, one.type)
        yield write_prelude(Prelude(self.source.server()["version"], TOOL, (entry,)))
        size = count = 0
        name, batches = (one.database, one.collection), self.source.documents(one, self.part.where)
        for frame in write_collection(name, batches, tally, fastcrc.crc64.xz):
            meter.add(tally.size - size, tally.count - count)
            size, count = tally.size, tally.count
            yield frame
            del frame

    def record(self) -> NamespaceRecord:
        """What the archive holds, once it was read."""
        return NamespaceRecord(
            database=self.namespace.database,
            collection=self.namespace.collection,
            type=self.namespace.type,
            metadata=self.namespace.metadata,
            documents=self.tally.count,
            bytes=self.tally.size,
            crc64=f"{self.tally.crc64:016x}",
        )
