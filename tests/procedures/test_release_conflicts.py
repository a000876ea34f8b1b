"""409 storms: somebody else writes to every object between each of our reads and its write."""

from __future__ import annotations

from typing import Any

import pytest

from onlyvips.errors import Transient
from onlyvips.ports import Manifest
from tests.procedures.test_release_kills import SHORT
from tests.procedures.theatre import GOOD, OLD, Process, Theatre

KINDS = ("ConfigMap", "HTTPRoute", "Deployment", "Service", "HorizontalPodAutoscaler")
NOTE = "example.com/counter"


class Storm:
    """A controller of somebody else's that counts in an annotation of its own, on every object of ``kinds``, just
    before a write of ours: of each so many in a row as ``rounds`` says, until ``ends`` on the clock."""

    def __init__(self, theatre: Theatre, kinds: tuple[str, ...], rounds: int, ends: float = float("inf")) -> None:
        self.theatre, self.kinds, self.rounds, self.ends = theatre, kinds, rounds, ends
        self.counted: dict[tuple[str, str], int] = {}
        self.turn = 0

    def over(self, process: Process) -> None:
        """Be there at every write of this process."""
        process.at_write = self._strike

    def _strike(self, _: int, verb: str, kind: str) -> None:
        self.turn = (self.turn + 1) % (self.rounds + 1)
        if kind not in self.kinds or not self.turn or self.theatre.clock.monotonic() > self.ends:
            return
        for each in list(self.theatre.cluster.all(kind, {})):
            self._count(kind, each["metadata"]["name"])

    def _count(self, kind: str, name: str) -> None:
        self.counted[kind, name] = self.counted.get((kind, name), 0) + 1

        def write(live: Manifest) -> None:
            notes: dict[str, Any] = live["metadata"].setdefault("annotations", {})
            notes[NOTE] = str(self.counted[kind, name])

        self.theatre.cluster.change(kind, name, write)

    def assert_kept(self) -> None:
        """What they wrote is there as they wrote it, on all that is still there."""
        for (kind, name), count in self.counted.items():
            if (live := self.theatre.cluster.see(kind, name)) is not None:
                assert live["metadata"]["annotations"][NOTE] == str(count), (kind, name)


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_release_whose_every_write_meets_conflicts_is_promoted_and_overwrites_nobody(rounds: int) -> None:
    theatre = Theatre(SHORT)
    storm, process = Storm(theatre, KINDS, rounds), theatre.process("first")
    storm.over(process)
    process.release(GOOD)
    theatre.assert_outcome("promoted")
    assert len(storm.counted) > 5 and max(storm.counted.values()) > 20
    storm.assert_kept()


def test_a_storm_on_the_shared_route_that_passes_is_waited_out() -> None:
    theatre = Theatre(SHORT)
    storm, process = Storm(theatre, ("HTTPRoute",), 1000, theatre.clock.monotonic() + 60.0), theatre.process("first")
    storm.over(process)
    process.release(GOOD)
    theatre.assert_outcome("promoted")
    storm.assert_kept()


def test_a_storm_without_end_stops_the_driver_with_nothing_written_and_the_reconciler_goes_back() -> None:
    theatre = Theatre(SHORT)
    storm, process = Storm(theatre, ("HTTPRoute",), 10**6), theatre.process("first")
    process.after_write = lambda *_: storm.over(process) if theatre.weight() == 25 else None
    with pytest.raises(Transient, match="HTTPRoute onlyvips changed, or gave no answer, 6 times in a row"):
        process.release(GOOD)
    assert theatre.weight() == 25 and theatre.stable_image() == OLD
    theatre.process("reconciler").reconcile()
    theatre.assert_outcome("rolled-back")
    storm.assert_kept()
