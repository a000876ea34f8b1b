"""Tells Prometheus which pods there are, in the words of its own `kubernetes_sd` (role pod).

Debian builds Prometheus without that mechanism, and building it costs minutes; asked by `http_sd` each second, this
gives the same `__meta_kubernetes_pod_*` labels, so the relabelling is production's. While the apiserver is away it
answers 503, and Prometheus keeps the targets it has.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from cluster import NAMESPACE, connect
from home import Home, Settings

PREFIX = "__meta_kubernetes_"


def targets(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One target per pod that has an address and names its port."""
    return [target(pod) for pod in pods if pod["status"].get("podIP") and port(pod)]


def port(pod: dict[str, Any]) -> str:
    """The port at which the pod wants to be scraped, or nothing."""
    return pod["metadata"].get("annotations", {}).get("prometheus.io/port", "")


def target(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod as Prometheus' discovery describes it."""
    metadata, address = pod["metadata"], pod["status"]["podIP"]
    labels = {
        f"{PREFIX}namespace": metadata["namespace"],
        f"{PREFIX}pod_name": metadata["name"],
        f"{PREFIX}pod_uid": metadata["uid"],
        f"{PREFIX}pod_ip": address,
        f"{PREFIX}pod_phase": pod["status"].get("phase", ""),
        f"{PREFIX}pod_node_name": pod["spec"].get("nodeName", ""),
    }
    for kind in ("labels", "annotations"):
        for key, value in metadata.get(kind, {}).items():
            labels[f"{PREFIX}pod_{kind[:-1]}_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}"] = value
    return {"targets": [f"{address}:{port(pod)}"], "labels": labels}


def serve(home: Home, settings: Settings) -> None:
    """Answer until killed."""
    api = connect(home, settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer = api.get(f"/api/v1/namespaces/{NAMESPACE}/pods", params={"resourceVersion": "0"})
                status, body = 200, json.dumps(targets(answer.raise_for_status().json()["items"])).encode()
            except httpx.HTTPError as error:
                status, body = 503, str(error).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: Any) -> None:
            """One line a second would say nothing."""

    ThreadingHTTPServer(("127.0.0.1", settings.ports["discovery"]), Handler).serve_forever()
