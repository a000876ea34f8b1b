"""A canary on the lab under 100 requests a second: how soon a version that turns bad has no weight any more, how many
bad answers were served until then, and how long a good release takes of our own.
"""

from __future__ import annotations

import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from onlyvips.core.record import Record
from onlyvips.steps import records
from tests.bench.measure import Failed
from tests.conftest import ROOT, Lab, lab_command, read_endpoints
from tests.system.platform import LATE, Platform

RATE = 100
"""Requests a second."""
SHARES = (1.0, 0.2)
"""Of its answers that are errors, once it is bad."""
WEIGHTS = (10, 50)
"""In the middle of which stage it turns bad."""
HOLD, SHORTEST = "90s", "6s"
OWN = 20.0
"""Seconds of our own that a release may take."""
_GLANCE = 0.05


@dataclass(frozen=True)
class Back:
    """One version that turned bad at ``weight`` percent: ``seconds`` from its first bad answer at the client until the
    route was read with a weight of 0, ``last`` until the last bad answer, ``bad`` answers in all, ``lost`` requests."""

    share: float
    weight: int
    seconds: float
    last: float
    bad: int
    lost: int


@dataclass(frozen=True)
class Release:
    """One good release, in seconds: ``wall`` from the command's start to its end; ``spent`` by what it was spent on;
    ``cpu``, user and system seconds of the command's processes: on a busy machine the truer measure."""

    wall: float
    cpu: float
    spent: dict[str, float]
    lost: int

    @property
    def own(self) -> float:
        """What is neither watching nor waiting for pods and the router."""
        return self.wall - sum(seconds for what, seconds in self.spent.items() if what in NOT_OURS)


HOLDS, WAITS = "holds (looks)", "waits for ready pods and for the router"
NOT_OURS = (HOLDS, WAITS)


@dataclass
class Watch:
    """What a client saw, sample by sample, since its load began: seconds, bad answers, the canary's weight."""

    platform: Platform
    weight: Callable[[], int]
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Until it is over."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self.over.wait(_GLANCE):
                stats = client.get(f"{self.platform.load}/stats").json()
                bad = sum(sum(target["faults"].values()) for target in stats["targets"].values())
                self.samples.append((time.monotonic(), bad, self.weight()))

    def back(self, share: float, weight: int, target: dict[str, Any]) -> Back:
        """What it comes to. Raises Failed when nobody saw a bad answer, or the weight stayed."""
        first = next((at for at, bad, _ in self.samples if bad), None)
        if first is None:
            raise Failed("No bad answer was served: the fault came too late.")
        zero = next((at for at, _, now in self.samples if at >= first and now == 0), None)
        if zero is None:
            raise Failed("The weight did not come to 0.")
        most = self.samples[-1][1]
        last = next(at for at, bad, _ in self.samples if bad == most)
        return Back(share, weight, zero - first, last - first, most, sum(target["lost"].values()))


@contextmanager
def a_lab(console: Console) -> Iterator[Platform]:
    """The platform on a lab of its own, which goes at the end."""
    with tempfile.TemporaryDirectory(prefix="onlyvips-bench-") as folder:
        home, environments = Path(folder) / "lab", Path(folder) / "environments"
        environments.mkdir()
        console.print("rollback: a lab is started …")
        try:
            lab_command(home, "up", "--documents", "4000")
            lab_command(home, "load-data", "--documents", "4000")
            os.environ["ONLYVIPS_LAB_HOME"] = str(home)
            yield Platform(Lab(home, read_endpoints(home)), environments)
        finally:
            lab_command(home, "down", check=False)


@contextmanager
def looked_at(watch: Watch) -> Iterator[Watch]:
    """It looks while the block runs."""
    thread = threading.Thread(target=watch.look)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


def weight_of(platform: Platform) -> Callable[[], int]:
    """What the route gives backend's canary."""
    cluster = platform.cluster

    def weight() -> int:
        shares = platform.rule(cluster)["backendRefs"]
        return sum(one["weight"] for one in shares if one["name"].endswith("-canary"))

    return weight


