"""The oplog replayed into a target: in batches, each read back, the position noted after it; a later run goes on there.

A batch that was written in part is written again, the very same one: it is full after the same entry each time, and of
each document only the outcome is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from onlyvips.core.archive import Documents
from onlyvips.core.batches import Filled, Step
from onlyvips.core.changes import Batch, Put, Remove
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, id_of
from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Permanent
from onlyvips.ports import TargetDatabase
from onlyvips.steps.marker import Marker
from onlyvips.steps.sound import Reader, Sound, read_again
from onlyvips.steps.translated import Translated, batches_of

_LARGEST = 8 << 20
"""Bytes of documents, about, that diffs are applied to before they are written."""


@dataclass
class Replay:
    """One replay. ``written`` documents were put or removed by this run. A batch is written while the next is made."""

    plan: RestorePlan
    target: TargetDatabase
    marker: Marker
    written: int = 0
    _capped: Set[str] = frozenset()
    _beside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _writing: Future[None] | None = None

    def run(self, sound: Sound, reader: Reader) -> Translator:
        """All of the plan's logs; what translated them. Raises Transient when one of them is not any more what it was
        when it was checked."""
        with self._beside:
            kept = sound.translated
            if kept is not None and kept.batches.after == self.marker.position:
                translator = self._all(kept, reader)
            else:
                translator = self._read(sound, reader)
            self._settled()
        return translator

    def _all(self, kept: Translated, reader: Reader) -> Translator:
        self._capped = kept.batches.translator.capped
        steps, size = kept.steps or deque[Step](), sum(one.record.size for one in self.plan.logs)
        told, number = 0, len(steps)
        while steps:
            self._do([steps.popleft()])
            done = size * (number - len(steps)) // number
            reader.tell("replaying", done - told)
            told = done
        return kept.batches.translator

    def _read(self, sound: Sound, reader: Reader) -> Translator:
        batches = batches_of(self.plan, self.marker.position)
        self._capped = batches.translator.capped

        def take(found: Documents) -> None:
            self._do(batches.take(found.entries))

        for source in self.plan.logs:
            read_again(source, sound.stores[source.key], reader, "replaying", take)
        self._do(batches.rest())
        return batches.translator

    def _do(self, steps: Iterable[Step]) -> None:
        """Each once the one before it is there; batches while others go on."""
        for one in steps:
            self._settled()
            if isinstance(one, Filled):
                self._writing = self._beside.submit(self._write, *one)
            else:
                self.target.apply([one])

    def _settled(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, batch: Batch, here: Position | None) -> None:
        """Write a batch, read it back, and note up to where all is there."""
        whole = False
        while not whole:
            whole = self._settle(batch)
            if whole:
                self._none_missing(batch, here)
            if writes := batch.writes():
                self.target.apply(writes)
                self._read_back(writes)
                self.written += len(writes)
            batch.known.clear()
        if here and here != self.marker.position:
            self.marker.note_position(here)

    def _settle(self, batch: Batch) -> bool:
        """Apply diffs to what is there. Whether to all; not where that is large by then, for it is written first."""
        size = 0
        for namespace, ids in batch.wanted().items():
            for found in self.target.documents(namespace, ids):
                for document in found:
                    self._settle_one(batch, namespace, document)
                    size += len(document)
                if size >= _LARGEST:
                    return False
        return True

    def _settle_one(self, batch: Batch, namespace: str, document: bytes) -> None:
        try:
            batch.settle((namespace, id_of(document)), document)
        except (ValueError, KeyError) as error:  # KeyError: its _id is equal to the server, and of other bytes
            raise Permanent(
                f"A change that the oplog tells of a document of {namespace} cannot be done ({error}): restore to a "
                "moment before it, or by another base, and keep these backups for those who look into it."
            ) from error

    def _none_missing(self, batch: Batch, here: Position | None) -> None:
        if batch.changed and here and here > self.plan.fuzzy_until:
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
            all = len(found) == len(expected) or (found and namespace in self._capped)  # that lost its oldest
            if all and expected.issuperset(found):
                continue
            wrong = max(len(expected.difference(found)), len(set(found) - expected))
            raise Permanent(
                f"{wrong} of {len(those)} documents of {namespace} read back otherwise than they were written: see "
                "that nobody else writes to the target, then run this restore again."
            )
