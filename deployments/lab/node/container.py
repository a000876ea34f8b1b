"""One container: prepared, run, watched by its probes, run again with back-off, stopped with grace."""

import asyncio
import logging
import signal
from dataclasses import dataclass, field
from pathlib import Path

from node.api import Object
from node.images import Images
from node.inputs import Inputs, Missing, expand
from node.probes import act, opinions
from node.process import Process
from node.status import moment

log = logging.getLogger("node.container")

# Kubernetes waits 10 s, doubling to 5 min, and forgives after 10 min. A lab's hour is a minute.
BACK_OFF_FIRST, BACK_OFF_MOST, FORGIVEN_AFTER = 1.0, 30.0, 60.0


class Unready(Exception):
    """The container cannot be started now; reason as kubectl shows it."""

    def __init__(self, reason: str, message: str, retry: float = 1.0) -> None:
        super().__init__(message)
        self.reason, self.retry = reason, retry


@dataclass(frozen=True)
class Start:
    """Everything a process needs."""

    argv: list[str]
    environment: dict[str, str] = field(repr=False)  # holds the values of Secrets
    directory: str


class Container:
    """A container and what the node reports of it."""

    def __init__(
        self, spec: Object, policy: str, inputs: Inputs, images: Images, base: dict[str, str], log: Path
    ) -> None:
        self.spec, self.policy, self.inputs, self.images, self.base, self.log = spec, policy, inputs, images, base, log
        self.state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: Object = {}
        self.restarts = 0
        self.ready = self.started = self.stopping = False
        self.image_id = ""
        self.process: Process | None = None
        self.environment: dict[str, str] = {}
        self.changed = lambda: None

    def recall(self, previous: Object) -> None:
        """Go on from what an earlier life of the node reported. A process it had is dead: all die with their node."""
        self.restarts, self.last_state = previous.get("restartCount", 0), previous.get("lastState", {})
        state = previous.get("state", {})
        if "terminated" in state:
            self.state = state
        if "running" in state:
            times = {"startedAt": state["running"]["startedAt"], "finishedAt": moment()}
            lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "the node restarted", **times}
            self.state = {"terminated": lost}

    @property
    def exit_code(self) -> int | None:
        """How it ended, while it is not running and not waiting to."""
        return self.state["terminated"]["exitCode"] if "terminated" in self.state else None

    def _again(self, code: int) -> bool:
        return self.policy == "Always" or (self.policy == "OnFailure" and code != 0)

    async def run(self) -> int:
        """Run it, and again as the restart policy says; the last exit code."""
        failures = 0
        while not self.stopping:
            if self.exit_code is not None:
                if not self._again(self.exit_code):
                    return self.exit_code
                failures += 1
                await self._back_off(failures)
            start = await self._prepared()
            clock = asyncio.get_running_loop().time
            began = clock()
            await self._once(start)
            failures = 0 if clock() - began > FORGIVEN_AFTER else failures
        return self.exit_code or 0

    async def _back_off(self, failures: int) -> None:
        """As the kubelet: the first restart at once, the next ones after ever longer waits."""
        self.last_state = self.state
        self.restarts += 1
        if failures > 1:
            delay = min(BACK_OFF_FIRST * 2 ** (failures - 2), BACK_OFF_MOST)
            self._wait("CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={self.spec['name']}")
            await asyncio.sleep(delay)

    async def _prepared(self) -> Start:
        """What to start, as soon as it can be known."""
        while True:
            try:
                return await self._prepare()
            except Unready as unready:
                self._wait(unready.reason, str(unready))
                await asyncio.sleep(unready.retry)
                if unready.reason == "ErrImagePull":
                    self._wait("ImagePullBackOff", f'Back-off pulling image "{self.spec["image"]}"')
                    await asyncio.sleep(BACK_OFF_MOST)

    async def _prepare(self) -> Start:
        program = self.images.resolve(self.spec["image"])
        if program is None:
            raise Unready("ErrImagePull", f'failed to resolve reference "{self.spec["image"]}": not found')
        if "postStart" in self.spec.get("lifecycle", {}):
            raise Unready("CreateContainerConfigError", "postStart is not done in the lab")
        try:
            self.environment = await self.inputs.environment(self.spec, self.base)
        except Missing as missing:
            raise Unready("CreateContainerConfigError", str(missing)) from None
        given = [
            self.inputs.relocate(self.spec, expand(word, self.environment))
            for word in [*self.spec.get("command", ()), *self.spec.get("args", ())]
        ]
        argv = given if self.spec.get("command") else [*program.command, *given]
        if not argv:
            raise Unready("CreateContainerError", f"no command specified: {self.spec['image']} has none of its own")
        self.image_id = program.digest
        directory = self.inputs.relocate(self.spec, self.spec.get("workingDir", ""))
        return Start(argv, self.environment, directory or program.directory or self.base["POD_ROOT"])

    async def _once(self, start: Start) -> None:
        """One run, from start to end."""
        began = moment()
        try:
            process = Process(start.argv, start.environment, start.directory, self.log)
        except OSError as error:
            self._end(began, 128, "StartError", str(error))
            return
        self.process = process
        self.state = {"running": {"startedAt": began}}
        guard = asyncio.create_task(self._guard(process))
        try:
            code = await process.ended
        finally:
            guard.cancel()
            process.signal(signal.SIGKILL)
            self.process = None
        self._end(began, code, "Completed" if code == 0 else "Error", "")

    async def _guard(self, process: Process) -> None:
        """Ask the probes while it runs."""
        if "startupProbe" in self.spec:
            self.changed()
            async for good in self._opinions("startupProbe"):
                if not good:
                    await self._restart(process, "startup")
                    return
                break
        self.started = True
        self.ready = "readinessProbe" not in self.spec
        self.changed()
        await asyncio.gather(self._readiness(), self._liveness(process))

    def _opinions(self, name: str):
        probe = self.spec[name]
        seconds = probe.get("timeoutSeconds", 1)
        return opinions(
            probe,
            lambda: act(probe, self.spec, self.inputs.address, self.environment, seconds),
            eager=name == "readinessProbe",
        )

    async def _readiness(self) -> None:
        if "readinessProbe" in self.spec:
            async for good in self._opinions("readinessProbe"):
                self.ready = good
                self.changed()

    async def _liveness(self, process: Process) -> None:
        if "livenessProbe" in self.spec:
            async for good in self._opinions("livenessProbe"):
                if not good and not self.stopping:
                    await self._restart(process, "liveness")

    async def _restart(self, process: Process, probe: str) -> None:
        log.info("%s: %s probe failed, stopping it", self.spec["name"], probe)
        process.signal(signal.SIGTERM)
        if not await process.within(self.inputs.pod["spec"].get("terminationGracePeriodSeconds", 30)):
            process.signal(signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """preStop, SIGTERM, SIGKILL; the grace counts from now and includes preStop."""
        self.stopping = True
        process, clock = self.process, asyncio.get_running_loop().time
        if process is None:
            return
        deadline = clock() + grace
        hook = self.spec.get("lifecycle", {}).get("preStop")
        if hook and grace > 0:
            told = asyncio.create_task(act(hook, self.spec, self.inputs.address, self.environment, grace))
            await asyncio.wait([told, process.ended], return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            deadline = max(deadline, clock() + 2)
        process.signal(signal.SIGTERM)
        if not await process.within(deadline - clock()):
            process.signal(signal.SIGKILL)

    def kill(self) -> None:
        """No grace, or no more."""
        self.stopping = True
        if self.process:
            self.process.signal(signal.SIGKILL)

    def _wait(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.changed()

    def _end(self, began: str, code: int, reason: str, message: str) -> None:
        self.ready = self.started = False
        ended = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": moment()}
        self.state = {"terminated": ended | ({"message": message} if message else {})}
        self.changed()
