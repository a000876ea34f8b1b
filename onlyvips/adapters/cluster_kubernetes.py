"""Kubernetes objects over the apiserver's REST interface, as plain JSON: ``ports.Cluster``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
import yaml
from kubernetes import client, config

from onlyvips.errors import Conflict, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Manifest

_PATHS = {
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Service": "/api/v1/namespaces/{ns}/services",
    "Pod": "/api/v1/namespaces/{ns}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{ns}/deployments",
    "Job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{ns}/httproutes",
}
_TIMEOUT = (3.0, 10.0)
_SLOW_DOWN = 429


class KubernetesCluster:
    """One namespace of one cluster. Every call has its own timeout; nothing is retried here."""

    def __init__(self, kubeconfig: Path | None, namespace: str) -> None:
        """Read ``kubeconfig``, or the pod's own service account when it is None. Raises Permanent when it cannot."""
        self.namespace = namespace
        configuration = client.Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        except (config.ConfigException, OSError, yaml.YAMLError, TypeError, ValueError, AttributeError) as error:
            what = f"the kubeconfig {kubeconfig}" if kubeconfig else "this pod's service account"
            # Without its cause: that may quote the file, and the file holds a token.
            raise Permanent(
                f"No access to the cluster: {what} cannot be used ({type(error).__name__}): nothing was changed; set "
                "KUBECONFIG, or correct endpoints.kubeconfig of this environment."
            ) from None
        configuration.retries = False
        self._api = client.ApiClient(configuration)

    def get(self, kind: str, name: str) -> Manifest | None:
        """See ``ports.Cluster``."""
        status, body = self._ask("GET", self._path(kind, name))
        if status == 404 and isinstance(body, dict) and body.get("kind") == "Status" and "details" in body:
            return None
        return _checked(status, body, f"read {kind} {name}")

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        """See ``ports.Cluster``."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        status, body = self._ask("GET", f"{self._path(kind)}?{urlencode({'labelSelector': selector})}")
        items: list[Manifest] = _checked(status, body, f"list {kind}")["items"]
        return [{"kind": kind, **item} for item in sorted(items, key=lambda item: item["metadata"]["name"])]

    def create(self, manifest: Manifest) -> Manifest:
        """See ``ports.Cluster``."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        status, body = self._ask("POST", self._path(kind), manifest)
        return _checked(status, body, f"create {kind} {name}")

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        """See ``ports.Cluster``."""
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        status, body = self._ask("PATCH", self._path(kind, name), [test, *operations], "application/json-patch+json")
        if status == 422 and _failed_test(body):
            status = 409
        return _checked(status, body, f"change {kind} {name}")

    def delete(self, kind: str, name: str, version: str) -> None:
        """See ``ports.Cluster``."""
        options = {"propagationPolicy": "Background", "preconditions": {"resourceVersion": version}}
        status, body = self._ask("DELETE", self._path(kind, name), options)
        if status != 404:
            _checked(status, body, f"delete {kind} {name}")

    def _path(self, kind: str, name: str = "") -> str:
        if kind not in _PATHS:
            raise Permanent(f"Kind {kind} is not one this program handles: {', '.join(sorted(_PATHS))}.")
        base = _PATHS[kind].format(ns=quote(self.namespace))
        return f"{base}/{quote(name)}" if name else base

    def _ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> tuple[int, Any]:
        headers = {"Content-Type": content, "Accept": "application/json"}
        request = self._api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(*request, _request_timeout=_TIMEOUT)
            data = response.read()
        except (urllib3.exceptions.HTTPError, client.ApiException, OSError) as error:
            raise _no_answer(self._api.configuration.host, method, path, error) from error
        return int(response.status), _parsed(data)


def _parsed(data: bytes) -> Any:
    """JSON, or the text of who answered in the apiserver's place: its own overload and proxies speak no JSON."""
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return {"message": data.decode(errors="replace").strip()}


def _no_answer(host: str, method: str, path: str, error: Exception) -> Exception:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    why = "nobody listens there" if refused else f"{type(error).__name__}: {str(error)[:160]}"
    asked = f"The Kubernetes API at {host} did not answer {method} {path.partition('?')[0]} ({why})"
    if method == "GET" or refused:
        return Transient(f"{asked}: nothing was changed by this; see that it is up and reachable.")
    return UnknownOutcome(f"{asked}: whether it was done is read back before anything else is written.")


def _failed_test(body: Any) -> bool:
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    return "testing value" in message or "test failed" in message or "the server rejected our request" in message


def _checked(status: int, body: Any, asked: str) -> Manifest:
    if status < 300 and isinstance(body, dict) and "metadata" in body:
        return body
    message = str(body.get("message", body))[:400] if isinstance(body, dict) else str(body)[:400]
    sentence = f"Kubernetes refused to {asked} ({status}): {message}"
    if status == 404 and message == "404 page not found":
        raise Permanent(f"Kubernetes cannot {asked}, for it has no such kind: install its CRD.")
    if status == 404 and not (isinstance(body, dict) and body.get("kind") == "Status"):
        raise Transient(
            f"Who was asked to {asked} does not answer as an apiserver does: see where the kubeconfig leads."
        )
    if status == 409:
        raise Conflict(sentence)
    if status == _SLOW_DOWN or (status >= 500 or status < 300) and asked.startswith(("read", "list")):
        raise Transient(sentence)
    if status >= 500 or status < 300:
        raise UnknownOutcome(sentence)
    raise Permanent(sentence)
