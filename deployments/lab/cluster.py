"""The objects of the platform in the lab's cluster, made once; what was changed since is left alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from home import LAB, Home, Settings

NAMESPACE = "production"
MANIFESTS = LAB / "manifests"
AUTHOR = {"fieldManager": "kubectl-create"}  # as if a person had made them
Object = dict[str, Any]


def connect(home: Home, settings: Settings) -> httpx.Client:
    """A client of the apiserver with the administrator's token."""
    return httpx.Client(
        base_url=f"https://127.0.0.1:{settings.ports['apiserver']}",
        headers={"Authorization": f"Bearer {settings.secrets['admin-token']}"},
        verify=False,  # noqa: S501 (loopback, and the certificate is its own)
        trust_env=False,
        timeout=10,
    )


def create_platform(home: Home, settings: Settings, crds: Path) -> None:
    """CRDs, the namespace, its secrets and the sample manifests."""
    with connect(home, settings) as api:
        for item in read(sorted(crds.glob("*.yaml"))):
            create(api, item)
        for item in read([MANIFESTS / "namespace.yaml"]):
            create(api, item)
        for item in secrets(settings):
            create(api, item, replace=True)
        for item in read(sorted(MANIFESTS.glob("*.yaml"))):
            create(api, item)


def secrets(settings: Settings) -> Iterator[Object]:
    """The secrets that the samples refer to."""
    values = {
        "mongodb": {"uri": f"mongodb://127.0.0.1:{settings.ports['mongodb']}/"},
        "backend-jwt-v1": {"JWT_SECRET": settings.secrets["jwt-secret"]},
    }
    for name, data in values.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": data}


def read(paths: Iterable[Path]) -> Iterator[Object]:
    """All objects of YAML files."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in paths:
        yield from filter(None, yaml.load_all(path.read_text(), loader))


def create(api: httpx.Client, item: Object, *, replace: bool = False, patience: float = 20) -> None:
    """Create an object; one that exists stays as it is, unless it is to be replaced.

    A kind that is not served yet (its CRD is new) is asked for again for a while.
    """
    end = time.monotonic() + patience
    while True:
        answer = api.post(collection(item), params=AUTHOR, json=item)
        if answer.status_code == 409 and replace:
            answer = api.put(f"{collection(item)}/{item['metadata']['name']}", params=AUTHOR, json=item)
        if answer.is_success or answer.status_code == 409:
            return
        if answer.status_code not in {404, 429, 503} or time.monotonic() > end:
            raise httpx.HTTPError(f"{item['kind']} {item['metadata']['name']}: {answer.text.strip()}")
        time.sleep(0.1)


def collection(item: Object) -> str:
    """The API path under which objects of this kind are made."""
    version, kind = item["apiVersion"], item["kind"].lower()
    plural = kind + ("es" if kind.endswith("s") else "s")
    namespace = item["metadata"].get("namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/{'apis' if '/' in version else 'api'}/{version}{scope}/{plural}"


def await_deployments(home: Home, settings: Settings, patience: float = 60) -> None:
    """Return when every Deployment of the samples has all its pods ready, and the pods that run really answer.

    After a restart the pods' conditions are those of the lab before, until the node has run them again.
    """
    end = time.monotonic() + patience
    with connect(home, settings) as api:
        while waiting := [*unready_deployments(api), *silent_pods(api)]:
            if time.monotonic() > end:
                raise TimeoutError(f"not ready after {patience:.0f} s: {', '.join(waiting)}; see the node's log")
            time.sleep(0.2)


def await_gateway(home: Home, settings: Settings, admin: str, patience: float = 30) -> None:
    """Return when the gateway, which hears of pods late, sends to every pod that is ready."""
    end = time.monotonic() + patience
    while True:
        with connect(home, settings) as api:
            ready = [f"{pod['status']['podIP']}:{port}" for pod, port in serving_pods(api) if is_routed(pod)]
        state = httpx.get(f"{admin}/state", trust_env=False).text
        if not (missing := [address for address in ready if f'"{address}"' not in state]):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the gateway does not send to {', '.join(missing)}; see its log")
        time.sleep(0.2)


def is_routed(pod: Object) -> bool:
    """Whether the route leads to the pod: a canary may have no entry there yet."""
    conditions = pod["status"].get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and pod["metadata"]["labels"].get("track") == "stable"


def unready_deployments(api: httpx.Client) -> Iterator[str]:
    """Deployments of the samples that lack a ready pod; what somebody else made there may be as it likes."""
    own = {each["metadata"]["name"] for each in read(sorted(MANIFESTS.glob("*.yaml"))) if each["kind"] == "Deployment"}
    for item in items(api, "apis/apps/v1", "deployments"):
        if item["metadata"]["name"] not in own:
            continue
        status = item.get("status", {})
        observed = status.get("observedGeneration") == item["metadata"]["generation"]
        if not observed or status.get("readyReplicas", 0) < item["spec"]["replicas"]:
            yield item["metadata"]["name"]


def silent_pods(api: httpx.Client) -> Iterator[str]:
    """Running pods of the samples at whose port nobody listens."""
    for pod, port in serving_pods(api):
        try:
            socket.create_connection((pod["status"]["podIP"], port), timeout=1).close()
        except OSError:
            yield pod["metadata"]["name"]


def serving_pods(api: httpx.Client) -> Iterator[tuple[Object, int]]:
    """Pods that run and say at which port; not those that are done (a migration's), wait for an image, or leave."""
    for pod in items(api, "api/v1", "pods"):
        port = pod["metadata"].get("annotations", {}).get("prometheus.io/port")
        leaving = pod["metadata"].get("deletionTimestamp")
        if port and not leaving and pod["status"].get("phase") == "Running" and pod["status"].get("podIP"):
            yield pod, int(port)


def items(api: httpx.Client, group: str, plural: str) -> list[Object]:
    """All objects of a kind in the namespace."""
    return api.get(f"/{group}/namespaces/{NAMESPACE}/{plural}").raise_for_status().json()["items"]
