"""Nothing of a pod outlives it, and nothing of any pod outlives the node.

A container's first process dies with the node by PR_SET_PDEATHSIG, but what it started does not. All of them have
POD_ROOT in their environment, which is how they are found in /proc, however far they have detached themselves. An
undertaker process, holding nothing but the end of a pipe, wakes when the node is gone and sweeps; a node that starts
sweeps too, for the day both were killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def sweep(root: Path, name: str = "POD_ROOT") -> None:
    """Kill every process of the pods, or of the lab, whose `name` is `root` or below.

    Again, while a look finds any, for one may have started another meanwhile.
    """
    for _ in range(100):
        found = list(_processes(f"{name}={root}".encode()))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes(mark: bytes) -> Iterator[int]:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = b"\0" + (directory / "environ").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if any(b"\0" + mark + end in environment for end in (b"\0", b"/")):
            yield int(directory.name)


def undertaker(root: Path, name: str = "POD_ROOT") -> subprocess.Popen[bytes]:
    """Start the process that sweeps when this one, and what it forked, is gone."""
    command = [sys.executable, "-I", "-S", __file__, str(root), name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


if __name__ == "__main__":
    sys.stdin.read()
    sweep(Path(sys.argv[1]), sys.argv[2])
