"""The data plane: a router with a stale view of the cluster, open-loop requests, and what became of each of them.

Traffic is counted by stretches in which nothing changes, not one by one: every pod in the router's view gets its share
of ``rate``, so that a stretch of any length with one dead pod in view counts as lost requests.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from onlyvips.ports import Manifest
from onlyvips.ports.prober import Answer
from tests.simulators.clock import SimClock
from tests.simulators.cluster import SimCluster
from tests.simulators.controllers import Controllers, Nature, ready, serves
from tests.simulators.crowd import Crowd
from tests.simulators.metrics import SimMetrics

_SCRAPE = 2.0


@dataclass
class Version:
    """How pods of a version answer: shares of requests that are errors of its own, or slow; ``page`` is what a smoke
    test gets."""

    errors: float = 0.0
    slow: float = 0.0
    page: tuple[int, str] = (200, "<html>")


@dataclass
class _Pod:
    labels: dict[str, str]
    tag: str
    requests: float = 0.0
    errors: float = 0.0
    slow: float = 0.0


@dataclass
class View:
    """What the router believes: the route's rules, of ours the weights by Service, and the pods behind each."""

    rules: list[Manifest] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    pods: dict[str, frozenset[str]] = field(default_factory=dict)
    previews: dict[str, Manifest] = field(default_factory=dict)


