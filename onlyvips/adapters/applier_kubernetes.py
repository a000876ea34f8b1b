"""Objects written back over the apiserver's REST interface: ``ports.configuration.Applier``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from onlyvips.adapters.session_kubernetes import KubernetesSession, checked
from onlyvips.errors import Conflict
from onlyvips.ports import Manifest
from onlyvips.ports.configuration import Served

MANAGER = "onlyvips-restore"
_BY = re.compile(r'conflict with "(?P<manager>[^"]+)"')


class KubernetesApplier:
    """One namespace of one cluster."""

    def __init__(self, kubeconfig: Path | None, namespace: str) -> None:
        """Read ``kubeconfig``, or the pod's own service account when it is None. Raises Permanent when it cannot."""
        self._namespace = namespace
        self._session = KubernetesSession(kubeconfig)

    def owners(self, kind: Served, wanted: Manifest) -> Mapping[str, Sequence[str]]:
        """A server-side apply that is not forced, and not done: the server says whom it would take a field from."""
        body = _plain(kind, wanted)
        path = self._path(kind, _name(body), dry=True)
        status, answer = self._session.ask("PATCH", path, body, "application/apply-patch+yaml")
        causes = answer.get("details", {}).get("causes") if isinstance(answer, dict) else None
        if status != 409 or not causes:
            checked(status, answer, f"see who owns {kind.kind} {_name(body)}")
            return {}
        found: dict[str, list[str]] = {}
        for cause in causes:
            by = _BY.search(str(cause.get("message", "")))
            found.setdefault(by["manager"] if by else "somebody", []).append(str(cause.get("field", "")))
        return found

    def create(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        """See ``ports.configuration.Applier``."""
        body = _plain(kind, wanted)
        status, answer = self._session.ask("POST", self._path(kind, dry=dry), body)
        return _stored(kind, checked(status, answer, f"create {kind.kind} {_name(body)}"))

    def replace(self, kind: Served, wanted: Manifest, *, dry: bool) -> Manifest:
        """See ``ports.configuration.Applier``."""
        name = _name(wanted)
        status, answer = self._session.ask("PUT", self._path(kind, name, dry=dry), {**wanted, **_typed(kind)})
        if status == 404:
            raise Conflict(f"{kind.kind} {name} is gone, or its kind is: it was to be changed.")
        return _stored(kind, checked(status, answer, f"change {kind.kind} {name}"))

    def _path(self, kind: Served, name: str = "", *, dry: bool) -> str:
        root = f"/apis/{kind.api}" if "/" in kind.api else f"/api/{kind.api}"
        asked = urlencode({"fieldManager": MANAGER, **({"dryRun": "All"} if dry else {})})
        below = f"/{quote(name)}" if name else ""
        return f"{root}/namespaces/{quote(self._namespace)}/{kind.plural}{below}?{asked}"


def _plain(kind: Served, wanted: Manifest) -> Manifest:
    """Without what only a live object has."""
    dropped = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in dropped}
    return {**{key: value for key, value in wanted.items() if key != "status"}, **_typed(kind), "metadata": metadata}


def _stored(kind: Served, answer: Manifest) -> Manifest:
    return {**answer, **_typed(kind)}


def _typed(kind: Served) -> dict[str, Any]:
    return {"apiVersion": kind.api, "kind": kind.kind}


def _name(one: Manifest) -> str:
    return str(one["metadata"]["name"])
