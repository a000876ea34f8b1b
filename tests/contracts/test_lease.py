"""Lease's contract: the same lease in simulated cells and time, on the real apiserver and in real buckets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.adapters.lease_kubernetes import KubernetesCell
from onlyvips.adapters.lease_s3 import S3Cell
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.errors import Conflict, Fenced, Refused, Transient
from onlyvips.ports import Cell, Clock, Term
from onlyvips.steps.lease import CellLease, in_a_thread
from tests.simulators.cell import SimCell
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster

DURATION = 2.0


@dataclass
class Office:
    """Where leases of one name are given out; ``ours`` makes one as another process would."""

    cell: Callable[[], Cell]
    clock: Clock
    made: list[CellLease] = field(default_factory=list)

    def ours(self, patience: float = 60.0) -> CellLease:
        heart = self._heart if isinstance(self.clock, SimClock) else in_a_thread
        lease = CellLease(self.cell(), self.clock, DURATION, patience, heart=heart)
        self.made.append(lease)
        return lease

    def _heart(self, interval: float, stop: threading.Event, beat: Callable[[], bool]) -> None:
        assert isinstance(self.clock, SimClock)
        self.clock.every(interval, lambda: stop.is_set() or not beat())

    def changes(self, **values: Any) -> None:
        """Somebody else writes the cell."""
        cell = self.cell()
        found = cell.read()
        assert found is not None
        cell.write(replace(found, **values))

    def live_for(self, lease: CellLease, seconds: float) -> None:
        """Let time go by while the holder makes progress."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            lease.progress()
            self.clock.sleep(0.2)


def kubernetes(env: dict[str, str], name: str) -> Callable[[], Cell]:
    cluster = KubernetesCluster(Path(env["ONLYVIPS_LAB_KUBECONFIG"]), "production")
    return lambda: KubernetesCell(cluster, name)


def bucket(env: dict[str, str], name: str) -> Callable[[], Cell]:
    where = {key: env[f"ONLYVIPS_LAB_S3_A_{key.upper()}"] for key in ("access_key", "secret_key")}
    store = S3Store("s3-a", env["ONLYVIPS_LAB_S3_A_URL"], "onlyvips-leases", "", **where)
    return lambda: S3Cell(store, name)


def in_a_cluster(clock: SimClock) -> Office:
    cluster = SimCluster(clock)
    return Office(lambda: KubernetesCell(cluster, "contract"), clock)


def in_memory(clock: SimClock) -> Office:
    cell = SimCell()
    return Office(lambda: cell, clock)


SIMULATED = {"simulated cluster": in_a_cluster, "simulator": in_memory}
REAL = {"kubernetes": kubernetes, "s3-a": bucket}


@pytest.fixture(params=[*SIMULATED, *(pytest.param(name, marks=pytest.mark.lab) for name in REAL)])
def office(request: pytest.FixtureRequest) -> Iterator[Office]:
    if request.param in SIMULATED:
        yield SIMULATED[request.param](SimClock())
        return
    env = request.getfixturevalue("lab").env
    found = Office(REAL[request.param](env, f"contract-{os.urandom(4).hex()}"), SystemClock())
    yield found
    for lease in found.made:
        lease.release()


