"""A driver of one release, which dies by SIGKILL at a step of its own choosing: ``python -m tests.system.driver …``.

It begins and drives as a run of Prefect does, without Prefect. It exits with 0 when the release was promoted, with 1
when it went back.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.action import Action
from onlyvips.core.record import Command
from onlyvips.errors import OnlyVipsError
from onlyvips.steps import acts, opening, records
from onlyvips.steps.opening import Start
from onlyvips.steps.rollout import Rollout
from tests.system.boundaries import Moment, Steps

PATIENCE = 120.0
REFUSED = 2


def die(*_: Any, **__: Any) -> Any:
    """As the power goes."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: Moment) -> None:
    """From here on the ``moment`` is deadly."""
    if moment == "meant":
        acts.perform = die
    elif moment == "in":
        SystemClock.sleep = die  # type: ignore[method-assign]
    elif moment == "done":
        act = acts.perform

        def last(*arguments: Any) -> Any:
            act(*arguments)
            die()

        acts.perform = last


def do(rollout: Rollout, command: str) -> None:
    """Carry out what somebody does meanwhile, however long it takes: the driver of the release lives on."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(shlex.split(command), stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            rollout.tools.fence.progress()
            time.sleep(0.5)
        output.seek(0)
        print(f"{process.returncode} of {command}: {output.read()}", flush=True)  # noqa: T201


def prepare(step: str, moment: Moment, abort: str, at: str, command: str) -> None:
    """Die at ``step``; a person aborts after the step ``abort``, or does ``command`` after the step ``at``."""
    perform, steps = Rollout.perform, Steps()

    def noticed(rollout: Rollout, action: Action) -> str:
        name = steps.name(action, rollout.record())
        if name == step:
            arm(moment)
        done = perform(rollout, action)
        if (name, moment) == (step, "after"):
            die()
        if name == abort and rollout.record().aborted is None:
            tools = rollout.tools
            records.command(tools.cluster, rollout.release, Command("abort", "Ada", tools.clock.now(), "looks odd"))
        if name == at:
            do(rollout, command)
        return done

    Rollout.perform = noticed  # type: ignore[method-assign]


def drive(environment: str, service: str, version: str, backup: str) -> int:
    """To the end."""
    site = wiring.site_of(environments.load(environment), service, version)
    rollout = opening.open_release(site, Start(version, "Ada", "", f"driver {os.getpid()}", backup=backup))
    try:
        opening.drive(site, rollout, PATIENCE, lambda record: not record.open)
        record = rollout.record()
        print(record.phase, record.result, record.reason)  # noqa: T201
        return 0 if record.result == "promoted" else 1
    finally:
        site.lease.release()


def main(words: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser()
    for name in ("environment", "service", "version"):
        parser.add_argument(name)
    for name in ("--backup", "--step", "--moment", "--abort", "--at", "--do"):
        parser.add_argument(name, default="")
    asked = parser.parse_args(words)
    prepare(asked.step, asked.moment, asked.abort, asked.at, asked.do)
    try:
        return drive(asked.environment, asked.service, asked.version, asked.backup)
    except OnlyVipsError as error:
        print(error)  # noqa: T201
        return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
