"""What a container is given by the cluster: environment variables and mounted files.

There is no chroot here, so a mount path lies below the pod's own directory, which the process finds in `POD_ROOT`.
Where a path of a mount is written in a command, an argument or a literal variable, it is rewritten to lie there, so
that production's manifests work as they are; a text that names `POD_ROOT` itself is left alone, and a program with the
path compiled in must look at `POD_ROOT`.
Values of Secrets go into the environment or into files of mode 0600; never into arguments or logs.
"""

import base64
import re
from pathlib import Path
from typing import Any

import yaml

from node.api import Api, Object, Refused


class Missing(Exception):
    """A ConfigMap, Secret or key the pod needs is not there (yet): the pod waits, saying so."""


async def _data(api: Api, namespace: str, plural: str, name: str, optional: bool) -> dict[str, bytes]:
    """The content of a ConfigMap or Secret."""
    try:
        thing = await api.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
    except Refused as refused:
        if refused.status == 404 and optional:
            return {}
        raise Missing(f"{plural[:-1]} {name!r}: {'not found' if refused.status == 404 else refused}") from None
    encoded = thing.get("binaryData", {}) if plural == "configmaps" else thing.get("data", {})
    plain = thing.get("data", {}) if plural == "configmaps" else {}
    return {k: base64.b64decode(v) for k, v in encoded.items()} | {k: v.encode() for k, v in plain.items()}


def _field(pod: Object, address: str, host: str, path: str) -> str:
    """The downward API."""
    metadata, spec = pod["metadata"], pod["spec"]
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(metadata.get(match[1], {}).get(match[2], ""))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": host,
    }
    if path not in known:
        raise Missing(f"fieldRef {path!r} is not done in the lab")
    return str(known[path])


