"""Live objects of any kind, found by the apiserver's own discovery: ``ports.configuration.Inventory``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

from onlyvips.adapters.session_kubernetes import KubernetesSession, checked
from onlyvips.core.kinds import KindName
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Manifest
from onlyvips.ports.configuration import Served

_GONE, _FORBIDDEN, _SLOW_DOWN = 410, 403, 429


class KubernetesInventory:
    """One namespace of one cluster; lists come in pages of ``page`` objects."""

    def __init__(self, kubeconfig: Path | None, namespace: str, page: int = 500) -> None:
        """Read ``kubeconfig``, or the pod's own service account when it is None. Raises Permanent when it cannot."""
        self._namespace, self._page = namespace, page
        self._session = KubernetesSession(kubeconfig)

    def describe(self) -> dict[str, str]:
        """See ``ports.configuration.Inventory``."""
        status, body = self._session.ask("GET", "/version")
        if status >= 300 or not isinstance(body, dict) or "gitVersion" not in body:
            raise Transient(f"Who was asked for Kubernetes' version answered {status}: see where the kubeconfig leads.")
        return {"dialect": "kubernetes", "version": str(body["gitVersion"]), "namespace": self._namespace}

    def served(self, kinds: Sequence[KindName]) -> list[Served]:
        """See ``ports.configuration.Inventory``."""
        groups, known = self._groups(), dict[str, dict[str, Any]]()
        found, wrong = list[Served](), list[str]()
        for one in kinds:
            api, resource = self._find(one, groups, known)
            if resource is None:
                wrong.append(f"it has no {one}: install its CRD, or leave it out")
            elif not resource["namespaced"]:
                wrong.append(f"{one} is not in namespaces")
            else:
                found.append(Served(api, one.kind, str(resource["name"])))
        wrong += [
            f"it does not let us list {one.kind} in {self._namespace}" for one in found if not self._may_list(one)
        ]
        if wrong:
            told = "; ".join(wrong)
            raise Refused(
                f"The cluster cannot give what backup.configuration.kinds asks for: {told}. Nothing was read."
            )
        return found

    def objects(self, kind: Served) -> list[Manifest]:
        """See ``ports.configuration.Inventory``."""
        found = [{**item, "apiVersion": kind.api, "kind": kind.kind} for page in self._pages(kind) for item in page]
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))

    def _pages(self, kind: Served) -> Iterator[list[Manifest]]:
        """Pages of one list are of one resourceVersion; where they are not, nobody may put them together."""
        asked, version, more = f"list {kind.kind}", "", ""
        while True:
            status, body = self._session.ask("GET", self._path(kind, limit=self._page, more=more))
            if status == _GONE:
                raise Transient(f"The list of {kind.kind} was older than the cluster keeps before all of it was read.")
            answer = checked(status, body, asked)["metadata"]
            if version and answer.get("resourceVersion") != version:
                raise Transient(f"Two pages of the list of {kind.kind} are not of one moment: it is to be read again.")
            version, more = str(answer.get("resourceVersion")), str(answer.get("continue") or "")
            yield body.get("items") or []
            if not more:
                return

    def _may_list(self, kind: Served) -> bool:
        status, body = self._session.ask("GET", self._path(kind, limit=1))
        if status == _FORBIDDEN:
            return False
        checked(status, body, f"list {kind.kind}")
        return True

    def _path(self, kind: Served, limit: int, more: str = "") -> str:
        asked = {"limit": limit, **({"continue": more} if more else {})}
        return f"{_root(kind.api)}/namespaces/{quote(self._namespace)}/{kind.plural}?{urlencode(asked)}"

    def _groups(self) -> dict[str, list[str]]:
        """The versions of each group, the one that the server prefers first."""
        status, body = self._session.ask("GET", "/apis")
        if status >= 300 or not isinstance(body, dict) or "groups" not in body:
            _cannot(status, body, "say which API groups it has")
        found = {"": ["v1"]}
        for one in body["groups"]:
            every = (one["preferredVersion"], *one["versions"])
            found[one["name"]] = list(dict.fromkeys(str(version["version"]) for version in every))
        return found

    def _find(
        self, one: KindName, groups: Mapping[str, Sequence[str]], known: dict[str, dict[str, Any]]
    ) -> tuple[str, dict[str, Any] | None]:
        """Where a kind is, in the version that is asked for, else in the first that has it: not every version of a
        group has each of its kinds."""
        for version in [one.version] if one.version else groups.get(one.group, ()):
            api = "/".join(part for part in (one.group, version) if part)
            if api not in known:
                known[api] = self._resources(api)
            if one.kind in known[api]:
                return api, known[api][one.kind]
        return "", None

    def _resources(self, api: str) -> dict[str, dict[str, Any]]:
        """What a group's version has, by kind; nothing where the server has no such version."""
        status, body = self._session.ask("GET", _root(api))
        if status == 404:
            return {}
        if status >= 300 or not isinstance(body, dict) or "resources" not in body:
            _cannot(status, body, f"say what {api} has")
        return {one["kind"]: one for one in body["resources"] if "/" not in one["name"] and "list" in one["verbs"]}


def _root(api: str) -> str:
    return f"/apis/{api}" if "/" in api else f"/api/{api}"


def _cannot(status: int, body: Any, asked: str) -> NoReturn:
    message = str(body.get("message", body))[:400] if isinstance(body, dict) else str(body)[:400]
    sentence = f"Kubernetes did not {asked} ({status}): {message}"
    raise (Transient if status == _SLOW_DOWN or status >= 500 or status < 300 else Permanent)(sentence)
