"""A cell of a lease in memory."""

from __future__ import annotations

import threading
from dataclasses import replace

from onlyvips.errors import Conflict
from onlyvips.ports import Term


class SimCell:
    """``ports.Cell``; its versions count the writes."""

    def __init__(self) -> None:
        self._term: Term | None = None
        self._writes = 0
        self._lock = threading.Lock()

    def read(self) -> Term | None:
        return self._term

    def write(self, term: Term) -> Term:
        with self._lock:
            if term.version != (self._term.version if self._term else ""):
                raise Conflict("The cell was changed meanwhile.")
            self._writes += 1
            self._term = replace(term, version=str(self._writes))
            return self._term
