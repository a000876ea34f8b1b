"""The oplog replayed into a target: in batches, each read back, the position noted after it; a later run goes on there.

A batch that was written in part is written again, the very same one: it is full after the same entry each time, and of
each document only the outcome is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from onlyvips.core.archive import Documents
from onlyvips.core.changes import Batch, Change, Operation, Put, Remove
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, id_of
from onlyvips.core.restore import NOWHERE, RestorePlan
from onlyvips.errors import Permanent
from onlyvips.ports import TargetDatabase
from onlyvips.steps.marker import Marker
from onlyvips.steps.sound import Reader, Sound, read_again
from onlyvips.steps.translated import Done, translator_of

_MOST, _LARGEST = 1000, 8 << 20
"""Documents, and bytes of entries, in one batch."""


_OF_DOCUMENTS = (Put, Remove, Change)


@dataclass
class Replay:
    """One replay. ``written`` documents were put or removed by this run. A batch is written while the next is made."""

    plan: RestorePlan
    target: TargetDatabase
    marker: Marker
    written: int = 0
    _batch: Batch = field(default_factory=Batch)
    _whole: Position | None = None
    _beside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _writing: Future[None] | None = None
    _fuzzy: Position = NOWHERE

    def run(self, sound: Sound, reader: Reader) -> Translator:
        """All of the plan's logs; what translated them. Raises Transient when one of them is not any more what it was
        when it was checked."""
        self._fuzzy = self.plan.fuzzy_until
        with self._beside:
            if (kept := sound.translated) is not None:
                self._all(kept.done or (), reader)
                translator = kept.translator
            else:
                translator = self._read(sound, reader)
            self._flush()
            self._settled()
        return translator

    def _all(self, done: Sequence[Done], reader: Reader) -> None:
        for number, (here, operations) in enumerate(done):
            if number % _MOST == 0:
                reader.tell("replaying", 0)
            self._entry(here, operations)
        reader.tell("replaying", sum(one.record.size for one in self.plan.logs))

    def _read(self, sound: Sound, reader: Reader) -> Translator:
        translator = translator_of(self.plan)

        def take(found: Documents) -> None:
            for entry in found.entries:
                before = translator.seen
                operations = translator.translate(entry)
                if (here := translator.seen) is not None and here != before:
                    self._entry(here, operations)

        for source in self.plan.logs:
            read_again(source, sound.stores[source.key], reader, "replaying", take)
        return translator

    def _entry(self, here: Position, operations: Sequence[Operation]) -> None:
        if self.marker.position and here <= self.marker.position:
            return
        if here > self._fuzzy >= (self._whole or here):
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
            self._settled()
            self.target.apply([one])
            return
        self._batch.add(one)

    def _flush(self) -> None:
        """Write the batch once the one before it is there, while others go on."""
        batch, self._batch = self._batch, Batch()
        self._settled()
        self._writing = self._beside.submit(self._write, batch, self._whole)

    def _settled(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, batch: Batch, here: Position | None) -> None:
        """Write a batch, read it back, and note up to where all is there."""
        self._settle(batch, here)
        if writes := batch.writes():
            self.target.apply(writes)
            self._read_back(writes)
            self.written += len(writes)
        if here and here != self.marker.position:
            self.marker.note_position(here)

    def _settle(self, batch: Batch, here: Position | None) -> None:
        for namespace, ids in batch.wanted().items():
            for found in self.target.documents(namespace, ids):
                for document in found:
                    batch.settle((namespace, id_of(document)), document)
        if batch.changed and here and here > self._fuzzy:
            names = sorted({namespace for namespace, _ in batch.changed})
            raise Permanent(
                f"The oplog changes {len(batch.changed)} documents of {', '.join(names)} before {here.seconds}:"
                f"{here.ordinal}, and they are not there, so this state is not the one that was backed up: restore by "
                "another base, and keep these backups for those who look into it."
            )

    def _read_back(self, writes: Sequence[Put | Remove]) -> None:
        by_name: dict[str, list[Put | Remove]] = {}
        for one in writes:
            by_name.setdefault(one.namespace, []).append(one)
        for namespace, those in by_name.items():
            expected = {one.document for one in those if isinstance(one, Put)}
            found = [*chain.from_iterable(self.target.documents(namespace, [one.id for one in those]))]
            if len(found) == len(expected) and expected.issuperset(found):
                continue
            wrong = max(len(expected.difference(found)), len(set(found) - expected))
            raise Permanent(
                f"{wrong} of {len(those)} documents of {namespace} read back otherwise than they were written: see "
                "that nobody else writes to the target, then run this restore again."
            )
