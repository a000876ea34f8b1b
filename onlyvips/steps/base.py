"""A base of a MongoDB database: one piece a collection, each a mongodump archive of raw BSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.manifest import NamespaceRecord, Server, object_key
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Transient
from onlyvips.ports import Namespace, ObjectStore, SourceDatabase, SourceOplog
from onlyvips.steps.backup import TOOL, About, Run, Session, Taken, take
from onlyvips.steps.base_window import open_window
from onlyvips.steps.journal import Begun
from onlyvips.steps.pipe import Meter, Piece


def base(
    source: SourceDatabase,
    stores: Sequence[ObjectStore],
    plan: BackupPlan,
    run: Run,
    begun: Begun | None = None,
    oplog: SourceOplog | None = None,
) -> Session:
    """A backup of ``plan.database``, ready to be taken. Its end raises Transient when collections changed meanwhile.

    It goes on with what was ``begun`` where collections, options and indexes are still those. With an ``oplog`` its
    last object is the oplog of the time in which it was read.
    """
    window = open_window(oplog, begun) if oplog else None  # before anything is read
    namespaces = source.namespaces(plan.database)

    def about() -> About:
        if source.namespaces(plan.database) != namespaces:
            raise Transient(f"Collections or indexes of {plan.database} changed while it was read: take it again.")
        server = source.server()
        found = Server(server["dialect"], server["version"])
        return About(found, server["oplog"], window.window) if window else About(found)

    dumps = [_Dump(source, namespace) for namespace in namespaces]
    pieces = [dump.piece(number) for number, dump in enumerate(dumps, start=1)]
    state = hashlib.sha256(repr(namespaces).encode()).hexdigest()
    state, close = (window.state(state), window.close) if window else (state, None)
    return Session(pieces, about, stores, plan, run, begun=begun, state=state, close=close)


def take_base(source: SourceDatabase, stores: Sequence[ObjectStore], plan: BackupPlan, run: Run) -> Taken:
    """Take it at once; see ``backup.take``."""
    return take(base(source, stores, plan, run))


@dataclass
class _Dump:
    source: SourceDatabase
    namespace: Namespace
    tally: Tally = field(default_factory=Tally)

    def piece(self, number: int) -> Piece:
        key = object_key(number, self.namespace.database, self.namespace.collection)
        return Piece(key, self.frames, lambda: (self.record(),))

    def frames(self, meter: Meter) -> Iterator[bytes]:
        """The archive, from its beginning each time; the meter counts its documents."""
        one, tally = self.namespace, Tally()
        self.tally = tally
        entry = Entry(one.database, one.collection, one.metadata, one.type)
        yield write_prelude(Prelude(self.source.server()["version"], TOOL, (entry,)))
        size = count = 0
        name, batches = (one.database, one.collection), self.source.documents(one)
        for frame in write_collection(name, batches, tally, fastcrc.crc64.xz):
            meter.add(tally.size - size, tally.count - count)
            size, count = tally.size, tally.count
            yield frame

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
