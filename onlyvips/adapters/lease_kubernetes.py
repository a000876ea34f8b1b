"""The right to drive one service's release: a coordination.k8s.io Lease, renewed from a thread (``ports.Lease``).

The epoch is ``leaseTransitions``, which only grows. Whether another holder lives is judged by seeing the Lease change
or not, never by comparing clocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from onlyvips.errors import Conflict, Driven, Fenced, OnlyVipsError, Transient
from onlyvips.ports import Clock, Cluster, Manifest

Heart = Callable[[float, threading.Event, Callable[[], bool]], None]
"""Calls the third argument each so many seconds until it says False or the event is set, while the caller goes on."""


def _in_a_thread(interval: float, stop: threading.Event, beat: Callable[[], bool]) -> None:
    def live() -> None:
        while not stop.wait(interval) and beat():
            pass

    threading.Thread(target=live, name="lease", daemon=True).start()


class KubernetesLease:
    """The Lease ``name``, of ``duration`` seconds; a driver silent for ``patience`` seconds is not renewed any more."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        name: str,
        duration: float,
        patience: float,
        heart: Heart = _in_a_thread,
        floor: Callable[[], int] = lambda: 0,
    ) -> None:
        """``floor``: the epoch that a Lease which is not there (any more) has to begin above."""
        self._floor = floor
        self._cluster, self._clock, self.name, self._heart = cluster, clock, name, heart
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
        seen = self._cluster.get("Lease", self.name)
        if seen is not None and _holder(seen):
            seen = self._watch(seen)
        stored = self._take(seen, holder)
        self._holder, self._epoch, self._lost = holder, int(stored["spec"]["leaseTransitions"]), ""
        self._renewed = self._lived = self._clock.monotonic()
        self._stop = threading.Event()
        stop = self._stop
        self._heart(self._duration / 3, stop, lambda: self._beat(stop))
        return self._epoch

    def _watch(self, seen: Manifest) -> Manifest | None:
        """Return once the Lease did not change for its own duration; raise Driven as soon as it does."""
        until = self._clock.monotonic() + float(seen["spec"].get("leaseDurationSeconds", self._duration))
        while self._clock.monotonic() < until:
            self._clock.sleep(min(0.5, self._duration / 10))
            now = self._cluster.get("Lease", self.name)
            if now is None or not _holder(now):
                return now
            if now["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
                raise Driven(f"{_holder(now)} drives this release and is alive: nothing was changed.")
        return seen

    def _take(self, seen: Manifest | None, holder: str) -> Manifest:
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": self._time(),
            "leaseTransitions": 1 + (int(seen["spec"].get("leaseTransitions", 0)) if seen else self._floor()),
        }
        try:
            if seen is None:
                lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}}
                return self._cluster.create({**lease, "spec": spec})
            operations = [{"op": "add", "path": "/spec", "value": spec}]
            return self._cluster.patch("Lease", self.name, seen["metadata"]["resourceVersion"], operations)
        except Conflict as error:
            raise Driven("Another run took this release's lease at the same moment: nothing was changed.") from error

    def _time(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

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
            pass  # the apiserver may be away for a moment; ``progress`` ends it when that lasts a whole duration
        return True

    def _renew(self) -> None:
        asked = self._clock.monotonic()
        lease = self._ours()
        operations = [{"op": "add", "path": "/spec/renewTime", "value": self._time()}]
        try:
            self._cluster.patch("Lease", self.name, lease["metadata"]["resourceVersion"], operations)
        except Conflict as error:
            raise Transient(f"Lease {self.name} changed while it was renewed: it is read again.") from error
        self._renewed = asked

    def _ours(self) -> Manifest:
        lease = self._cluster.get("Lease", self.name)
        epoch = int(lease["spec"].get("leaseTransitions", 0)) if lease else 0
        if lease is None or epoch != self._epoch or _holder(lease) != self._holder:
            other = _holder(lease) if lease else "nobody"
            raise Fenced(f"{other} took this release over (epoch {epoch}, ours was {self._epoch})")
        return lease

    def holder(self) -> str:
        """See ``ports.Lease``."""
        lease = self._cluster.get("Lease", self.name)
        return _holder(lease) if lease else ""

    def progress(self) -> None:
        """See ``ports.Lease``. One that is late (the API was away) is renewed here and now, or was lost."""
        self._lived = self._clock.monotonic()
        if not self._epoch or self._lost:
            why = self._lost or "it is not held"
            raise Fenced(f"This run no longer drives the release: {why}. It wrote nothing more; retry it or reconcile.")
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
                lease = self._ours()
                operations = [{"op": "add", "path": "/spec/holderIdentity", "value": ""}]
                self._cluster.patch("Lease", self.name, lease["metadata"]["resourceVersion"], operations)
            except OnlyVipsError:
                pass  # somebody else has it, or nobody answers: it runs out by itself
            finally:
                self._epoch, self._holder = 0, ""


def _holder(lease: Manifest) -> str:
    return str(lease["spec"].get("holderIdentity") or "")
