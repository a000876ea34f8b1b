"""Processes of ours without the seconds that each takes to import: one process has everything, and forks each command.

Each command is a process of its own, with its own id, output and exit code, and dies as any other does. One ``Forks``
is for one thread.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

LONGEST = 600
"""Seconds that a command may take; then it is ended by SIGALRM."""
DRIVER = "driver"
"""First word of a command line of ``tests.system.driver``; any other first word is ``onlyvips``."""


class Forks:
    """A process that forks commands, one at a time, until ``close``."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.system.forking"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One command to its end: exit code (negative: by which signal it died) and all that it printed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.NamedTemporaryFile("r", suffix=".out") as output:
            print(json.dumps([output.name, *command]), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(command, code, output.read())

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


def child(output: Path, command: Sequence[str]) -> Any:
    """What the forked process does: it never returns."""
    code = 1
    try:
        signal.alarm(LONGEST)
        file = os.open(output, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(file, number)
        from flows import commands  # noqa: PLC0415
        from tests.system import driver  # noqa: PLC0415

        told = driver.main(command[1:]) if command[0] == DRIVER else commands.run(command[1:])
        code = int(told or 0)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - printed as a process that ends so would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import, then fork a child for each line and tell its exit code."""
    import scipy.optimize  # noqa: F401, PLC0415
    import scipy.special  # noqa: F401, PLC0415

    import flows.commands.release  # noqa: F401, PLC0415
    import onlyvips.adapters.evidence_page  # noqa: F401, PLC0415
    import tests.system.driver  # noqa: F401, PLC0415

    for line in sys.stdin:
        output, *command = json.loads(line)
        if not (pid := os.fork()):
            child(Path(output), command)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
