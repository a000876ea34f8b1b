"""The node itself: registers, renews its lease, binds what is pending, and lives each bound pod."""

import asyncio
import datetime
import logging

from node.api import Object, Refused
from node.pod import Lab, Pod
from node.status import moment

log = logging.getLogger("node")

CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "250"}
LEASE_SECONDS = 40


class Node:
    """One node with every pod of the cluster on it."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.api, self.name, self.begun = lab, lab.api, name, moment()
        self.pods: dict[str, Pod] = {}
        self.binding: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """For ever. Cancelled, it takes its pods with it."""
        await self._register()
        door = await self.lab.block.serve_health()
        log.info("node %s at %s", self.name, self.lab.block.own)
        self._spawn(self._heartbeat(), "heartbeat")
        try:
            async for kind, what in self.api.follow("/api/v1/pods"):
                if kind == "LISTED":
                    self._listed(what)
                else:
                    self._notice(kind, what)
        finally:
            door.close()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def _spawn(self, coroutine, name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("%s broke", task.get_name(), exc_info=task.exception())

    # Pods

    def _listed(self, pods: list[Object]) -> None:
        """All pods there are. Those with an address first, so that no new pod is given it."""
        for uid in set(self.pods) - {pod["metadata"]["uid"] for pod in pods}:
            self.pods.pop(uid).vanish()
        for pod in sorted(pods, key=lambda pod: not pod.get("status", {}).get("podIP")):
            self._notice("ADDED", pod)

    def _notice(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            if known := self.pods.pop(uid, None):
                known.vanish()
        elif uid in self.pods:
            self.pods[uid].notice(pod)
        elif pod["spec"].get("nodeName") == self.name:
            self.pods[uid] = Pod(self.lab, pod)
            self._spawn(self.pods[uid].live(), f"pod {pod['metadata']['name']}")
        elif not pod["spec"].get("nodeName") and uid not in self.binding:
            self.binding.add(uid)
            self._spawn(self._bind(pod), f"binding of {pod['metadata']['name']}")

    async def _bind(self, pod: Object) -> None:
        """Be the scheduler: there is one node to choose from."""
        metadata = pod["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name},
        }
        try:
            await self.api.create(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding", body)
        except Refused as refused:
            log.info("binding %s: %s", metadata["name"], refused)
        finally:
            self.binding.discard(metadata["uid"])

    # The node's own objects

    async def _register(self) -> None:
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": labels}}
        await self._create("/api/v1/nodes", body)
        await self._tell()

    async def _create(self, path: str, body: Object) -> None:
        try:
            await self.api.create(path, body)
        except Refused as refused:
            if refused.status != 409:
                raise

    async def _tell(self) -> None:
        """Ready, and how much there is."""
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the lab's node is running",
            "lastHeartbeatTime": moment(),
            "lastTransitionTime": self.begun,
        }
        status = {
            "conditions": [ready],
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "addresses": [
                {"type": "InternalIP", "address": self.lab.block.own},
                {"type": "Hostname", "address": self.name},
            ],
            "nodeInfo": _information(),
        }
        await self.api.patch(f"/api/v1/nodes/{self.name}/status", {"status": status})

    async def _heartbeat(self) -> None:
        """Renew the lease, without which the node's pods would be evicted. The status, too, is said again: the
        node-lifecycle controller marks a node that was silent, and does not take that back by itself."""
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS}
        while True:
            spec["renewTime"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            try:
                await self.api.patch(f"{path}/{self.name}", {"spec": spec})
                await self._tell()
                await asyncio.sleep(LEASE_SECONDS / 4)
            except Refused as refused:
                if refused.status != 404:
                    raise
                await asyncio.sleep(0.5)
                await self._lease(path, spec)

    async def _lease(self, path: str, spec: Object) -> None:
        """The namespace of leases is made by the apiserver, a moment after it starts."""
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}, "spec": spec}
        try:
            await self._create(path, body)
        except Refused as refused:
            log.info("lease: %s", refused)


def _information() -> dict[str, str]:
    unknown = dict.fromkeys(("bootID", "kernelVersion", "machineID", "osImage", "systemUUID", "kubeProxyVersion"), "")
    return unknown | {
        "architecture": "amd64",
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": "v1.34.4",
        "operatingSystem": "linux",
    }
