"""The lab with a service of every strategy, all under traffic at once, so that drivers are killed side by side.

Canary: ``backend`` and ``miniapp``. Blue-green: ``showcu-panel``. Rolling: ``lobby``. Recreate: ``bot``. The last two
are made here.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import yaml

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core.plan import Strategy
from onlyvips.core.record import Record
from onlyvips.core.world import pods_for
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import records
from tests.cluster import remove
from tests.conftest import ROOT
from tests.system.in_place import bot, lives, loses_nothing, overlaps, settled, wait
from tests.system.platform import LATE, Platform, is_ready

NAME = "kills"
"""Of the environment: the lab's, with the shortest waits that it may have."""
OURS = str(Path(sys.executable).parent / "onlyvips")
GLANCE = 0.15
LONGEST = 600.0
"""Seconds that a process may take."""
_SECONDS_TO_KNOW = 8.0


@dataclass(frozen=True)
class Service:
    """One service: how it is released, what its users ask for and how often a second (0: it takes no requests)."""

    name: str
    strategy: Strategy
    path: str = ""
    rate: int = 0


SERVICES = (
    Service("backend", "canary", "/api/tasks", 90),
    Service("miniapp", "canary", "/", 90),
    Service("showcu-panel", "blue-green", "/panel/", 80),
    Service("lobby", "rolling", "/lobby", 60),
    Service("bot", "recreate"),
)


