"""Flagger on the same cluster, behind the same gateway and the same Prometheus, beside our canary: how soon a version
that turns bad has no weight any more, and how many bad answers were served until then.

Flagger looks every ten seconds at the most often, so our looks are ten seconds apart here, too. Each gets a Deployment
of six pods and all of the load; the share of errors that is too much is the same, 5 %.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from tests.bench.measure import Failed, end
from tests.bench.programs import flagger
from tests.bench.rollback import SHARES, WEIGHTS, Back, Watch, a_lab, looked_at, spread, traffic, turn_bad
from tests.system.platform import Platform

NAME, VERSION = "peer", "v2"
LOOK = 10
"""Seconds: Flagger takes no less."""
LIMIT = 5
"""Percent of errors, as the lab's environment says."""
OURS, FLAGGER = "ours", "Flagger"
_PATIENCE = 180.0


@dataclass(frozen=True)
class Row:
    """One way back of one of the two."""

    who: str
    back: Back


def measure(rounds: int, console: Console) -> list[Row]:
    """Both by turns, for every share of errors at every weight."""
    rows, programs = [], flagger(console)
    with a_lab(console) as platform, _controller(platform, programs, platform.folder) as kubectl:
        for number in range(1, rounds + 1):
            for share in SHARES:
                for weight in WEIGHTS:
                    console.print(f"flagger: round {number} of {rounds}, {share:.0%} errors at {weight} % …")
                    rows.append(Row(OURS, turn_bad(platform, share, weight, look=f"{LOOK}s")))
                    rows.append(Row(FLAGGER, _turn_bad(platform, kubectl, share, weight)))
    return rows