def environment(platform: Platform, name: str, holds: dict[int, str], look: str = "") -> str:
    """The lab's environment with these stages, and a ``look`` so often. Returns its name."""
    document = yaml.safe_load((ROOT / "deployments/environments/lab.yaml").read_text())
    document["name"] = name
    document["strategies"]["canary"]["stages"] = [{"weight": f"{one}%", "hold": hold} for one, hold in holds.items()]
    document["waits"] |= {"look": look} if look else {}
    (platform.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return name


@contextmanager
def traffic(platform: Platform, path: str = "/api/tasks") -> Iterator[Callable[[], dict[str, Any]]]:
    """Open-loop load; the value ends it and tells what was counted."""
    targets = [{"name": "backend", "path": path, "rate": RATE}]
    httpx.post(f"{platform.load}/start", json={"targets": targets}, trust_env=False).raise_for_status()

    def counts() -> dict[str, Any]:
        time.sleep(LATE)
        stats: dict[str, Any] = httpx.post(f"{platform.load}/stop", timeout=30, trust_env=False).json()
        target: dict[str, Any] = stats["targets"]["backend"]
        return target

    try:
        yield counts
    finally:
        httpx.post(f"{platform.load}/stop", timeout=30, trust_env=False)


def turn_bad(platform: Platform, share: float, weight: int, look: str = "") -> Back:
    """A version that is good until the middle of a stage, and then answers ``share`` of its requests with errors."""
    platform.clean()
    holds = {one: HOLD if one == weight else look or SHORTEST for one in WEIGHTS}
    name = environment(platform, f"bad-at-{weight}", holds, look)
    version, watch = platform.other_version(), Watch(platform, weight_of(platform))
    with traffic(platform) as counts:
        process = platform.begin(version, name)
        platform.wait_for(
            lambda one: one.version == version and one.open and bool(one.looks) and one.looks[-1].weight == weight
        )
        with looked_at(watch):
            platform.fault(version, "--error-rate", str(share))
            output, _ = process.communicate(timeout=300)
            counted = counts()
    if process.returncode != 1:
        raise Failed(f"The release of a bad version exited with {process.returncode}:\n{output[-2000:]}")
    return watch.back(share, weight, counted)


def good(platform: Platform) -> Release:
    """A good release with the shortest holds that an environment may have, its time by what it was spent on."""
    platform.clean()
    version = platform.other_version()
    name = environment(platform, "shortest", {10: SHORTEST, 25: SHORTEST, 50: SHORTEST})
    with traffic(platform) as counts:
        began, used = time.monotonic(), _cpu_of_children()
        process = platform.begin(version, name)
        spent: dict[str, float] = {}
        told = threading.Thread(target=_spend, args=(platform, process, spent))
        told.start()
        output, _ = process.communicate(timeout=300)
        wall, used = time.monotonic() - began, _cpu_of_children() - used
        told.join()
        counted = counts()
    if process.returncode:
        raise Failed(f"The release of a good version exited with {process.returncode}:\n{output[-2000:]}")
    record = platform.newest()
    assert record is not None
    spent[HOLDS] = sum(look.elapsed for look in record.looks)
    acts = "acts and decisions"
    spent[acts] = spent.get(acts, 0.0) - spent[HOLDS]  # looks are among them as one samples
    return Release(wall, used, spent, sum(counted["lost"].values()))


def _cpu_of_children() -> float:
    """Seconds of those that were waited for."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _spend(platform: Platform, process: Any, spent: dict[str, float]) -> None:
    """Add up what each moment is spent on, as the release's record says."""
    cluster, last = platform.cluster, time.monotonic()
    before = {one.id for one in records.every(cluster, "backend")}
    while process.poll() is None:
        found = [one for one in records.every(cluster, "backend") if one.id not in before]
        now = time.monotonic()
        what = _doing(found[-1]) if found else "start of the command (Python, Prefect's own API), preflight"
        spent[what] = spent.get(what, 0.0) + now - last
        last = now
        time.sleep(_GLANCE)


def _doing(record: Record) -> str:
    if not record.open:
        return "end of the command"
    if record.waiting:
        return WAITS
    before = {"backup": "backup, read back", "evidence": "evidence"}
    return before.get(record.phase, "acts and decisions")


def measure(rounds: int, console: Console) -> tuple[list[Back], list[Release]]:
    """Every share at every weight, and a good release; each ``rounds`` times."""
    backs, releases = [], []
    with a_lab(console) as platform:
        for number in range(1, rounds + 1):
            for share in SHARES:
                for weight in WEIGHTS:
                    console.print(f"rollback: round {number} of {rounds}, {share:.0%} errors at {weight} % …")
                    backs.append(turn_bad(platform, share, weight))
            console.print(f"rollback: round {number} of {rounds}, a good version …")
            releases.append(good(platform))
    return backs, releases


def measure_own(rounds: int, console: Console) -> list[Release]:
    """A good release alone."""
    releases = []
    with a_lab(console) as platform:
        for number in range(1, rounds + 1):
            console.print(f"own: round {number} of {rounds} …")
            releases.append(good(platform))
    return releases


def facts(backs: list[Back], releases: list[Release]) -> dict[str, Any]:
    """For machines."""
    return {
        "rate": RATE,
        "back": [asdict(one) for one in backs],
        "good": [asdict(one) | {"own": one.own} for one in releases],
    }


def show(backs: list[Back], releases: list[Release], console: Console) -> None:
    """Tables for people."""
    if backs:
        console.print(_backs(backs))
        console.print(
            "Looks every 3 s, Prometheus scrapes each second; a guardrail needs 100 requests of the canary's."
        )
    console.print(_releases(releases))


def _backs(backs: list[Back]) -> Table:
    table = Table(title=f"A version that turns bad in mid-stage, {RATE} requests/s in all; median (least to most)")
    for head in ("errors", "weight", "s to weight 0", "s to the last bad answer", "bad answers", "lost requests"):
        table.add_column(head, justify="right")
    for share in SHARES:
        for weight in WEIGHTS:
            found = [one for one in backs if (one.share, one.weight) == (share, weight)]
            seconds = spread([one.seconds for one in found]), spread([one.last for one in found])
            bad, lost = spread([one.bad for one in found], 0), str(sum(one.lost for one in found))
            table.add_row(f"{share:.0%}", f"{weight} %", *seconds, bad, lost)
    return table


def _releases(releases: list[Release]) -> Table:
    own = [one.own for one in releases]
    reached = "reached" if median(own) <= OWN else "MISSED"
    title = f"A good release by what it takes: {spread(own)} s of our own, asked ≤ {OWN:.0f}: {reached}"
    table = Table(title=title, min_width=len(title) + 4)
    for head in ("spent on", "seconds", "ours"):
        table.add_column(head, justify="left" if head == "spent on" else "right")
    for what in dict.fromkeys(what for one in releases for what in one.spent):
        seconds = spread([one.spent.get(what, 0.0) for one in releases])
        table.add_row(what, seconds, "" if what in NOT_OURS else "yes")
    table.add_row("all of it", spread([one.wall for one in releases]), "")
    table.add_row("CPU of the command", spread([one.cpu for one in releases]), "")
    table.add_row("requests lost", str(sum(one.lost for one in releases)), "")
    return table


def spread(values: list[float] | list[int], digits: int = 1) -> str:
    """The median, and from the least to the most."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
