"""``onlyvips release hold|resume|promote|approve|watch``: what a person asks, and how to look on."""

from __future__ import annotations

import json as formats
import sys
import time
from typing import Annotated, Any

from cyclopts import Parameter

from flows.commands import console, following, together, waking
from flows.commands.options import EnvironmentName, Json, Reason, ServiceName, me
from onlyvips import wiring
from onlyvips.core import report
from onlyvips.core.record import CommandName, Record
from onlyvips.errors import OnlyVipsError, Refused
from onlyvips.wiring import commanding

_PAUSE = 0.7


def hold(*, environment: EnvironmentName, service: ServiceName, reason: Reason = "", json: Json = False) -> int:
    """Hold the open release of SERVICE where it is: the weight stays, looks go on, a failing one still rolls back.

    Not resumed within `waits.hold_limit`, it goes back. Needs no Prefect.
    """
    return _ask("hold", environment, service, reason, json)


def resume(*, environment: EnvironmentName, service: ServiceName, reason: Reason = "", json: Json = False) -> int:
    """Let a release that was held go on. Needs no Prefect."""
    return _ask("resume", environment, service, reason, json)


def promote(*, environment: EnvironmentName, service: ServiceName, reason: Reason = "", json: Json = False) -> int:
    """Promote now: skip the remaining holds and stages, but neither readiness nor a failing look. Needs no Prefect."""
    return _ask("promote", environment, service, reason, json)


def approve(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    all: Annotated[bool, Parameter(negative="", help="The release of all services.")] = False,
    operator: Annotated[str, Parameter(help="Who approves; you, when not given. It stands there as claimed.")] = "",
    reason: Reason = "",
    release: Annotated[str, Parameter(help="The release that is meant, by its id; refused where another waits.")] = "",
    before: Annotated[str, Parameter(help="What it is for: traffic, switch, promotion, or a weight.")] = "",
    json: Json = False,
) -> int:
    """Approve what the open release of SERVICE (or of all) waits for: that stage of that release, nothing after it.

    A run that is suspended goes on; without Prefect the record alone says so, and who waits reads it.
    """
    who, before = operator or me(), before.removesuffix("%")
    if all == bool(service):
        raise Refused("Give one service by --service, or all of the environment's release by --all: nothing was done.")
    if all:
        return together.approve(environment, who, reason, release, before, quiet=json)
    record, sentence = commanding.ask(
        environment, service, "approve", by=who, reason=reason, release=release, before=before
    )
    woken = waking.wake(environment, record, "approve", who, reason)
    if json:
        console.print_json({**report.summary(record), "answer": sentence, "woken": woken})
    else:
        console.say(f"{sentence} {woken}".strip())
    return console.OK


def _ask(name: CommandName, environment: str, service: str, reason: str, json: bool) -> int:
    record, sentence = commanding.ask(environment, service, name, by=me(), reason=reason)
    if json:
        console.print_json({**report.summary(record), "answer": sentence})
    else:
        console.say(sentence)
    return console.OK


def watch(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    all: Annotated[bool, Parameter(negative="", help="The release of all services.")] = False,
    json: Json = False,
) -> int:
    """Follow the open release of SERVICE (or of all) until it closes; Ctrl-C stops watching and leaves it alone.

    With --json each event is one line of JSON; of all, its end alone. Exits 0 when it was promoted, 1 otherwise, 2 when
    none is open.
    """
    if all == bool(service):
        raise Refused("Give one service by --service, or all of the environment's release by --all: nothing was done.")
    if all:
        return together.watch(environment, quiet=json)
    release = commanding.open_release(environment, service, "watch").id
    tell = _Lines() if json else following.Teller(quiet=False)
    try:
        record = _until_closed(environment, release, tell)
    except KeyboardInterrupt:
        console.complain("No longer watching; the release goes on by itself.")
        raise
    if not json:
        console.say(f"{report.headline(record)}.", "bold")
        console.say(report.advice(record))
    return console.OK if record.result == "promoted" else console.FAILED


class _Lines:
    """Prints each step, look and command of a record once, as a line of JSON, and its end."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._waiting = ""

    def tell(self, record: Record) -> None:
        """Print what is new."""
        finished = [step for step in record.steps if step.done is not None]
        for kind, every in (("command", record.commands), ("step", finished), ("look", record.looks)):
            for one in every[self._told.get(kind, 0) :]:
                _line(kind, **vars(one))
            self._told[kind] = len(every)
        if (waiting := report.waiting(record)) != self._waiting and waiting:
            _line("waiting", reason=record.waiting)
        self._waiting = waiting
        if not record.open:
            _line("end", result=record.result, headline=report.headline(record), advice=report.advice(record))


def _line(kind: str, **content: Any) -> None:
    sys.stdout.write(formats.dumps({"kind": kind, **content}, default=vars, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _until_closed(environment: str, release: str, tell: _Lines | following.Teller) -> Record:
    """A cluster that is away for a moment is asked again."""
    while True:
        try:
            record = wiring.load_record(environment, release)
        except OnlyVipsError as error:
            console.complain(str(error))
        else:
            tell.tell(record)
            if not record.open:
                return record
        time.sleep(_PAUSE)
