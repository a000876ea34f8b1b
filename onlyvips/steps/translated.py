"""What the entries of a log do: gathered when the log is checked, and kept for the replay where it is little."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from onlyvips.core.archive import Documents
from onlyvips.core.batches import Batches, Filled, Step
from onlyvips.core.capped import options_of
from onlyvips.core.oplog_entry import Position
from onlyvips.core.replay import Translator, indexes_of
from onlyvips.core.restore import NOWHERE, VIEW, RestorePlan

_OVERHEAD = 400
"""Bytes that a document takes in a batch beside its own."""


def batches_of(plan: RestorePlan, after: Position | None) -> Batches:
    """Those of all that comes ``after``; they begin with the indexes of the base."""
    coming = [one for one in plan.coming if one.record.type != VIEW]
    indexes = {one.target: indexes_of(one.record.metadata) for one in coming}
    capped = {one.target for one in coming if options_of(one.record).get("capped")}
    translator = Translator(plan.names, plan.start, plan.until or NOWHERE, indexes, capped)
    return Batches(translator, plan.fuzzy_until, after)


@dataclass
class Translated:
    """Everything that is to be written, in order; ``steps`` is None once that takes more than ``room`` bytes."""

    batches: Batches
    room: int
    steps: deque[Step] | None = field(default_factory=deque)

    def take(self, found: Documents) -> None:
        """The next entries. Raises Untranslatable."""
        self._keep(self.batches.take(found.entries))

    def end(self) -> None:
        """There are no more."""
        self._keep(self.batches.rest())

    def _keep(self, ready: Sequence[Step]) -> None:
        if self.steps is None or not ready:
            return
        self.steps.extend(ready)
        filled = [one.batch for one in ready if isinstance(one, Filled)]
        self.room -= sum(_OVERHEAD * len(one) + one.size for one in filled)
        if self.room < 0:
            self.steps = None
