"""``kill -9`` of the driver at each step of each strategy, under traffic on real servers; then the run is tried again,
or nobody comes but the reconciler. It always ends, nothing is lost, nobody is sent to pods that are not ready.

Services of every strategy are killed side by side, each in a thread of its own: a test tells what came of its kill.
``make test`` draws twelve (``ONLYVIPS_KILLS_SEED``), ``make soak`` has all.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest

from onlyvips.core.record import Record
from tests.system.boundaries import OF_BACKEND, Kill, every, sample
from tests.system.forking import DRIVER, Forks
from tests.system.grounds import NAME, SERVICES, Grounds, Service, asked, other
from tests.system.platform import Platform

pytestmark = [pytest.mark.lab, pytest.mark.timeout(7200)]

SEED = int(os.environ.get("ONLYVIPS_KILLS_SEED", "17"))
ALL, SOME = list(every()), sample(SEED)
OF_THE_RELEASE = ("create-secrets", "migrate")
"""Steps that do something for the environment's own release alone, of backend."""
AFTER_ALL = ("enter evidence", "prune-configuration", "write-evidence", "close")
"""What became of the release is settled."""
OF_ONE = (*OF_THE_RELEASE, *OF_BACKEND, "remove-leftovers")
"""Of the canaries, only backend has these steps."""
KILLED = -9
_backing_up = threading.Lock()
"""One writer of a kind of backups at a time."""


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, module_platform: Platform) -> Iterator[Mapping[Kill, str]]:
    """What came of each kill that was asked for: "" when all was well."""
    chosen = [item.callspec.params["kill"] for item in request.session.items if item.path == Path(__file__)]  # type: ignore[attr-defined]
    module_platform.clean()
    grounds = Grounds(module_platform)
    told: dict[Kill, str] = {}
    with grounds.open():
        backup = grounds.backup()
        queues = {service: queue.SimpleQueue[Kill]() for service in SERVICES}
        waiting = {strategy: queue.SimpleQueue[Kill]() for strategy in {one.strategy for one in SERVICES}}
        for kill in dict.fromkeys(chosen):
            only_backend = kill.strategy == "canary" and kill.step.split("#")[0] in OF_ONE
            (queues[SERVICES[0]] if only_backend else waiting[kill.strategy]).put(kill)
        threads = [
            threading.Thread(target=work, args=(grounds, one, (queues[one], waiting[one.strategy]), backup, told))
            for one in SERVICES
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    yield told


@pytest.mark.parametrize("kill", SOME, ids=str)
def test_a_driver_killed_at_a_step_of_the_sample_costs_nothing(kill: Kill, outcomes: Mapping[Kill, str]) -> None:
    assert outcomes[kill] == ""


@pytest.mark.soak
@pytest.mark.parametrize("kill", ALL, ids=str)
def test_a_driver_killed_at_any_step_of_any_strategy_costs_nothing(kill: Kill, outcomes: Mapping[Kill, str]) -> None:
    assert outcomes[kill] == ""


def work(
    grounds: Grounds,
    service: Service,
    sources: tuple[queue.SimpleQueue[Kill], ...],
    backup: str,
    told: dict[Kill, str],
) -> None:
    """One kill after the other, until there is none left for this service."""
    with closing(Forks()) as forks:
        for kill in taken_from(sources):
            began = time.monotonic()
            try:
                told[kill] = "; ".join(Death(grounds, forks, service, kill, backup).problems())
            except Exception:  # noqa: BLE001 - told by the test of this kill
                told[kill] = traceback.format_exc()
            if told[kill]:
                forks.run("onlyvips", "release", "reconcile", "-e", NAME, "-s", service.name)
            took = f"{time.monotonic() - began:5.0f} s  {service.name}: {kill}"
            print(f"{took}: {told[kill][-2000:] or 'ok'}", flush=True)  # noqa: T201


def taken_from(sources: tuple[queue.SimpleQueue[Kill], ...]) -> Iterator[Kill]:
    """What is in them, in their order; others take from them too."""
    for source in sources:
        with suppress(queue.Empty):
            while True:
                yield source.get_nowait()


class Death:
    """One release whose driver dies, and what came of it."""

    def __init__(self, grounds: Grounds, forks: Forks, service: Service, kill: Kill, backup: str) -> None:
        self.forks, self.grounds, self.service, self.kill, self.backup = forks, grounds, service, kill, backup
        self.before = grounds.version(service)
        self.version = other(self.before)
        if service is SERVICES[0] and kill.step in OF_THE_RELEASE:
            self.before, self.version = self._away_from("v2"), "v2"
        self.found: list[str] = []

    def _away_from(self, version: str) -> str:
        """What users are on, once that is another one."""
        if self.before == version:
            self._drive()
        return self.grounds.version(self.service)

    def problems(self) -> list[str]:
        """Kill, let come who comes, and look."""
        with self.grounds.watched(self.service) as lost:
            if self.kill.step == "back-up":
                self.backup = ""
                with _backing_up:
                    self._die_and_be_followed()
            else:
                self._die_and_be_followed()
            if not self.found:
                self._ended_well()
        return self.found + lost

    def _die(self) -> subprocess.CompletedProcess[str]:
        """Whether there is something to wait for on the way back is a matter of moments: then it is tried again."""
        kill = self.kill
        for _ in range(3 if kill.way and kill.moment == "in" else 1):
            died = self._drive("--step", kill.step, "--moment", kill.moment, "--abort", kill.way)
            if died.returncode == KILLED:
                break
        return died

    def _drive(self, *how: str) -> subprocess.CompletedProcess[str]:
        return self.forks.run(DRIVER, *asked(self.service, self.version, self.backup), *how)

    def _check(self, good: bool, otherwise: str) -> None:
        if not good:
            self.found.append(otherwise)

    def _die_and_be_followed(self) -> None:
        kill = self.kill
        died = self._die()
        self._check(died.returncode == KILLED, f"the driver did not come to this step: {died.stdout[-1500:]}")
        left = self.grounds.newest(self.service)
        self._check(left.open or kill.step == "close", "it died after its end")
        if kill.comes == "retried":
            came = self._drive() if left.open else died
            right = (0, 1) if left.open else (KILLED,)
        else:
            came, right = self.forks.run("onlyvips", "release", "reconcile", "-e", NAME, "-s", self.service.name), (0,)
        self._check(came.returncode in right, f"who came exited with {came.returncode}: {came.stdout[-1500:]}")

    def _ended_well(self) -> None:
        record = self.grounds.newest(self.service)
        self._check(not record.open, f"the release is open in phase {record.phase}, it waits for: {record.waiting}")
        wanted = self._wanted(record)
        self._check(record.result == wanted, f"it was {record.result}, not {wanted}: {record.reason}")
        runs = self.version if record.result == "promoted" else self.before
        now = self.grounds.version(self.service)
        self._check(now == runs, f"users are on {now}, not on {runs}")
        self._check(len(record.holders) == (1 if self.kill.step == "close" else 2), f"drivers: {record.holders}")
        self._check(bool(record.evidence), "there is no evidence")
        self.found += self.grounds.left_over(self.service)

    def _wanted(self, record: Record) -> str:
        """Back when a person said so, forward when the run was tried again. Unattended: forward only where users, or
        all pods, were on the new version for good."""
        if self.kill.way:
            return "rolled-back"
        if self.kill.comes == "retried" or self.kill.step in AFTER_ALL:
            return "promoted"
        return record.result if self._may_complete() else "rolled-back"

    def _may_complete(self) -> bool:
        """Steps from which a reconciler completes, or does so where the pods came up by the time that it looks."""
        return (
            self.kill.step.split("#")[0]
            in {
                "canary": (
                    "replace-stable",
                    "wait stable-ready",
                    "set-weight 0",
                    "wait route",
                    "remove-canary",
                    "remove-leftovers",
                ),
                "blue-green": ("retire", "remove-leftovers"),
                "rolling": ("replace-stable", "wait rolling", "note-progress", "look", "remove-leftovers"),
                "recreate": ("start", "wait stable-ready"),
            }[self.kill.strategy]
        )
