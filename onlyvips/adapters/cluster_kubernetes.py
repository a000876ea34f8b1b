"""Kubernetes objects over the apiserver's REST interface, as plain JSON: ``ports.Cluster``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from onlyvips.adapters.session_kubernetes import KubernetesSession, checked
from onlyvips.errors import Permanent
from onlyvips.ports import Manifest

_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Service": "/api/v1/namespaces/{ns}/services",
    "Pod": "/api/v1/namespaces/{ns}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{ns}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{ns}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{ns}/daemonsets",
    "ReplicaSet": "/apis/apps/v1/namespaces/{ns}/replicasets",
    "CronJob": "/apis/batch/v1/namespaces/{ns}/cronjobs",
    "Job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{ns}/httproutes",
}


class KubernetesCluster:
    """One namespace of one cluster. Every call has its own timeout; nothing is retried here."""

    def __init__(self, kubeconfig: Path | None, namespace: str) -> None:
        """Read ``kubeconfig``, or the pod's own service account when it is None. Raises Permanent when it cannot."""
        self.namespace = namespace
        self._session = KubernetesSession(kubeconfig)

    def get(self, kind: str, name: str) -> Manifest | None:
        """See ``ports.Cluster``."""
        status, body = self._session.ask("GET", self._path(kind, name))
        if status == 404 and isinstance(body, dict) and body.get("kind") == "Status" and "details" in body:
            return None
        return checked(status, body, f"read {kind} {name}")

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        """See ``ports.Cluster``."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        status, body = self._session.ask("GET", f"{self._path(kind)}?{urlencode({'labelSelector': selector})}")
        items: list[Manifest] = checked(status, body, f"list {kind}")["items"]
        return [{"kind": kind, **item} for item in sorted(items, key=lambda item: item["metadata"]["name"])]

    def create(self, manifest: Manifest) -> Manifest:
        """See ``ports.Cluster``."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        status, body = self._session.ask("POST", self._path(kind), manifest)
        return checked(status, body, f"create {kind} {name}")

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        """See ``ports.Cluster``."""
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        status, body = self._session.ask(
            "PATCH", self._path(kind, name), [test, *operations], "application/json-patch+json"
        )
        if status == 422 and _failed_test(body):
            status = 409
        return checked(status, body, f"change {kind} {name}")

    def delete(self, kind: str, name: str, version: str) -> None:
        """See ``ports.Cluster``."""
        options = {"propagationPolicy": "Background", "preconditions": {"resourceVersion": version}}
        status, body = self._session.ask("DELETE", self._path(kind, name), options)
        if status != 404:
            checked(status, body, f"delete {kind} {name}")

    def _path(self, kind: str, name: str = "") -> str:
        if kind not in _PATHS:
            raise Permanent(f"Kind {kind} is not one this program handles: {', '.join(sorted(_PATHS))}.")
        base = _PATHS[kind].format(ns=quote(self.namespace))
        return f"{base}/{quote(name)}" if name else base


def _failed_test(body: Any) -> bool:
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    return "testing value" in message or "test failed" in message or "the server rejected our request" in message
