"""Prefect's server beside a command, as a program: uvicorn, for as long as who started it lives.

Its standard input is a pipe that nobody writes to. It ends when the other end is gone, however that came: kill -9 too.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_FAREWELL = 5.0


def _end_with_who_started_it() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_FAREWELL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_who_started_it, daemon=True).start()
    runpy.run_module("uvicorn", run_name="__main__")