class Grounds:
    """Where it happens: what runs, what was lost, what was seen that must not be."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.cluster = platform, platform.cluster
        self.polls = platform.folder / "kills-polls"
        self.broken: list[tuple[str, str]] = []
        self._over = threading.Event()

    # --- what runs

    def deployment(self, service: Service) -> Manifest:
        """The one that users are on."""
        name = service.name
        if service.strategy == "blue-green":
            name = f"{name}-{self.colour()}"
        live = self.cluster.get("Deployment", name)
        assert live is not None
        return live

    def version(self, service: Service) -> str:
        """What users are on."""
        container = self.deployment(service)["spec"]["template"]["spec"]["containers"][0]
        return str(container["image"]).rpartition(":")[2]

    def colour(self) -> str:
        """The colour of ``showcu-panel`` that users are on."""
        front = self.cluster.get("Service", "main-app")
        assert front is not None
        return str(front["spec"]["selector"]["version"])

    def left_over(self, service: Service) -> list[str]:
        """What no release leaves behind."""
        made = {"canary": ["-canary"], "blue-green": ["-preview"]}.get(service.strategy, [])
        kinds = ("Deployment", "Service", "HTTPRoute")
        found = [
            f"{kind} {service.name}{end}" for end in made for kind in kinds if self._there(kind, service.name, end)
        ]
        if service.strategy == "blue-green":
            other = self.cluster.get("Deployment", f"{service.name}-{'blue' if self.colour() == 'green' else 'green'}")
            found += ["pods of the other colour"] if other and other["spec"]["replicas"] else []
        if service.strategy == "canary" and shares(self.cluster, service.name).get(f"{service.name}-canary"):
            found.append("a weight of the canary")
        if service.strategy == "recreate":
            found += overlaps(lives(self.polls))
        return found

    def newest(self, service: Service) -> Record:
        """Its newest release."""
        return records.every(self.platform.cluster, service.name)[-1]

    def backup(self) -> str:
        """One that all releases here name as theirs: they need not take one each."""
        return wiring.back_up(environments.load(NAME), "of the tests", lambda: None)

    def _there(self, kind: str, name: str, end: str) -> bool:
        return self.cluster.get(kind, f"{name}{end}") is not None

    # --- traffic, and who watches

    def counts(self, service: Service) -> dict[str, Any]:
        """Of its requests since the beginning: in all, lost by cause, not sent."""
        if not service.rate:
            return {"total": 0, "lost": {}, "unsent": 0}
        stats = httpx.get(f"{self.platform.load}/stats", timeout=30, trust_env=False).raise_for_status().json()
        found: dict[str, Any] = stats["targets"][service.name]
        return found

    @contextmanager
    def watched(self, service: Service) -> Iterator[list[str]]:
        """What went wrong for its users while the block ran is added to the value."""
        before, seen, found = self.counts(service), len(self.broken), list[str]()
        yield found
        time.sleep(LATE if service.rate else 0)
        now = self.counts(service)
        lost = {why: number - before["lost"].get(why, 0) for why, number in now["lost"].items()}
        found += [f"lost requests: {lost}"] if any(lost.values()) else []
        found += ["the load could not keep its rate"] if now["unsent"] != before["unsent"] else []
        found += [what for name, what in self.broken[seen:] if name == service.name]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Everything there, under traffic and watched, while the block runs."""
        targets = [{"name": one.name, "path": one.path, "rate": one.rate} for one in SERVICES if one.rate]
        watch = threading.Thread(target=self._watch)
        with self._made():
            httpx.post(f"{self.platform.load}/start", json={"targets": targets}, trust_env=False).raise_for_status()
            watch.start()
            try:
                time.sleep(_SECONDS_TO_KNOW)  # the judge has to know them
                yield
            finally:
                self._over.set()
                watch.join()
                httpx.post(f"{self.platform.load}/stop", timeout=30, trust_env=False)

    def _watch(self) -> None:
        """Note each moment at which users are sent to a copy of which no pod is ready, and each rise of what a copy
        gets beyond what its ready pods can carry."""
        cluster, before = self.platform.cluster, {one.name: dict[str, int]() for one in SERVICES}
        while not self._over.wait(GLANCE):
            for service in SERVICES:
                if service.rate:
                    now = self._sent(cluster, service)
                    told = unfit(cluster, service, now, before[service.name])
                    self.broken += [(service.name, one) for one in told]
                    before[service.name] = now

    def _sent(self, cluster: Cluster, service: Service) -> dict[str, int]:
        """The share of each copy, by the labels of its pods."""
        if service.strategy == "blue-green":
            front = cluster.get("Service", "main-app")
            assert front is not None
            return {f"version={front['spec']['selector']['version']}": 100}
        found = shares(cluster, service.name)
        return {f"track={'canary' if name.endswith('-canary') else 'stable'}": each for name, each in found.items()}

    @contextmanager
    def _made(self) -> Iterator[None]:
        """``lobby`` and ``bot``, and the environment; no version has a fault."""
        self._environment()
        for service, version in product(("backend", "miniapp", "showcu-panel"), ("v2", "v3", "v4")):
            self.platform.lab.command("fault", service, version, "--clear")
        for manifest in (*lobby(), bot(self.polls)):
            self.cluster.create(manifest)
        self._route(lambda rules: [RULE, *rules])
        for name in ("lobby", "bot"):
            wait(lambda name=name: settled(self.cluster, name))  # type: ignore[misc]
        before = self._minimum("backend", 4)  # below what runs, so that a release has to hold it
        time.sleep(LATE)
        try:
            yield
        finally:
            self._minimum("backend", before)
            self._route(lambda rules: [rule for rule in rules if rule.get("name") != "lobby"])
            for manifest in (*lobby(), bot(self.polls)):
                remove(self.cluster, manifest["kind"], manifest["metadata"]["name"])

    def _minimum(self, name: str, number: int) -> int:
        """Give an autoscaler this minimum; the one that it had."""
        scaler = self.cluster.get("HorizontalPodAutoscaler", name)
        assert scaler is not None
        change = {"op": "replace", "path": "/spec/minReplicas", "value": number}
        self.cluster.patch("HorizontalPodAutoscaler", name, scaler["metadata"]["resourceVersion"], [change])
        return int(scaler["spec"]["minReplicas"])

    def _route(self, how: Callable[[list[Manifest]], list[Manifest]]) -> None:
        route = self.cluster.get("HTTPRoute", "onlyvips")
        assert route is not None
        change = {"op": "replace", "path": "/spec/rules", "value": how(route["spec"]["rules"])}
        self.cluster.patch("HTTPRoute", "onlyvips", route["metadata"]["resourceVersion"], [change])

    def _environment(self) -> None:
        path = self.platform.folder / f"{self.platform.environment(NAME, ready='40s')}.yaml"
        document = yaml.safe_load(path.read_text())
        document["strategies"]["canary"]["stages"] = [{"weight": "50%", "hold": "6s"}]
        document["strategies"]["blue_green"]["keep_warm"] = "6s"
        document["services"]["lobby"] = {
            "kind": "front-end",
            "image": "ghcr.io/onlyvips/miniapp",
            "strategy": "rolling",
            "deployment": "lobby",
            "service": "lobby",
            "assets": "none",
        }
        document["services"]["bot"] = {
            "kind": "bot",
            "image": "ghcr.io/onlyvips/bot",
            "strategy": "recreate",
            "deployment": "bot",
        }
        path.write_text(yaml.safe_dump(document))


