"""The lab's own init: starts the parts in order, watches them, and leaves nothing behind however it ends.

Two processes. The guardian is the subreaper of everything in the lab and holds the home's lock; it only waits, and
when the supervisor is gone, by whatever death, it kills what is left. The supervisor starts the parts, each of which
dies with it (PR_SET_PDEATHSIG). That signal comes when the *thread* that forked ends, so only the main thread forks.
What a part started does not get it: should both be killed, an undertaker finds that by LAB_ROOT in its environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from home import Home, last_lines
from node import leftovers

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOP_WAIT = 8.0
# A whole platform on two cores: Go's collectors run less often, below a soft limit of memory.
LAZY = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
log = logging.getLogger("supervisor")


@dataclass(frozen=True)
class Process:
    """A part that runs until the lab goes down."""

    name: str
    argv: Sequence[str]
    needs: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""  # http(s):// or tcp:// address; without one it is ready when it runs
    deadline: float = 120
    vital: bool = True  # the lab does not come up without it


@dataclass(frozen=True)
class Step:
    """A part that is done once: a function that returns when what it promises holds."""

    name: str
    run: Callable[[], None]
    needs: Sequence[str] = ()
    vital: bool = True
    log: str = "supervisor"


Part = Process | Step


class Failed(Exception):
    """A part did not become ready; the message says why."""


class Supervisor:
    """Starts parts as soon as what they need is ready, and stops them in the opposite order."""

    def __init__(self, home: Home, parts: Sequence[Part]) -> None:
        self.home, self.parts = home, {part.name: part for part in parts}
        self.ready = {name: asyncio.get_running_loop().create_future() for name in self.parts}
        self.children: dict[str, asyncio.subprocess.Process] = {}
        self.stopping = asyncio.Event()
        self.started = time.monotonic()
        self.state: dict[str, Any] = {"phase": "starting", "guardian": os.getppid(), "supervisor": os.getpid()}
        self.state["parts"] = {name: self._describe(part) for name, part in self.parts.items()}

    async def run(self) -> int:
        """Everything, from the first part's start to the last one's end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        work = asyncio.create_task(self._start_all())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        failure = work.exception() if work.done() and not work.cancelled() else None
        if failure:
            log.error("start failed: %s", failure)
        elif not self.stopping.is_set():
            self._save(phase="up")
            await self.stopping.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        self._save(phase="failed" if failure else "stopping")
        await asyncio.gather(*(self._stop(name) for name in list(self.children)))
        self._save(phase="failed" if failure else "down")
        return 1 if failure else 0

    async def _start_all(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            tasks = [asyncio.create_task(self._start(part)) for part in self.parts.values()]
            for task in tasks:
                stack.callback(task.cancel)
            await asyncio.gather(*tasks)

    async def _start(self, part: Part) -> None:
        if not all([await self.ready[need] for need in part.needs]):
            self._mark(part.name, "left out")
            self.ready[part.name].set_result(False)
            return
        started = time.monotonic()
        self._mark(part.name, "starting")
        try:
            await self._bring_up(part)
        except (Failed, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
            self._mark(part.name, "failed", reason=f"{error}" or type(error).__name__)
            if part.vital:
                raise
            self.ready[part.name].set_result(False)
        else:
            self._mark(part.name, "ready", seconds=round(time.monotonic() - started, 1))
            self.ready[part.name].set_result(True)

    async def _bring_up(self, part: Part) -> None:
        if isinstance(part, Process):
            await self._spawn(part)
            await self._await_ready(part)
        else:
            await asyncio.to_thread(part.run)

    async def _spawn(self, part: Process) -> None:
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        with self.home.log(part.name).open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *part.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=base | LAZY | part.env | self._own(),
                cwd=self.home.path,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )
        self.children[part.name] = child
        self._mark(part.name, "starting", pid=child.pid)
        watcher = asyncio.create_task(self._watch(part.name, child))
        watcher.add_done_callback(lambda task: task.exception())

    def _own(self) -> dict[str, str]:
        return {"LAB_ROOT": str(self.home.path), "TMPDIR": str(self.home.temporary)}

    async def _await_ready(self, part: Process) -> None:
        end = time.monotonic() + part.deadline
        while part.ready and not await asyncio.to_thread(probe, part.ready):
            if time.monotonic() > end:
                raise Failed(f"{part.name} did not answer at {part.ready} within {part.deadline:.0f} s")
            await asyncio.sleep(0.1)
            if self.children[part.name].returncode is not None:
                raise Failed(f"{part.name} exited with {self.children[part.name].returncode}")

    async def _watch(self, name: str, child: asyncio.subprocess.Process) -> None:
        code = await child.wait()
        if not self.stopping.is_set() and self.state["phase"] != "failed":
            log.error("%s (pid %d) died unexpectedly, code %s", name, child.pid, code)
            self._mark(name, "died", code=code)

    async def _stop(self, name: str) -> None:
        """Wait for those that need this part, ask it to end, then kill what remains of its process group."""
        dependents = [other for other in self.children if name in self._needs(other)]
        await asyncio.gather(*(self.children[other].wait() for other in dependents))
        child = self.children[name]
        if child.returncode is None:
            child.terminate()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.wait(), STOP_WAIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        if self.state["parts"][name]["state"] not in {"failed", "died"}:
            self._mark(name, "stopped")

    def _needs(self, name: str) -> set[str]:
        direct = set(self.parts[name].needs)
        return direct.union(*(self._needs(need) for need in direct))

    def _describe(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Step):
            return {"state": "waiting", "log": str(self.home.log(part.log))}
        return {
            "state": "waiting",
            "ready": part.ready,
            "port": urlsplit(part.ready).port if part.ready else None,
            "log": str(self.home.log(part.name)),
        }

    def _mark(self, name: str, state: str, **facts: Any) -> None:
        log.info("%s: %s %s", name, state, " ".join(f"{key}={value}" for key, value in facts.items()))
        self.state["parts"][name] |= {"state": state, **facts}
        self._save()

    def _save(self, **facts: Any) -> None:
        self.state |= facts | {"seconds": round(time.monotonic() - self.started, 1)}
        self.home.save_state(self.state)


def probe(address: str) -> bool:
    """Whether a part answers, and answers well."""
    url = urlsplit(address)
    try:
        if url.scheme == "tcp":
            socket.create_connection((url.hostname or "", url.port or 0), timeout=1).close()
            return True
        return httpx.get(address, timeout=2, verify=False, trust_env=False).is_success  # noqa: S501 (loopback)
    except (OSError, httpx.HTTPError):
        return False


def die_with_parent(number: signal.Signals) -> None:
    """In a child between fork and exec: be killed when the parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, number)


def detach(home: Home, serve: Callable[[], int]) -> None:
    """Start the guardian in a session of its own; it inherits the home's lock, its output goes to a log."""
    guardian = os.fork()
    if guardian:
        home.name_holder(guardian)
        return
    code = 1
    try:
        os.setsid()
        output = os.open(home.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
            os.dup2(stream, target)
        code = guard(home, serve)
    finally:
        os._exit(code)


def guard(home: Home, serve: Callable[[], int]) -> int:
    """Run the supervisor as a child; when it is gone kill everything that is left of the lab."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    undertaker = leftovers.undertaker(home.path, "LAB_ROOT")  # noqa: F841 - it lives as long as its pipe is open
    child = fork_supervisor(serve)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    while True:  # orphans come here, too: the supervisor's end is the one that matters
        pid, status = os.wait()
        if pid == child:
            break
    kill_children()
    state = home.state()
    if state.get("phase") not in {"down", "failed"}:
        home.save_state(state | {"phase": "killed"})
    return os.waitstatus_to_exitcode(status)


def fork_supervisor(serve: Callable[[], int]) -> int:
    """The supervisor's process, which is asked to end when the guardian ends."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        die_with_parent(signal.SIGTERM)
        code = serve()
    except Exception:
        log.exception("the supervisor failed")
    finally:
        os._exit(code)


def kill_children() -> None:
    """Kill this process's children until there are none; as it is the subreaper, their children come to it next."""
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in children_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.wait()


def children_of(parent: int) -> list[int]:
    """The processes whose parent is this one, from /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(folder.name))
    return found


def failures(home: Home) -> list[str]:
    """What to tell about the parts that failed: name, reason, log and its end."""
    lines = []
    for name, part in home.state().get("parts", {}).items():
        if part["state"] in {"failed", "died"}:
            lines.append(f"{name}: {part.get('reason', 'exited with ' + str(part.get('code')))}; log {part['log']}")
            lines += [f"    {line}" for line in last_lines(Path(part["log"]))]
    return lines
