"""The right to do something alone: compare-and-set on one cell, renewed from a thread (``ports.Lease``).

Whether another holder lives is judged by seeing the cell change or not, never by comparing clocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from onlyvips.errors import Conflict, Driven, Fenced, OnlyVipsError, Transient
from onlyvips.ports import Cell, Clock, Term

Heart = Callable[[float, threading.Event, Callable[[], bool]], None]
"""Calls the third argument each so many seconds until it says False or the event is set, while the caller goes on."""


@dataclass(frozen=True)
class Wording:
    """How a lease speaks of what it protects: ``Ada {does} and is alive``; ``Bob took {thing} over``; …"""

    does: str
    thing: str
    lost: str


RELEASE = Wording(
    does="drives this release",
    thing="this release",
    lost="This run no longer drives the release: {why}. It wrote nothing more; retry it or reconcile.",
)


def in_a_thread(interval: float, stop: threading.Event, beat: Callable[[], bool]) -> None:
    """The heart of a real process."""

    def live() -> None:
        while not stop.wait(interval) and beat():
            pass

    threading.Thread(target=live, name="lease", daemon=True).start()


class CellLease:
    """A lease of ``duration`` seconds in ``cell``; a holder silent for ``patience`` seconds is not renewed any more."""

    def __init__(
        self,
        cell: Cell,
        clock: Clock,
        duration: float,
        patience: float,
        *,
        wording: Wording = RELEASE,
        heart: Heart = in_a_thread,
        floor: Callable[[], int] = lambda: 0,
    ) -> None:
        """``floor``: the epoch that a lease which is not there (any more) has to begin above."""
        self._cell, self._clock, self._wording, self._heart, self._floor = cell, clock, wording, heart, floor
        self._duration, self._patience = duration, patience
        self._holder, self._epoch = "", 0
        self._renewed = self._lived = 0.0
        self._lost = ""
        self._stop = threading.Event()
        self._guard = threading.Lock()

    def acquire(self, holder: str) -> int:
        """See ``ports.Lease``. May watch another holder for a whole duration before it decides."""
        if self._epoch and self._holder == holder and not self._lost:
            self.progress()
            return self._epoch
        seen = self._cell.read()
        if seen is not None and seen.holder:
            seen = self._watch(seen)
        stored = self._take(seen, holder)
        self._holder, self._epoch, self._lost = holder, stored.epoch, ""
        self._renewed = self._lived = self._clock.monotonic()
        self._stop = threading.Event()
        stop = self._stop
        self._heart(self._duration / 3, stop, lambda: self._beat(stop))
        return self._epoch

    def _watch(self, seen: Term) -> Term | None:
        """Return once the cell did not change for its own duration; raise Driven as soon as it does."""
        until = self._clock.monotonic() + (seen.duration or self._duration)
        while self._clock.monotonic() < until:
            self._clock.sleep(min(0.5, self._duration / 10))
            now = self._cell.read()
            if now is None or not now.holder:
                return now
            if now.version != seen.version:
                raise Driven(f"{now.holder} {self._wording.does} and is alive: nothing was changed.")
        return seen

    def _take(self, seen: Term | None, holder: str) -> Term:
        epoch, version = (seen.epoch, seen.version) if seen else (self._floor(), "")
        try:
            return self._cell.write(Term(holder, 1 + epoch, self._duration, self._clock.now(), version))
        except Conflict as error:
            raise Driven(
                f"Another run took the lease of {self._wording.thing} at the same moment: nothing was changed."
            ) from error

    def _beat(self, stop: threading.Event) -> bool:
        """Renew once; False when there is nothing left to renew."""
        if self._clock.monotonic() - self._lived > self._patience:
            self._lost = f"it made no progress for {self._patience:.0f} s"
            return False
        try:
            with self._guard:
                if stop.is_set():
                    return False
                self._renew()
        except Fenced as error:
            self._lost = str(error)
            return False
        except OnlyVipsError:
            pass  # the cell may be away for a moment; ``progress`` ends it when that lasts a whole duration
        return True

    def _renew(self) -> None:
        asked = self._clock.monotonic()
        try:
            self._cell.write(replace(self._ours(), renewed=self._clock.now()))
        except Conflict as error:
            raise Transient(
                f"The lease of {self._wording.thing} changed while it was renewed: it is read again."
            ) from error
        self._renewed = asked

    def _ours(self) -> Term:
        term = self._cell.read()
        if term is None or term.epoch != self._epoch or term.holder != self._holder:
            other, epoch = (term.holder or "nobody", term.epoch) if term else ("nobody", 0)
            raise Fenced(f"{other} took {self._wording.thing} over (epoch {epoch}, ours was {self._epoch})")
        return term

    def holder(self) -> str:
        """See ``ports.Lease``."""
        term = self._cell.read()
        return term.holder if term else ""

    def progress(self) -> None:
        """See ``ports.Lease``. One that is late (the cell was away) is renewed here and now, or was lost."""
        self._lived = self._clock.monotonic()
        if not self._epoch or self._lost:
            raise Fenced(self._wording.lost.format(why=self._lost or "it is not held"))
        if self._lived - self._renewed > self._duration:
            with self._guard:
                self._renew()

    def release(self) -> None:
        """See ``ports.Lease``."""
        self._stop.set()
        with self._guard:
            if not self._epoch:
                return
            try:
                self._cell.write(replace(self._ours(), holder=""))
            except OnlyVipsError:
                pass  # somebody else has it, or nobody answers: it runs out by itself
            finally:
                self._epoch, self._holder = 0, ""
