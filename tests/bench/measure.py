"""What a side costs: programs that run at once, measured as a whole, beside the servers and everybody else."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_GLANCE = 0.05
_PATIENCE = 10.0
_ROOT = Path(__file__).parents[2]


class Failed(Exception):
    """A program did not do what it was started for; the message holds what it said."""


@dataclass(frozen=True)
class Cost:
    """``seconds`` from the first start to the last end; ``cpu``, user and system seconds of the side's processes;
    ``peak``, bytes: the sum of each process's largest resident size (an upper bound where they share pages);
    ``servers`` and ``others``, CPU seconds of the servers and of everybody else meanwhile; ``size``, bytes stored."""

    seconds: float
    cpu: float
    peak: int
    servers: float
    others: float
    size: int = 0


def run(commands: Sequence[Sequence[str | Path]], env: Mapping[str, str], log: Path, servers: Sequence[int]) -> Cost:
    """Commands at once, each reading what the one before writes. Raises Failed when one does not exit with 0."""
    busy, served, started = _busy(), _cpu_of(servers), time.perf_counter()
    running = _start(commands, env, log)
    watch = _Watch([process.pid for process in running])
    try:
        cpu = sum(_wait(process) for process in running)
        seconds = time.perf_counter() - started
    finally:
        watch.stop()
        end(running)
    for command, process in zip(commands, running, strict=True):
        if process.returncode:
            said = log.read_text(errors="replace")[-2000:]
            raise Failed(f"{command[0]} exited with {process.returncode}:\n{said}")
    served = _cpu_of(servers) - served
    return Cost(seconds, cpu, watch.peak(), served, max(0.0, _busy() - busy - cpu - served))


def end(processes: Sequence[subprocess.Popen]) -> None:
    """Stop what still runs, and wait for all."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _start(
    commands: Sequence[Sequence[str | Path]], env: Mapping[str, str], log: Path
) -> list[subprocess.Popen[bytes]]:
    running: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as messages:
        try:
            for command in commands:
                given = running[-1].stdout if running else subprocess.DEVNULL
                taken = messages if command is commands[-1] else subprocess.PIPE
                running.append(
                    subprocess.Popen(command, stdin=given, stdout=taken, stderr=messages, env=env, cwd=_ROOT)
                )
                if len(running) > 1 and running[-2].stdout is not None:
                    running[-2].stdout.close()  # so that a program learns when its reader is gone
        except BaseException:
            end(running)
            raise
    return running


def _wait(process: subprocess.Popen) -> float:
    """Its CPU seconds and those of the children that it waited for, once it ended."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


class _Watch:
    """Looks at the largest resident size of each process, which the kernel keeps, until they end."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._peaks = dict.fromkeys(pids, 0)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def peak(self) -> int:
        return sum(self._peaks.values())

    def _look(self) -> None:
        while not self._stopped.wait(_GLANCE):
            for pid in self._peaks:
                self._peaks[pid] = max(self._peaks[pid], _largest(pid))


def _largest(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_of(pids: Sequence[int]) -> float:
    def one(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    return sum(map(one, pids)) * _TICK


def _busy() -> float:
    """CPU seconds that all cores together have worked since the machine started."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) * _TICK