class _Kubectl:
    def __init__(self, platform: Platform) -> None:
        config = platform.lab.env["ONLYVIPS_LAB_KUBECONFIG"]
        self._command = [str(platform.lab.bin / "kubectl"), "--kubeconfig", config, "-n", "production"]

    def __call__(self, *words: str, given: str = "") -> str:
        done = subprocess.run([*self._command, *words], input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make or change them."""
        self("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(objects))

    def phase(self) -> str:
        """Of Flagger's canary."""
        status = json.loads(self("get", "canary", NAME, "-o", "json")).get("status") or {}
        return str(status.get("phase", ""))


@contextmanager
def _controller(platform: Platform, folder: Path, logs: Path) -> Iterator[_Kubectl]:
    """Flagger, with a Deployment of its own that runs v1."""
    kubectl = _Kubectl(platform)
    kubectl("apply", "--server-side", "-f", str(folder / "crd.yaml"))
    env = platform.lab.env
    kubectl.apply(_deployment(0), _metric(env["ONLYVIPS_LAB_PROMETHEUS_URL"]))
    options = {
        "kubeconfig": env["ONLYVIPS_LAB_KUBECONFIG"],
        "metrics-server": env["ONLYVIPS_LAB_PROMETHEUS_URL"],
        "mesh-provider": "gatewayapi:v1",
        "namespace": "production",
        "port": "0",
        "log-level": "info",
    }
    command = [str(folder / "bin" / "flagger"), *(f"-{name}={value}" for name, value in options.items())]
    with (logs / "flagger.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            kubectl.apply(_canary(WEIGHTS[0]))
            _until(kubectl, "Initialized")
            yield kubectl
        finally:
            end([process])


def _deployment(revision: int) -> dict[str, Any]:
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": f"ghcr.io/onlyvips/backend:{VERSION if revision else 'v1'}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    notes = {"prometheus.io/port": "8080", "revision": str(revision)}
    spec = {"terminationGracePeriodSeconds": 5, "containers": [container]}
    template = {"metadata": {"labels": labels, "annotations": notes}, "spec": spec}
    head = {"name": NAME, "namespace": "production", "labels": labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": head,
        "spec": {"replicas": 6, "selector": {"matchLabels": labels}, "template": template},
    }


def _metric(prometheus: str) -> dict[str, Any]:
    """Percent of errors of the canary's own pods, by their names as Flagger's documentation tells them apart."""
    pods = '{pod=~"{{ target }}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"}[{{ interval }}]'
    query = f"100 * sum(rate(api_errors_total{pods})) / sum(rate(api_request_total{pods}))"
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": "errors", "namespace": "production"},
        "spec": {"provider": {"type": "prometheus", "address": prometheus}, "query": query},
    }


def _canary(weight: int) -> dict[str, Any]:
    """Goes to ``weight``, and is held there by a gate that nobody opens; looked at all the while."""
    gate = {"name": "held", "type": "confirm-promotion", "url": "http://127.0.0.1:1/", "timeout": "1s"}
    metric = {"name": "errors", "templateRef": {"name": "errors"}, "interval": f"{LOOK}s"}
    analysis = {
        "interval": f"{LOOK}s",
        "threshold": 1,
        "stepWeight": weight,
        "maxWeight": weight,
        "metrics": [{**metric, "thresholdRange": {"max": LIMIT}}],
        "webhooks": [gate],
    }
    service = {
        "port": 80,
        "targetPort": 8080,
        "gatewayRefs": [{"name": "onlyvips", "namespace": "production"}],
        "match": [{"uri": {"prefix": f"/{NAME}"}}],
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": NAME, "namespace": "production"},
        "spec": {"targetRef": target, "service": service, "analysis": analysis},
    }


def _until(kubectl: _Kubectl, wanted: str) -> None:
    until = time.monotonic() + _PATIENCE
    while (phase := kubectl.phase()) != wanted:
        if time.monotonic() > until:
            raise Failed(f"Flagger's canary is {phase or 'nothing yet'} and not {wanted}.")
        time.sleep(0.2)


def _turn_bad(platform: Platform, kubectl: _Kubectl, share: float, weight: int) -> Back:
    """As ``rollback.turn_bad``, by Flagger."""
    platform.fault(VERSION, "--clear")
    kubectl.apply(_canary(weight))
    cluster = platform.cluster

    def weighed() -> int:
        route = cluster.get("HTTPRoute", NAME)
        assert route is not None
        shares = route["spec"]["rules"][0]["backendRefs"]
        return sum(one["weight"] for one in shares if one["name"].endswith("-canary"))

    with traffic(platform, f"/{NAME}/tasks") as counts:
        kubectl.apply(_deployment(time.time_ns()))
        _until(kubectl, "Progressing")
        _until(kubectl, "WaitingPromotion")  # a look at that weight was good, and the gate holds it there
        with looked_at(Watch(platform, weighed)) as watch:
            platform.fault(VERSION, "--error-rate", str(share))
            _until(kubectl, "Failed")
            counted = counts()
    return watch.back(share, weight, counted)


def facts(rows: list[Row]) -> list[dict[str, Any]]:
    """For machines."""
    return [{"who": row.who, **asdict(row.back)} for row in rows]


def show(rows: list[Row], console: Console) -> None:
    """A table for people."""
    table = Table(title=f"A version that turns bad in mid-stage, looks {LOOK} s apart; median (least to most)")
    heads = ("errors", "weight", "who", "s to weight 0", "s to the last bad answer", "bad answers", "lost requests")
    for head in heads:
        table.add_column(head, justify="left" if head == "who" else "right")
    for share in SHARES:
        for weight in WEIGHTS:
            for who in (OURS, FLAGGER):
                found = [row.back for row in rows if (row.who, row.back.share, row.back.weight) == (who, share, weight)]
                seconds = spread([one.seconds for one in found]), spread([one.last for one in found])
                bad, lost = spread([one.bad for one in found], 0), str(sum(one.lost for one in found))
                table.add_row(f"{share:.0%}", f"{weight} %", who, *seconds, bad, lost)
    console.print(table)
