"""What entries of the oplog do, gathered into what is written together: the same each time of the same ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from onlyvips.core.changes import Batch, Change, Operation, Put, Remove, Write
from onlyvips.core.crud import Crud
from onlyvips.core.oplog_entry import Logged, Position
from onlyvips.core.replay import Translator, untranslatable

MOST, LARGEST = 4000, 8 << 20
"""Documents, and bytes of entries, in one batch."""
_OF_DOCUMENTS = (Put, Remove, Change)


class Filled(NamedTuple):
    """A batch, and the last entry of which all is there once it is written (None: there was none before)."""

    batch: Batch
    here: Position | None


Step = Filled | Write
"""A batch, or one command between two of them."""


@dataclass
class Batches:
    """Takes entries in order. Those up to ``after`` are passed by, for what they do is there already. What a base's
    window has, up to ``fuzzy_until``, is in batches of its own: after it nothing may be missing."""

    translator: Translator
    fuzzy_until: Position
    after: Position | None = None
    _batch: Batch = field(default_factory=Batch)
    _whole: Position | None = None
    _ready: list[Step] = field(default_factory=list)

    def take(self, entries: Iterable[Logged | Crud]) -> Sequence[Step]:
        """What these make ready to be written. Raises Untranslatable."""
        translator, self._ready = self.translator, []
        for entry in entries:
            before = translator.seen
            operations = translator.translate(entry)
            if (here := translator.seen) is not None and here is not before:
                try:
                    self._add(here, operations)
                except ValueError as error:  # a diff that cannot be applied
                    raise untranslatable(here, error) from error
        return self._ready

    def rest(self) -> Sequence[Step]:
        """What is left after the last entry."""
        self._ready = []
        self._close()
        return self._ready

    def _add(self, here: Position, operations: Sequence[Operation]) -> None:
        if self.after is not None and here <= self.after:
            return
        if here > self.fuzzy_until >= (self._whole or here):
            self._close()
        for one in operations:
            if isinstance(one, _OF_DOCUMENTS):
                self._batch.add(one)
            else:
                self._close()
                self._ready.append(one)
        self._whole = here
        commands = operations and not isinstance(operations[-1], _OF_DOCUMENTS)
        if commands or len(self._batch) >= MOST or self._batch.size >= LARGEST:
            self._close()

    def _close(self) -> None:
        self._ready.append(Filled(self._batch, self._whole))
        self._batch = Batch()
