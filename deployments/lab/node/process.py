"""One run of a container: a process group with a log, which dies with the node."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl


def _die_with(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec. The check is for a node that died before prctl could say so."""

    def prepare() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(137)

    return prepare


class Process:
    """A started program and its end, which the kernel tells by a pidfd: no thread, no polling."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str], directory: str, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # The death signal is sent when the *thread* that forked dies, so the event loop's thread must fork.
            self.child = subprocess.Popen(
                argv,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.pidfd = os.pidfd_open(self.child.pid)
        asyncio.get_running_loop().add_reader(self.pidfd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self.pidfd)
        os.close(self.pidfd)
        self.signal(signal.SIGKILL)  # what it started; its number is not reused before it is waited for
        code = self.child.wait()
        if not self.ended.done():
            self.ended.set_result(128 - code if code < 0 else code)

    def signal(self, number: int) -> None:
        """SIGTERM goes to the first process, as in a container; SIGKILL to all of them."""
        if self.ended.done():
            return
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number == signal.SIGKILL else os.kill)(self.child.pid, number)

    async def within(self, seconds: float) -> bool:
        """Whether it ended in time."""
        done, _ = await asyncio.wait([self.ended], timeout=max(seconds, 0))
        return bool(done)


async def run(argv: Sequence[str], environment: dict[str, str], directory: str, seconds: float) -> bool:
    """Run a hook or an exec probe beside a container; whether it succeeded in time."""
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with(os.getpid()),
        )
    except OSError:
        return False
    try:
        return await asyncio.wait_for(child.wait(), seconds) == 0
    except TimeoutError:
        child.kill()
        return False
