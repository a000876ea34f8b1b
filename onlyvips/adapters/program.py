"""What adapters share that work by a program of their own group."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from math import ceil
from typing import IO


def end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of its group goes on, whatever happened; what has ended already is only waited for."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    process.wait()


def words(complaints: IO[bytes], most: int = 400) -> str:
    """The last ``most`` characters of what it said, on one line."""
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").split("\n")
    return " ".join(line.strip() for line in lines if line.strip())[-most:]


def bounded(seconds: float) -> list[str]:
    """What a command is begun with so that it ends by then, even where who began it is dead; nothing where this system
    has no ``timeout``."""
    found = shutil.which("timeout")
    return [found, "-s", "KILL", str(ceil(seconds))] if found else []
