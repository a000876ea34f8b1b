"""One pod, from the moment it is bound to this node until it is deleted."""

import asyncio
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from node import leftovers, status
from node.addresses import Block
from node.api import STRATEGIC, Api, Object, Refused
from node.container import Container
from node.images import Images
from node.inputs import Inputs, Missing

log = logging.getLogger("node.pod")


@dataclass(frozen=True)
class Lab:
    """What all pods share."""

    api: Api
    home: Path
    images: Images
    python: Path
    block: Block

    def environment(self, pod: Object, container: Object, root: Path, address: str) -> dict[str, str]:
        """What every process gets. Not the node's own environment: a pod has only what it is given."""
        ports = container.get("ports", ())
        search = (self.python.parent, self.images.places["bin"], "/usr/local/bin", "/usr/bin", "/bin")
        return {
            "PATH": ":".join(map(str, search)),
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "LANG": "C.UTF-8",
            "HOSTNAME": pod["metadata"]["name"],
            "POD_NAME": pod["metadata"]["name"],
            "POD_NAMESPACE": pod["metadata"]["namespace"],
            "POD_ROOT": str(root),
            "POD_IP": address,
            "FAULTS_FILE": str(self.home / "faults.json"),
        } | ({"PORT": str(ports[0]["containerPort"])} if ports else {})


class Pod:
    """A pod's life: run the containers, report what becomes of them, stop when told, then let the object go."""

    def __init__(self, lab: Lab, pod: Object) -> None:
        self.lab, self.pod = lab, pod
        metadata, spec, before = pod["metadata"], pod["spec"], pod.get("status", {})
        self.name, self.uid = metadata["name"], metadata["uid"]
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{self.name}"
        self.over = before.get("phase") in ("Succeeded", "Failed")
        self.address = before.get("podIP", "") if self.over else lab.block.allocate(before.get("podIP"))
        self.begun = before.get("startTime") or status.moment()
        self.told: Object = {}
        self.known = before.get("conditions", [])
        self.deleting, self.vanished, self.dirty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.telling = asyncio.Lock()
        self.root = lab.home / "pods" / self.uid
        self.inputs = Inputs(lab.api, pod, self.root, self.address, lab.block.own)
        policy = spec.get("restartPolicy", "Always")
        self.containers = [self._container(entry, policy) for entry in spec["containers"]]
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self.inits = [self._container(entry, init_policy) for entry in spec.get("initContainers", ())]
        self.notice(pod)

    def _container(self, spec: Object, policy: str) -> Container:
        base = self.lab.environment(self.pod, spec, self.root, self.address)
        output = self.lab.home / "logs" / "pods" / f"{self.name}.log"
        container = Container(spec, policy, self.inputs, self.lab.images, base, output)
        container.changed = self.dirty.set
        before = self.pod.get("status", {})
        for previous in [*before.get("containerStatuses", ()), *before.get("initContainerStatuses", ())]:
            if previous["name"] == spec["name"]:
                container.recall(previous)
        return container

    @property
    def grace(self) -> float:
        """How long it may take to stop."""
        return float(self.pod["metadata"].get("deletionGracePeriodSeconds", 30))

    def notice(self, pod: Object) -> None:
        """The object changed."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self.deleting.set()

    def vanish(self) -> None:
        """The object is gone, perhaps by force: no grace."""
        self.vanished.set()
        self.deleting.set()
        for container in [*self.containers, *self.inits]:
            container.kill()

    async def live(self) -> None:
        """The whole life."""
        reporter = asyncio.create_task(self._report())
        try:
            if not self.over:
                await self._run()
                await self._tell()
            await self.deleting.wait()
            if not self.vanished.is_set():
                await self._let_go()
        finally:
            reporter.cancel()
        await self.vanished.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    async def _run(self) -> None:
        """Until the containers are done or the pod is to go."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        work = asyncio.create_task(self._work())
        asked = asyncio.create_task(self.deleting.wait())
        try:
            await asyncio.wait([work, asked], return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and not work.done():
                grace = 0 if self.vanished.is_set() else self.grace
                await asyncio.gather(*(container.stop(grace) for container in [*self.containers, *self.inits]))
                await asyncio.wait([work], timeout=0.2)
        finally:
            asked.cancel()
            work.cancel()
            await asyncio.wait([work])
            leftovers.sweep(self.root)
            self.lab.block.release(self.address)
        if not work.cancelled():
            work.result()
        self.over = True

    async def _work(self) -> None:
        await self._inputs()
        for container in self.inits:
            if await container.run() != 0:
                return
        await asyncio.gather(*(container.run() for container in self.containers))

    async def _inputs(self) -> None:
        """Volumes and identity, as soon as what they are made of is there."""
        self.dirty.set()
        while True:
            try:
                await self.inputs.mount()
                kubeconfig = await self.inputs.kubeconfig()
            except Missing as missing:
                for container in self.containers:
                    container.state = {"waiting": {"reason": "ContainerCreating", "message": str(missing)}}
                self.dirty.set()
                await asyncio.sleep(1)
                continue
            for container in [*self.containers, *self.inits]:
                container.base |= {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
            return

    async def _report(self) -> None:
        while True:
            await self.dirty.wait()
            await self._tell()

    async def _tell(self) -> None:
        """Patch the status when it is not what was told last; the uid makes sure that it is this pod's."""
        async with self.telling:
            self.dirty.clear()
            current = self._status()
            if current == self.told or self.vanished.is_set():
                return
            self.told, self.known = current, current["conditions"]
            addresses = [{"ip": self.address}, {"$patch": "replace"}]
            body = {"metadata": {"uid": self.uid}, "status": current | {"podIPs": addresses}}
            try:
                await self.lab.api.patch(f"{self.path}/status", body, STRATEGIC)
            except Refused as refused:
                log.info("%s: status refused: %s", self.name, refused)

    def _status(self) -> Object:
        phase = status.phase(self.containers, self.inits, self.over)
        return {
            "phase": phase,
            "hostIP": self.lab.block.own,
            "podIP": self.address,
            "startTime": self.begun,
            "conditions": status.conditions(self.containers, self.inits, phase, self.known),
            "containerStatuses": [status.of_container(container) for container in self.containers],
            "initContainerStatuses": [status.of_container(container) for container in self.inits],
        }

    async def _let_go(self) -> None:
        """Let the apiserver drop the object: its processes are gone. A finalizer may hold it a while longer."""
        await self.lab.api.remove(self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
