"""A release in a command's own process, on Prefect's embedded server and a platform in memory, that a person stops.

``python -m tests.procedures.ctrl_c HOW PHASE`` sends itself what a terminal sends, or dies, when the release looks at
its canary (``looks``) or takes its backup (``backup``). What became of everything is printed as JSON, the server's
process first.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from flows.commands import embedded, following, run

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, however the tests were started
embedded.begin()

from onlyvips import environment as environments  # noqa: E402 - the server starts beside what is imported
from onlyvips import wiring  # noqa: E402
from onlyvips.core.record import Record  # noqa: E402
from onlyvips.steps.rollout import Rollout  # noqa: E402
from tests.core.broken_environments import PRODUCTION  # noqa: E402
from tests.procedures.theatre import GOOD, Theatre  # noqa: E402
from tests.procedures.troupe import BRIEF  # noqa: E402


def interrupt() -> None:
    """What a terminal does: its whole foreground group hears it."""
    os.killpg(os.getpgrp(), signal.SIGINT)


def die() -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_when(phase: str, how: Any, theatre: Theatre) -> None:
    """Once, at that moment."""
    left = [how]

    def once() -> None:
        if left:
            left.pop()()

    if phase == "backup":
        theatre.during_backup = once
        return
    looking = Rollout._look

    def look(self: Rollout) -> str:
        once()
        return looking(self)

    Rollout._look = look  # type: ignore[method-assign]


def main(how: str, phase: str) -> None:
    """The command, and what became of it."""
    theatre = Theatre(BRIEF)
    process = theatre.process("driver")
    loaded = environments.from_text(PRODUCTION, "production", "production.yaml")
    environments.load = lambda *_: loaded
    wiring.cluster_of = lambda *_: theatre.cluster  # type: ignore[assignment,return-value]
    wiring.site_of = lambda *_: process.site
    following._tell = lambda *_: None  # it looks from another thread, and this platform has one
    stop_when(phase, {"interrupted": interrupt, "killed": die}[how], theatre)
    alive = list[bool]()
    go_back = following._abort

    def abort(asked: following.Asked) -> None:
        alive.append(Path(f"/proc/{embedded._servers[0].process.pid}").exists())
        go_back(asked)

    following._abort = abort
    print(json.dumps({"server": embedded._servers[0].process.pid}), flush=True)
    code = run(["release", "start", "-e", "production", "-s", "backend", "-v", GOOD, "--local", "--override", "a test"])
    record: Record = theatre.record()
    theatre.settle()
    told = {"phase": record.phase, "result": record.result, "reason": record.reason, "lost": theatre.platform.lost}
    print(json.dumps({**told, "left": theatre.leftovers(), "alive": alive, "code": code}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
