"""The oplog replayed into a target: in batches, each read back, the position noted after it; a later run goes on there.

A batch that was written in part is written again, the very same one: it is full after the same entry each time, and of
each document only the outcome is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onlyvips.core.archive import Documents
from onlyvips.core.changes import Batch, Change, Operation, Put, Remove
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, id_of
from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import TargetDatabase
from onlyvips.steps.marker import Marker
from onlyvips.steps.sound import Reader, Sound, read_object

_MOST, _LARGEST = 1000, 8 << 20
"""Documents, and bytes of entries, in one batch."""


_OF_DOCUMENTS = (Put, Remove, Change)


@dataclass
class Replay:
    """One replay. ``entries`` were looked at, ``written`` documents put or removed by this run."""

    plan: RestorePlan
    target: TargetDatabase
    marker: Marker
    translator: Translator
    written: int = 0
    _batch: Batch = field(default_factory=Batch)
    _whole: Position | None = None

    def run(self, sound: Sound, reader: Reader) -> None:
        """All of the plan's logs. Raises Transient when one of them is not any more what it was when it was checked."""
        for source in self.plan.logs:
            store = sound.stores[source.key]
            if wrong := read_object(source, store, reader, "replaying", self._take):
                raise Transient(
                    f"{store.name}: {source.key} was good when it was checked, and is not now ({wrong}): run this "
                    "restore again, it goes on where it is."
                )
        self._flush()

    def _take(self, found: Documents) -> None:
        for entry in found.entries:
            before = self.translator.seen
            operations = self.translator.translate(entry)
            here = self.translator.seen
            if here is None or here == before or (self.marker.position and here <= self.marker.position):
                continue
            if here > self.plan.fuzzy_until >= (self._whole or here):
                self._flush()  # after the window nothing may be missing
            for one in operations:
                self._do(one)
            self._whole = here
            commands = operations and not isinstance(operations[-1], _OF_DOCUMENTS)
            if commands or len(self._batch) >= _MOST or self._batch.size >= _LARGEST:
                self._flush()

    def _do(self, one: Operation) -> None:
        if not isinstance(one, _OF_DOCUMENTS):
            self._flush()
            self.target.apply([one])
            return
        self._batch.add(one)

    def _flush(self) -> None:
        """Write the batch, read it back, and note up to where all is there."""
        batch, self._batch = self._batch, Batch()
        self._settle(batch)
        if writes := batch.writes():
            self.target.apply(writes)
            self._read_back(writes)
            self.written += len(writes)
        if self._whole and self._whole != self.marker.position:
            self.marker.note_position(self._whole)

    def _settle(self, batch: Batch) -> None:
        for namespace, ids in batch.wanted().items():
            for found in self.target.documents(namespace, ids):
                for document in found:
                    batch.settle((namespace, id_of(document)), document)
        here = self._whole
        if batch.changed and here and here > self.plan.fuzzy_until:
            names = sorted({namespace for namespace, _ in batch.changed})
            raise Permanent(
                f"The oplog changes {len(batch.changed)} documents of {', '.join(names)} before {here.seconds}:"
                f"{here.ordinal}, and they are not there, so this state is not the one that was backed up: restore by "
                "another base, and keep these backups for those who look into it."
            )

    def _read_back(self, writes: list[Put | Remove]) -> None:
        expected = {(one.namespace, one.id): one.document if isinstance(one, Put) else None for one in writes}
        by_name: dict[str, list[bytes]] = {}
        for namespace, id in expected:
            by_name.setdefault(namespace, []).append(id)
        found = {
            (namespace, id_of(document)): document
            for namespace, ids in by_name.items()
            for batch in self.target.documents(namespace, ids)
            for document in batch
        }
        if wrong := [key for key, document in expected.items() if found.get(key) != document]:
            raise Permanent(
                f"{len(wrong)} of {len(expected)} documents read back otherwise than they were written (the first is "
                f"of {wrong[0][0]}): see that nobody else writes to the target, then run this restore again."
            )