def test_of_many_who_write_one_cell_at_once_exactly_one_wins(office: Office) -> None:
    """Both to make it and to change it."""
    version = ""
    for epoch in (1, 2):
        won, start = list[Term](), threading.Barrier(32)

        def write_it(number: int, term: Term, won: list[Term] = won, start: threading.Barrier = start) -> None:
            start.wait()
            with suppress(Conflict, Transient):
                won.append(office.cell().write(replace(term, holder=f"writer {number}")))

        term = Term("", epoch, DURATION, office.clock.now(), version)
        threads = [threading.Thread(target=write_it, args=(number, term)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = won
        found = office.cell().read()
        assert found is not None
        assert (found.holder, found.epoch, found.version) == (winner.holder, epoch, winner.version)
        version = winner.version


def test_a_lease_that_nobody_ever_held_is_free(office: Office) -> None:
    lease = office.ours()
    assert lease.holder() == ""
    assert lease.acquire("Ada") == 1
    assert office.ours().holder() == "Ada"
    lease.progress()


def test_the_epoch_only_grows(office: Office) -> None:
    for epoch in (1, 2, 3):
        lease = office.ours()
        assert lease.acquire("Ada") == epoch
        lease.release()
        assert lease.holder() == ""


def test_a_lease_that_is_renewed_is_refused_to_others_by_its_holders_name(office: Office) -> None:
    first, second = office.ours(), office.ours()
    first.acquire("Ada")
    with pytest.raises(Refused, match="Ada drives this release and is alive"):
        second.acquire("Bob")
    first.progress()
    assert first.holder() == "Ada"
    with pytest.raises(Fenced):
        second.progress()


def test_a_lease_outlives_its_duration_while_its_holder_makes_progress(office: Office) -> None:
    first = office.ours(patience=2 * DURATION)
    first.acquire("Ada")
    office.live_for(first, 2.5 * DURATION)
    with pytest.raises(Refused):
        office.ours().acquire("Bob")


def test_the_same_holder_in_the_same_process_keeps_its_epoch(office: Office) -> None:
    lease = office.ours()
    assert lease.acquire("Ada") == lease.acquire("Ada") == 1


def test_a_holder_without_progress_loses_the_lease_and_is_told_so(office: Office) -> None:
    first, second = office.ours(patience=0.1), office.ours()
    first.acquire("Ada")
    office.clock.sleep(DURATION)
    assert second.acquire("Bob") == 2
    with pytest.raises(Fenced, match="no longer drives the release"):
        first.progress()
    second.progress()


def test_giving_up_what_another_one_holds_leaves_it_alone(office: Office) -> None:
    first, second = office.ours(patience=0.1), office.ours()
    first.acquire("Ada")
    office.clock.sleep(DURATION)
    second.acquire("Bob")
    first.release()
    assert second.holder() == "Bob"
    second.progress()


def test_a_lease_is_given_up_at_once_and_twice_without_harm(office: Office) -> None:
    first, second = office.ours(), office.ours()
    first.acquire("Ada")
    first.release()
    first.release()
    assert second.acquire("Bob") == 2
    with pytest.raises(Fenced, match="it is not held"):
        first.progress()


def test_the_same_name_in_another_process_waits_for_the_lease_to_run_out(office: Office) -> None:
    """A retry after a crash bears the same name and knows no epoch: it must not share one with a driver that lives."""
    first, again = office.ours(patience=0.1), office.ours()
    first.acquire("run 1")
    office.clock.sleep(DURATION)
    assert again.acquire("run 1") == 2


def test_a_lease_whose_holder_lives_elsewhere_is_fenced_when_its_epoch_is_passed(office: Office) -> None:
    first = office.ours()
    first.acquire("Ada")
    office.changes(holder="Bob", epoch=7)
    office.clock.sleep(DURATION)
    with pytest.raises(Fenced, match="Bob took this release over"):
        first.progress()


def test_a_late_lease_that_changes_while_it_is_renewed_is_read_again_before_it_is_judged() -> None:
    clock = SimClock()
    cluster = SimCluster(clock)
    lease = Office(lambda: KubernetesCell(cluster, "contract"), clock).ours()
    lease.acquire("Ada")
    cluster.apiserver_away(2 * DURATION)
    clock.sleep(2 * DURATION)
    patch = cluster.patch

    def annotated_first(kind: str, name: str, version: str, operations: Any) -> Any:
        cluster.patch = patch  # type: ignore[method-assign]
        cluster.change(kind, name, lambda live: live["metadata"].update(annotations={"somebody": "was here"}))
        return patch(kind, name, version, operations)

    cluster.patch = annotated_first  # type: ignore[method-assign]
    with pytest.raises(Transient):
        lease.progress()
    lease.progress()


def test_while_nobody_answers_a_late_lease_is_neither_held_nor_lost() -> None:
    clock = SimClock()
    cluster = SimCluster(clock)
    lease = Office(lambda: KubernetesCell(cluster, "contract"), clock).ours()
    lease.acquire("Ada")
    cluster.apiserver_away(3 * DURATION)
    clock.sleep(2 * DURATION)
    with pytest.raises(Transient):
        lease.progress()
    clock.sleep(2 * DURATION)
    lease.progress()


def test_a_lease_that_was_lost_begins_above_every_epoch_that_objects_carry() -> None:
    """Else its new holder would find itself fenced by its own past."""
    clock = SimClock()
    lease = CellLease(SimCell(), clock, 15, 60, heart=lambda *_: None, floor=lambda: 41)
    assert lease.acquire("run 1") == 42


def test_a_later_epoch_fences_also_a_holder_of_the_same_name(office: Office) -> None:
    """A retry bears the name of the attempt that it replaces, when nobody counted that one."""
    first = office.ours()
    first.acquire("run 1")
    office.changes(epoch=2)
    office.clock.sleep(DURATION)
    with pytest.raises(Fenced, match=r"run 1 took this release over \(epoch 2, ours was 1\)"):
        first.progress()
