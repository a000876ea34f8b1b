"""The platform on the lab as the system tests use it: load, faults, releases as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.record import Record
from onlyvips.ports import Cluster
from tests.conftest import ROOT, Lab

RATE = 150
LATE = 5.5
"""Seconds after which the gateway has obeyed everything."""
SHORT = [{"weight": "10%", "hold": "6s"}, {"weight": "50%", "hold": "6s"}]


class Platform:
    """One lab, one environment made from lab.yaml with short holds (``changes`` on top), one service: backend."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.load = lab.env["ONLYVIPS_LAB_LOAD_URL"]
        os.environ["ONLYVIPS_ENVIRONMENTS_DIR"] = str(folder)
        self.environment()

    def environment(self, name: str = "quick", told: str = "", **waits: str) -> str:
        """Write environment ``name``: the lab's, with stages of seconds and ``waits`` replaced; the address that the
        variable ``told`` has is told everything. Returns its name."""
        document = yaml.safe_load((ROOT / "deployments/environments/lab.yaml").read_text())
        document["name"] = name
        document["strategies"]["canary"]["stages"] = SHORT
        document["waits"] |= {"look": "2s", "lease": "6s", **waits}
        if told:
            document["people"]["notifications"]["targets"] = {"hook": {"url": f"env:{told}", "wants": ["all"]}}
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
        return name

    @property
    def cluster(self) -> Cluster:
        """The lab's cluster."""
        return wiring.cluster_of(environments.load("quick"))

    def begin(self, version: str, environment: str = "quick") -> subprocess.Popen[str]:
        """``onlyvips release start`` as a process group of its own, so that it can be killed whole."""
        where = ["--environment", environment, "--service", "backend", "--version", version]
        return self.process("release", "start", "--local", *where)

    def bootstrap(self, environment: str) -> None:
        """Bring the lab's Prefect server up to date with an environment."""
        if environment == "lab":
            (self.folder / "lab.yaml").write_text((ROOT / "deployments/environments/lab.yaml").read_text())
        command = [sys.executable, "deployments/bootstrap.py", "--environment", environment]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def schedules(self, environment: str) -> dict[str, float]:
        """Seconds between runs of each schedule that the server has for an environment."""
        api = self.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
        found = httpx.post(f"{api}/deployments/filter", json={}, trust_env=False).raise_for_status().json()
        ours = [
            one for each in found for one in each["schedules"] if one["parameters"].get("environment") == environment
        ]
        return {one["slug"]: one["schedule"]["interval"] for one in ours}

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """One command of ours as a process group of its own."""
        command = [str(Path(sys.executable).parent / "onlyvips"), *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, text=True, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def begin_deployment(self, name: str, parameters: dict[str, str]) -> str:
        """A run of a deployment, for the lab's worker; returns its id. Asked for again, as Prefect's own client does,
        where the server's database is busy; it makes one run of them all."""
        api = self.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
        found = httpx.get(f"{api}/deployments/name/{name}", trust_env=False).raise_for_status().json()
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": os.urandom(8).hex()}
        url = f"{api}/deployments/{found['id']}/create_flow_run"
        for _ in range(20):
            if (answer := httpx.post(url, json=asked, trust_env=False)).status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
        return str(answer.raise_for_status().json()["id"])

    def release(self, version: str, environment: str = "quick") -> tuple[int, str]:
        """A release to its end: exit code and output."""
        process = self.begin(version, environment)
        output, _ = process.communicate(timeout=400)
        return process.returncode, output

    def begin_on_server(self, version: str) -> str:
        """A run of the deployment, carried out by the lab's worker in environment ``lab``; returns its id."""
        (self.folder / "lab.yaml").write_text((ROOT / "deployments/environments/lab.yaml").read_text())
        done = self.onlyvips("release", "start", "-e", "lab", "-s", "backend", "-v", version, "--detach")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip().rsplit("/", 1)[1]

    def kill_run(self, run: str) -> None:
        """``kill -9`` of every process that carries out the run."""
        mark, killed = f"PREFECT__FLOW_RUN_ID={run}".encode(), 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
                    killed += 1
            except (OSError, ProcessLookupError):
                continue
        assert killed, f"no process carries out run {run}"

    def retry_run(self, run: str) -> None:
        """What the button Retry of the Prefect UI does, pressed until the run is carried out again.

        A worker reports a dead process twice, before and after the hooks that it has for this, which takes seconds:
        the second report may undo a retry that came between.
        """
        url = f"{self.lab.env['ONLYVIPS_LAB_PREFECT_API_URL']}/flow_runs/{run}"
        retry = {
            "state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "retried by a person"},
            "force": True,
        }
        pressed, state, until = False, "", time.monotonic() + 90
        while not (pressed and state == "RUNNING"):
            assert time.monotonic() < until, f"run {run} is {state}: not carried out again"
            time.sleep(0.5)
            state = httpx.get(url, trust_env=False).json()["state_type"]
            if state == "CRASHED":
                httpx.post(f"{url}/set_state", json=retry, trust_env=False).raise_for_status()
                pressed = True

    def onlyvips(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of ours."""
        command = [str(Path(sys.executable).parent / "onlyvips"), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)

    def newest(self) -> Record | None:
        """The newest release of backend."""
        found = wiring.status("quick", "backend")
        return found[-1][0] if found else None

    def wait_for(self, what: Callable[[Record], bool], limit: float = 200) -> Record:
        """Poll the newest record until ``what`` holds of it."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            record = self.newest()
            if record is not None and what(record):
                return record
            time.sleep(0.1)
        raise AssertionError(f"not within {limit} s; the record is {self.newest()}")

    def weight(self) -> int:
        """What the route gives the canary, in percent."""
        return sum(entry["weight"] for entry in self.rule()["backendRefs"] if entry["name"] == "backend-canary")

    def rule(self, cluster: Cluster | None = None) -> dict[str, Any]:
        """Backend's rule in the route."""
        route = (cluster or self.cluster).get("HTTPRoute", "onlyvips")
        assert route is not None
        return next(rule for rule in route["spec"]["rules"] if rule.get("name") == "backend")

    def image(self) -> str:
        """What stable runs."""
        deployment = self.cluster.get("Deployment", "backend")
        assert deployment is not None
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def other_version(self) -> str:
        """A version that stable does not run."""
        return "v3" if self.image().endswith(":v2") else "v2"

    def fault(self, version: str, *options: str) -> None:
        """Turn a fault of ``version`` on (``--error-rate 0.2`` …) or off (``--clear``)."""
        self.lab.command("fault", "backend", version, *options)

    @contextmanager
    def traffic(self, watched: bool = True) -> Iterator[Callable[[], dict[str, Any]]]:
        """Open-loop load while the block runs; the value ends it and tells the final counts.

        ``watched``: that no weight is on pods that are not ready is looked at all the time.
        """
        targets = [{"name": "backend", "path": "/api/tasks", "rate": RATE}]
        httpx.post(f"{self.load}/start", json={"targets": targets}, trust_env=False).raise_for_status()
        over, broken = threading.Event(), list[str]()
        watch = threading.Thread(target=self._watch, args=(over, broken))
        if watched:
            watch.start()

        def counts() -> dict[str, Any]:
            found = self._counts()
            assert not broken, broken[:5]
            return found

        try:
            yield counts
        finally:
            over.set()
            httpx.post(f"{self.load}/stop", timeout=30, trust_env=False)
            if watched:
                watch.join()

    def _watch(self, over: threading.Event, broken: list[str]) -> None:
        """Note each moment at which the route sends requests to a copy of which no pod is ready."""
        cluster = self.cluster
        while not over.wait(0.1):
            shares = {entry["name"]: entry.get("weight", 1) for entry in self.rule(cluster)["backendRefs"]}
            for name, share in shares.items():
                track = "canary" if name.endswith("-canary") else "stable"
                pods = cluster.list("Pod", {"app": "backend", "track": track})
                if share and not any(is_ready(pod) for pod in pods):
                    broken.append(f"{name} has a weight of {share} and no pod that is ready")

    def _counts(self) -> dict[str, Any]:
        """Counts of backend once the gateway obeyed the last change and each request has ended: total, ok, faults,
        lost by cause, by version."""
        time.sleep(LATE)
        stats = httpx.post(f"{self.load}/stop", timeout=30, trust_env=False).raise_for_status().json()
        target: dict[str, Any] = stats["targets"]["backend"]
        assert target["unsent"] == 0, "the load could not keep its rate: what it did not send cannot be lost"
        return {**target, "losses": stats["losses"]}

    def clean(self) -> None:
        """Whatever a failed test left: nobody drives, nothing is open, no fault is on."""
        for version in ("v1", "v2", "v3", "v4"):
            self.fault(version, "--clear")
        done = self.onlyvips("release", "reconcile", "--environment", "quick", "--service", "backend", "--json")
        assert done.returncode == 0, done.stdout + done.stderr


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod says that it is, and is not leaving."""
    conditions = pod["status"].get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def kill(process: subprocess.Popen[str]) -> None:
    """``kill -9`` of the driver and whatever it started; nothing when it is over."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def told(process: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed as JSON."""
    return json.loads(process.stdout)
