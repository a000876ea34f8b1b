"""What a release of all services does, told to a person while it does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from flows.commands import console, following
from onlyvips.core import report
from onlyvips.errors import OnlyVipsError
from onlyvips.wiring import several
from onlyvips.wiring.several import Seen

_PAUSE = 1.5


class Teller:
    """Prints each step of the whole and of its services once, and what comes next."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._steps, self._commands, self._due = quiet, 0, 0, ""
        self._members = dict[str, following.Teller]()

    def tell(self, seen: Seen) -> None:
        """Print what is new."""
        if self._quiet:
            return
        for command in seen.group.commands[self._commands :]:
            console.say(f"  {report.command_line(command)}")
        for record in seen.members:
            teller = self._members.setdefault(record.service, following.Teller(quiet=False, name=record.service))
            teller.tell(record)
        for step in seen.group.steps[self._steps :]:
            console.say(f"  {report.step_line(step)}")
        self._steps, self._commands = len(seen.group.steps), len(seen.group.commands)
        if seen.due and seen.due != self._due:
            console.say(f"            {seen.due}")
        self._due = seen.due


@contextmanager
def told_beside(environment: str, run: Callable[[], str], teller: Teller) -> Iterator[None]:
    """Have ``teller`` tell of the release of ``run`` while the block drives it here; a cluster that is away costs
    lines, never the release."""
    stop = threading.Event()

    def tell() -> None:
        last = False
        while not last:
            last = stop.wait(_PAUSE)
            with suppress(OnlyVipsError):
                if (seen := several.seen_of_run(environment, run())) is not None:
                    teller.tell(seen)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