class Platform:
    """A cluster with its controllers, a router for one rule of one HTTPRoute, and its traffic."""

    def __init__(self, seed: int, route: str, rule: int, rate: float, beside: Platform | None = None) -> None:
        """``beside``: the platform whose cluster this one is another service of."""
        self.clock = beside.clock if beside else SimClock()
        self.cluster = beside.cluster if beside else SimCluster(self.clock)
        self.metrics = beside.metrics if beside else SimMetrics(self.clock)
        self.random = Random(seed)
        self.nature = beside.nature if beside else Nature()
        self.controllers = beside.controllers if beside else Controllers(*self._world())
        self.versions: dict[str, Version] = {}
        self.view, self.crowd = View(), Crowd()
        self.lost: list[tuple[float, float, str]] = []
        self.served: dict[str, float] = {}
        self._route, self._rule, self._rate = route, rule, rate
        self._pods: dict[str, _Pod] = {}
        self._serving: set[str] = set()
        self._published: dict[str, object] = {}
        self._order: dict[str, float] = {}
        self._counted = 0.0
        self._shares: list[tuple[str, float, str]] | None = None
        self._open = False
        self.cluster.watchers.append(self._changed)
        self.clock.every(_SCRAPE, self._scrape)

    def _world(self) -> tuple[SimClock, SimCluster, Random, Nature]:
        return self.clock, self.cluster, self.random, self.nature

    def open_for_traffic(self) -> None:
        """Requests come from now on."""
        self._open, self._counted = True, self.clock.monotonic()

    @property
    def lost_requests(self) -> float:
        """Requests so far that failed because of how traffic was switched."""
        self._count()
        return sum(how_many for _, how_many, _ in self.lost)

    def share(self, service: str) -> float:
        """The share of requests that the router gives to ``service`` now."""
        return self.view.shares.get(service, 0.0)

    # Faults.

    def kill_pods(self, deployment: str, how_many: int) -> None:
        """That many pods of the Deployment end now."""
        pods = [pod["metadata"] for pod in self.cluster.all("Pod", {}) if ready(pod)]
        for pod in [pod for pod in pods if pod["ownerReferences"][0]["name"] == deployment][:how_many]:
            self.controllers.terminate(pod["name"])

    def hand_edit_weight(self, canary: int) -> None:
        """Somebody sets the canary's weight with kubectl, if it has one."""

        def change(route: Manifest) -> None:
            references = route["spec"]["rules"][self._rule]["backendRefs"]
            for reference in references if len(references) > 1 else ():
                reference["weight"] = canary if reference["name"].endswith("-canary") else 100 - canary

        self.cluster.change("HTTPRoute", self._route, change)

    # ports.Prober: a request of a person or a program, by the way of all requests.

    def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """See ``ports.prober.Prober``."""
        for spec in self.view.previews.values():
            for rule in spec.get("rules", []):
                wanted = {each["name"]: each["value"] for match in rule["matches"] for each in match["headers"]}
                if wanted.items() <= headers.items():
                    told = rule["filters"][-1]["responseHeaderModifier"]["set"]
                    extra = {each["name"].lower(): each["value"] for each in told}
                    return self._answer(path, rule["backendRefs"][0]["name"], extra)
        return self._answer(path, max(self.view.weights, key=lambda name: self.view.weights[name]), {})

    def _answer(self, path: str, service: str, headers: dict[str, str]) -> Answer:
        pods = [pod for pod in self.view.pods.get(service, frozenset()) if pod in self._serving]
        if not pods:
            return Answer(503, headers, "no pod")
        status, body = self.versions.setdefault(self._pods[min(pods)].tag, Version()).page
        return Answer(status, headers, f"{body} {path}")

    # What the router learns, late.

    def _changed(self, kind: str, before: Manifest | None, after: Manifest | None) -> None:
        if kind == "HTTPRoute" and after is not None and after["metadata"]["name"] == self._route:
            self._publish("route", copy.deepcopy(after["spec"]["rules"]))
        elif kind == "HTTPRoute" and (other := after or before) is not None:
            name = other["metadata"]["name"]
            self._publish(f"route {name}", after["spec"] if after else {})
        elif kind == "Pod":
            self._pod_changed(before, after)
        if kind in ("Pod", "Service"):
            services = {each["metadata"]["name"] for each in self.cluster.all("Service", {})}
            for service in sorted(services | self.view.pods.keys()):
                self._publish(service, self._endpoints(service))

    def _pod_changed(self, before: Manifest | None, after: Manifest | None) -> None:
        pod = (after or before or {})["metadata"]
        up = after is not None and serves(after)
        if up == (pod["uid"] in self._serving):
            return
        self._count()
        self._shares = None
        if up:
            self._serving.add(pod["uid"])
            labels = {key: value for key, value in pod["labels"].items() if key in ("app", "track", "version")}
            image = (after or {})["spec"]["containers"][0]["image"]
            self._pods.setdefault(
                pod["uid"], _Pod({**labels, "pod": pod["name"]}, image.partition("@")[0].rpartition(":")[2])
            )
        else:
            self._serving.discard(pod["uid"])

    def _endpoints(self, service: str) -> frozenset[str]:
        found = self.cluster.see("Service", service)
        if found is None:
            return frozenset()
        pods = self.cluster.all("Pod", found["spec"]["selector"])
        return frozenset(pod["metadata"]["uid"] for pod in pods if ready(pod))

    def _publish(self, what: str, value: object) -> None:
        """Changes of one object arrive in order, 1 to 5 seconds late; different objects do not wait for each other."""
        if self._published.get(what) == value:
            return
        self._published[what] = value
        now = self.clock.monotonic()
        self._order[what] = max(self._order.get(what, 0.0), now + self.random.uniform(1.0, 5.0))
        self.clock.after(self._order[what] - now, lambda: self._learn(what, value))

    def _learn(self, what: str, value: object) -> None:
        self._count()
        self._shares = None
        if what == "route":
            self.view.rules = value  # type: ignore[assignment]
            references = self.view.rules[self._rule]["backendRefs"]
            self.view.weights = {each["name"]: each.get("weight", 1) for each in references}
            self.view.shares = self.crowd.shares(self.view.rules, self._rule)
        elif what.startswith("route "):
            self.view.previews[what] = value  # type: ignore[assignment]
        else:
            self.view.pods[what] = value  # type: ignore[assignment]

    # What becomes of the requests.

    def _count(self) -> None:
        now = self.clock.monotonic()
        requests, self._counted = (now - self._counted) * self._rate, now
        if not self._open or requests <= 0:
            return
        if self._shares is None:
            self._shares = self._share_out()
        for pod, share, why in self._shares:
            if why:
                self.lost.append((now, requests * share, why))
            else:
                self._serve(self._pods[pod], requests * share)

    def _share_out(self) -> list[tuple[str, float, str]]:
        if not sum(self.view.weights.values()):
            return [("", 1.0, "the router knows no backend")]
        shares = []
        for service, share in self.view.shares.items():
            pods = self.view.pods.get(service, frozenset())
            if share and not pods:
                shares.append(("", share, f"the router knows no pod of {service}"))
            elif share:
                for pod in sorted(pods):
                    why = "" if pod in self._serving else f"{self._pods[pod].labels['pod']} of {service} serves no more"
                    shares.append((pod, share / len(pods), why))
        return shares

    def _serve(self, pod: _Pod, requests: float) -> None:
        version = self.versions.setdefault(pod.tag, Version())
        pod.requests += requests
        pod.errors += requests * version.errors
        pod.slow += requests * version.slow
        self.served[pod.tag] = self.served.get(pod.tag, 0.0) + requests

    def _scrape(self) -> None:
        self._count()
        for uid in self._serving:
            pod = self._pods[uid]
            for metric, value, more in (
                ("api_request_total", pod.requests - pod.errors, {"code": "200"}),
                ("api_request_total", pod.errors, {"code": "500"}),
                ("api_errors_total", pod.errors, {}),
                ("api_request_duration_seconds_count", pod.requests, {}),
                ("api_request_duration_seconds_bucket", pod.requests - pod.slow, {"le": "0.5"}),
                ("api_request_duration_seconds_bucket", pod.requests, {"le": "+Inf"}),
            ):
                if value >= 1 or metric == "api_errors_total":  # exported from 0 on
                    self.metrics.scraped(metric, {**pod.labels, **more}, float(int(value)))
