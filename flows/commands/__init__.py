"""The ``onlyvips`` command: one module per noun, registered here."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from flows.commands import console
from onlyvips.errors import OnlyVipsError

app = App(
    name="onlyvips",
    help=f"OnlyVips' production procedures.\n\n{console.EXIT_CODES}",
    version=lambda: version("onlyvips-rollout"),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
)
for noun, told in {
    "approvals": "Pages on which people approve, whom an authenticating proxy names: serve.",
    "backup": "Back up: run, list, show, verify, audit, repair, prune.",
    "drill": "Rehearse restores: run, list, show, trend, key.",
    "environment": "Read and check the environments.",
    "release": "Release a service: plan, start, watch, hold, resume, promote, abort, reconcile, evidence.",
    "restore": "Restore: plan what would come back, run it; archives of mongodump.",
}.items():
    app.command(f"flows.commands.{noun}:app", name=noun, help=told)  # each costs a second of imports when asked for


def run(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code. A bug keeps its traceback."""
    try:
        code = app(tokens)
    except CycloptsError as error:
        return _told(tokens, str(error), console.REFUSED)
    except OnlyVipsError as error:
        return _told(tokens, str(error), console.exit_code(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who read us has seen enough
        return console.OK
    except KeyboardInterrupt:
        console.complain("Interrupted.")
        return console.INTERRUPTED
    return code if isinstance(code, int) else console.OK


def _told(tokens: Sequence[str], error: str, code: int) -> int:
    """The error's sentences on stderr, and as JSON on stdout where that was asked for; returns the exit code."""
    if "--json" in tokens:
        console.print_json({"error": error, "exit": code})
    for line in error.splitlines():
        console.complain(line)
    return code


def main() -> None:
    """Entry point of the installed script."""
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect would tell its makers from a terminal that it was imported
    code = run(sys.argv[1:])
    gc.freeze()  # else the interpreter's end looks for garbage among all that was imported: up to a second
    sys.exit(code)
