"""A base of a MongoDB database: one piece a collection, each a mongodump archive of raw BSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.archive import Entry, Prelude, Tally, write_collection, write_prelude
from onlyvips.core.manifest import NamespaceRecord, Server, object_key
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Transient
from onlyvips.ports import Namespace, ObjectStore, SourceDatabase
from onlyvips.steps.backup import TOOL, About, Run, Session, Taken, take
from onlyvips.steps.journal import Begun
from onlyvips.steps.pipe import Meter, Piece


def base(
    source: SourceDatabase, stores: Sequence[ObjectStore], plan: BackupPlan, run: Run, begun: Begun | None = None
) -> Session:
    """A backup of ``plan.database``, ready to be taken. Its end raises Transient when collections changed meanwhile.

    It goes on with what was ``begun`` where the collections are still those.
    """
    namespaces = source.namespaces(plan.database)

    def about() -> About:
        if source.namespaces(plan.database) != namespaces:
            raise Transient(f"Collections or indexes of {plan.database} changed while it was read: take it again.")
        server = source.server()
        return About(Server(server["dialect"], server["version"]))

    dumps = [_Dump(source, namespace) for namespace in namespaces]
    pieces = [dump.piece(number) for number, dump in enumerate(dumps, start=1)]
    fits = begun is not None and begun.keys == tuple(piece.key for piece in pieces)
    return Session(pieces, about, stores, plan, run, begun=begun if fits else None)


def take_base(source: SourceDatabase, stores: Sequence[ObjectStore], plan: BackupPlan, run: Run) -> Taken:
    """Take it at once; see ``backup.take``."""
    return take(base(source, stores, plan, run))


@dataclass(frozen=True)
class _Dump:
    source: SourceDatabase
    namespace: Namespace
    tally: Tally = field(default_factory=Tally)

    def piece(self, number: int) -> Piece:
        key = object_key(number, self.namespace.database, self.namespace.collection)
        return Piece(key, self.frames, lambda: (self.record(),))

    def frames(self, meter: Meter) -> Iterator[bytes]:
        """The archive; the meter counts its documents."""
        one, tally = self.namespace, self.tally
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