class Inputs:
    """The inputs of one pod: where its files lie and what it may read."""

    def __init__(self, api: Api, pod: Object, root: Path, address: str, host: str) -> None:
        self.api, self.pod, self.root, self.address, self.host = api, pod, root, address, host
        self.namespace = pod["metadata"]["namespace"]

    # Environment

    async def environment(self, container: Object, base: dict[str, str]) -> dict[str, str]:
        """envFrom, then env, over what the node gives to all; `$(NAME)` means what was set before."""
        result = dict(base)
        for source in container.get("envFrom", ()):
            result |= await self._all_of(source)
        for variable in container.get("env", ()):
            value = await self._value(container, variable, result)
            if value is not None:
                result[variable["name"]] = value
        return result

    async def _all_of(self, source: Object) -> dict[str, str]:
        prefix = source.get("prefix", "")
        plural, reference = (
            ("secrets", source["secretRef"]) if "secretRef" in source else ("configmaps", source["configMapRef"])
        )
        data = await _data(self.api, self.namespace, plural, reference["name"], reference.get("optional", False))
        return {prefix + key: value.decode() for key, value in data.items()}

    async def _value(self, container: Object, variable: Object, known: dict[str, str]) -> str | None:
        source = variable.get("valueFrom")
        if not source:
            return self.relocate(container, expand(variable.get("value", ""), known))
        if "fieldRef" in source:
            return _field(self.pod, self.address, self.host, source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            raise Missing("resourceFieldRef is not done in the lab")
        plural, key = ("secrets", "secretKeyRef") if "secretKeyRef" in source else ("configmaps", "configMapKeyRef")
        reference = source[key]
        optional = reference.get("optional", False)
        data = await _data(self.api, self.namespace, plural, reference["name"], optional)
        if reference["key"] not in data and not optional:
            raise Missing(f"{plural[:-1]} {reference['name']!r} has no key {reference['key']!r}")
        return data[reference["key"]].decode() if reference["key"] in data else None

    def relocate(self, container: Object, text: str) -> str:
        """The same text with each mount path where it lies on this machine."""
        if "POD_ROOT" in text:
            return text
        for mount in container.get("volumeMounts", ()):
            path = mount["mountPath"].rstrip("/")
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?=$|[/\s'\":;,])", lambda _, p=path: f"{self.root}{p}", text)
        return text

    # Files

    async def mount(self) -> None:
        """Write every volume, then lay each container's mounts as links to them."""
        for volume in self.pod["spec"].get("volumes", ()):
            directory = self.root / "volumes" / volume["name"]
            directory.mkdir(parents=True, exist_ok=True)
            await self._fill(directory, volume)
        for container in [*self.pod["spec"].get("initContainers", ()), *self.pod["spec"]["containers"]]:
            for mount in container.get("volumeMounts", ()):
                target = self.root / "volumes" / mount["name"] / mount.get("subPath", "")
                link = self.root / mount["mountPath"].lstrip("/")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(target)

    async def _fill(self, directory: Path, volume: Object) -> None:
        """One volume; what the lab cannot do is said, not skipped."""
        if "configMap" in volume:
            await self._files(directory, "configmaps", volume["configMap"], volume["configMap"]["name"])
        elif "secret" in volume:
            await self._files(directory, "secrets", volume["secret"], volume["secret"]["secretName"])
        elif "projected" in volume:
            for source in volume["projected"]["sources"]:
                await self._project(directory, source)
        elif "downwardAPI" in volume:
            self._downward(directory, volume["downwardAPI"])
        elif "emptyDir" not in volume:
            raise Missing(f"volume {volume['name']!r}: {' '.join(set(volume) - {'name'})} is not done in the lab")

    async def _project(self, directory: Path, source: Object) -> None:
        if "configMap" in source:
            await self._files(directory, "configmaps", source["configMap"], source["configMap"]["name"])
        elif "secret" in source:
            await self._files(directory, "secrets", source["secret"], source["secret"]["name"])
        elif "downwardAPI" in source:
            self._downward(directory, source["downwardAPI"])
        else:
            raise Missing(f"projected {' '.join(source)} is not done in the lab: use the pod's KUBECONFIG")

    def _downward(self, directory: Path, source: Object) -> None:
        for item in source.get("items", ()):
            value = _field(self.pod, self.address, self.host, item["fieldRef"]["fieldPath"])
            write(directory / item["path"], value.encode())

    async def _files(self, directory: Path, plural: str, source: Object, name: str) -> None:
        data = await _data(self.api, self.namespace, plural, name, source.get("optional", False))
        chosen = source.get("items") or [{"key": key, "path": key} for key in data]
        for item in chosen:
            if item["key"] not in data:
                raise Missing(f"{plural[:-1]} {name!r} has no key {item['key']!r}")
            executable = item.get("mode", source.get("defaultMode", 0)) & 0o100
            write(directory / item["path"], data[item["key"]], 0o600 | executable)

    # Identity

    async def kubeconfig(self) -> Path | None:
        """A kubeconfig with a token of the pod's service account, so that RBAC decides what it may do. A pod that names
        no account gets none: the lab's apiserver runs without the admission that would give it `default`."""
        account = self.pod["spec"].get("serviceAccountName")
        if not account or self.pod["spec"].get("automountServiceAccountToken") is False:
            return None
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        try:
            answer = await self.api.create(path, {"spec": {"expirationSeconds": 86400}})
        except Refused as refused:
            raise Missing(f"a token of service account {account!r}: {refused}") from None
        cluster: dict[str, Any] = {"server": self.api.cluster["server"]}
        if self.api.authority:
            cluster["certificate-authority-data"] = base64.b64encode(self.api.authority).decode()
        elif self.api.cluster.get("insecure-skip-tls-verify"):
            cluster["insecure-skip-tls-verify"] = True
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "pod", "namespace": self.namespace}}],
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "pod", "user": {"token": answer["status"]["token"]}}],
        }
        write(self.root / "kubeconfig", yaml.safe_dump(document).encode())
        return self.root / "kubeconfig"


def expand(text: str, known: dict[str, str]) -> str:
    """`$(NAME)` as Kubernetes does it: unknown names stay as they are, `$$(NAME)` is `$(NAME)`."""
    return re.sub(
        r"\$(\$\([\w.-]+\))|\$\(([\w.-]+)\)",
        lambda match: match[1] or known.get(match[2], match[0]),
        text,
    )


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A file nobody else may read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_bytes(content)
    path.chmod(mode)