def other(version: str) -> str:
    """One that has no migration and no Secrets of its own, so that releases of several services do not meet."""
    return "v4" if version == "v3" else "v3"


def driver(service: Service, version: str, backup: str = "", environment: str = NAME) -> list[str]:
    """The command line of a driver."""
    return [sys.executable, "-m", "tests.system.driver", *asked(service, version, backup, environment)]


def asked(service: Service, version: str, backup: str = "", environment: str = NAME) -> list[str]:
    """What a driver is asked for."""
    return [environment, service.name, version, f"--backup={backup}"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """One process to its end; ``onlyvips`` is ours."""
    words = [OURS if command[0] == "onlyvips" else command[0], *command[1:]]
    return subprocess.run(
        words, cwd=ROOT, text=True, timeout=LONGEST, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


RULE = {
    "name": "lobby",
    "matches": [{"path": {"type": "PathPrefix", "value": "/lobby"}}],
    "backendRefs": [{"name": "lobby", "port": 80, "weight": 100}],
}


def lobby() -> list[Manifest]:
    """A front-end whose own update loses nothing, whose pods start slowly, with an autoscaler."""
    labels = {"app": "lobby", "track": "stable"}
    container: Manifest = {
        "name": "lobby",
        "image": "ghcr.io/onlyvips/miniapp:v3",
        "args": ["-service", "lobby"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "initialDelaySeconds": 3},
    }
    metadata = {"labels": {**labels, "version": "v3"}, "annotations": {"prometheus.io/port": "8080"}}
    template: Manifest = {"metadata": metadata, "spec": {"containers": [container]}}
    spec: Manifest = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": template,
    }
    for change in loses_nothing({}):
        *way, last = change["path"].strip("/").split("/")[1:]
        where: Any = spec
        for step in way:
            where = where[int(step) if step.isdigit() else step]
        where[last] = change["value"]
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "lobby", "labels": labels}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "lobby", "labels": {"app": "lobby"}},
            "spec": {"selector": labels, "ports": ports},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "lobby"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "lobby"},
                "minReplicas": 1,
                "maxReplicas": 4,
            },
        },
    ]


def shares(cluster: Cluster, service: str) -> dict[str, int]:
    """What the route gives each copy of a service, in percent."""
    route = cluster.get("HTTPRoute", "onlyvips")
    assert route is not None
    rule = next(rule for rule in route["spec"]["rules"] if rule.get("name") == service)
    return {entry["name"]: int(entry.get("weight", 1)) for entry in rule["backendRefs"]}


def unfit(cluster: Cluster, service: Service, now: dict[str, int], before: dict[str, int]) -> list[str]:
    """Why the shares of ``now`` must not be: read before the pods are, which go only once nobody is sent to them."""
    told = []
    for copy, share in now.items():
        if not share:
            continue
        key, _, value = copy.partition("=")
        ready = sum(is_ready(pod) for pod in cluster.list("Pod", {"app": service.name, key: value}))
        capacity = 6 if service.name == "backend" else 2
        if not ready:
            told.append(f"{copy} gets {share} % and none of its pods is ready")
        elif before and share > before.get(copy, 0) and ready < pods_for(share, capacity):
            told.append(f"{copy} was given {share} % of {capacity} pods' traffic and has {ready} ready")
    return told
