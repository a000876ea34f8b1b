"""What the entries of a log do: translated when the log is checked, and kept for the replay where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from onlyvips.core.archive import Documents
from onlyvips.core.changes import Change, Operation, Put
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, indexes_of
from onlyvips.core.restore import NOWHERE, VIEW, RestorePlan

_OVERHEAD = 400
"""Bytes that an operation takes beside its document."""
Done = tuple[Position, Sequence[Operation]]
"""Where an entry is, and what it does."""


def translator_of(plan: RestorePlan) -> Translator:
    """One that begins with the indexes of the base."""
    coming = [one for one in plan.coming if one.record.type != VIEW]
    indexes = {one.target: indexes_of(one.record.metadata) for one in coming}
    return Translator(plan.names, plan.start, plan.until or NOWHERE, indexes)


@dataclass
class Translated:
    """Every entry that is to be replayed, in order; ``done`` is None once they take more than ``room`` bytes."""

    translator: Translator
    room: int
    done: list[Done] | None = field(default_factory=list)

    def take(self, found: Documents) -> None:
        """The next entries. Raises Untranslatable."""
        for entry in found.entries:
            before = self.translator.seen
            operations = self.translator.translate(entry)
            if self.done is None or (here := self.translator.seen) is None or here == before:
                continue
            self.done.append((here, operations))
            self.room -= _OVERHEAD + sum(map(_size, operations))
            if self.room < 0:
                self.done = None


def _size(operation: Operation) -> int:
    if isinstance(operation, Put):
        return len(operation.document)
    return len(operation.diff) if isinstance(operation, Change) else 0
