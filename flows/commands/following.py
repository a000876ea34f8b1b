"""Start a release where it can run, and tell a person what it does while it does it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flows.commands import console, embedded, running
from onlyvips import wiring
from onlyvips.core import report
from onlyvips.core.record import Record
from onlyvips.environment import Environment
from onlyvips.errors import Driven, Fenced, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.wiring import evidence

DEPLOYMENT = "release/release"
ROLLBACK = "release-rollback/release-rollback"
_PAUSE = 0.7
_NO_WORKER_AFTER, _PATIENCE, _LAST_READS, _AT_MOST = 20.0, 300.0, 30.0, 3600.0
_OURS = re.compile(r"\b(Refused|Driven|EnvironmentInvalid|Fenced|Transient|UnknownOutcome|Conflict|Permanent): ")
_NO_WORKER = "No worker has taken the run yet: is one running? `prefect worker start --pool onlyvips`; still waiting."
REFUSALS = ("Refused", "Driven", "EnvironmentInvalid")


@dataclass(frozen=True)
class Asked:
    """What was asked for; ``quiet`` tells nothing on the way."""

    environment: str
    service: str
    version: str
    operator: str
    quiet: bool
    override: str = ""
    back: bool = False
    to: str = ""


class Teller:
    """Prints each step and look of a record once, after the ``name`` of what it is about, where several are told of."""

    def __init__(self, quiet: bool, name: str = "") -> None:
        self._name = f"{name}  " if name else ""
        self._quiet, self._steps, self._looks, self._waiting = quiet, 0, 0, ""
        self._commands = 0

    def tell(self, record: Record) -> None:
        """Print what is new."""
        if not self._quiet:
            for command in record.commands[self._commands :]:
                console.say(f"  {self._name}{report.command_line(command)}")
            for line in report.lines(record, self._steps, self._looks):
                console.say(f"  {self._name}{line}")
            if (told := report.waiting(record)) and told != self._waiting:
                console.say(f"  {self._name}          {told}")
        self._waiting = report.waiting(record)
        self._steps = sum(1 for step in record.steps if step.done is not None)
        self._looks, self._commands = len(record.looks), len(record.commands)


def through_server(api: str, loaded: Environment, asked: Asked, *, detach: bool) -> Record | None:
    """Make a run of the release's deployment and follow it. None when detached. Raises Refused when it was refused."""
    run = running.begin(api, loaded, ROLLBACK if asked.back else DEPLOYMENT, _parameters(asked))
    address = running.address_of(loaded, api, run.id)
    if asked.quiet and detach:
        console.print_json({"run": str(run.id), "name": run.name, "address": address})
    elif not asked.quiet:
        console.say(f"Run {run.name}: {address}")
    if detach:
        return None
    try:
        watched = Watched(lambda: state_of(run.id), address)
        return _follow(asked, lambda: wiring.release_of_run(asked.environment, str(run.id)), watched.ended)
    except KeyboardInterrupt:
        console.complain(
            f"No longer following; the release goes on by itself ({address}). To stop it: onlyvips release abort "
            f"-e {asked.environment} -s {asked.service}"
        )
        raise


def _parameters(asked: Asked) -> dict[str, str]:
    if asked.back:
        where = {"environment": asked.environment, "service": asked.service}
        return {**where, "to": asked.to, "operator": asked.operator}
    return {
        "environment": asked.environment,
        "service": asked.service,
        "version": asked.version,
        "operator": asked.operator,
        "override": asked.override,
    }


def state_of(run: Any) -> Any:
    """The state of a Prefect run."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).state


class Watched:
    """A Prefect run, by asking for its state; no answer is "unknown", which the release does not mind."""

    def __init__(self, state: Callable[[], Any], address: str) -> None:
        self._state, self._address = state, address
        self._began = self._answered = time.monotonic()
        self._taken = False

    def ended(self) -> str | None:
        """The message of a run that ended without success, "" when it completed, None while it goes on or is unknown.

        Raises Permanent when Prefect was silent for minutes.
        """
        try:
            state = self._state()
        except Exception as error:  # noqa: BLE001 - whatever its client raises, the release goes on without it
            if time.monotonic() - self._answered > _PATIENCE:
                raise Permanent(
                    f"Prefect has not answered for {_PATIENCE:.0f} s ({error}); the release does not need it and "
                    f"may go on: see `onlyvips release status` and {self._address}."
                ) from error
            return None
        self._answered = time.monotonic()
        if state is not None and not state.is_scheduled():
            self._taken = True
        elif not self._taken and time.monotonic() - self._began > _NO_WORKER_AFTER:
            self._taken = True
            console.complain(_NO_WORKER)
        if state is None or not state.is_final():
            return None
        return "" if state.is_completed() else f"{state.name}: {state.message or 'no message'}"


def _follow(asked: Asked, read: Callable[[], Record | None], ended: Callable[[], str | None]) -> Record:
    """Tell the record's news until it is closed. A run that ended is believed once the cluster was asked after that."""
    teller, record, over_since = Teller(asked.quiet), None, 0.0
    while True:
        end = ended()
        record, answered = _patient(read, record)
        if record is not None:
            teller.tell(record)
            if not record.open:
                return record
        if end is not None:
            over_since = over_since or time.monotonic()
            if answered or time.monotonic() - over_since > _LAST_READS:
                raise _failure(asked, record, end)
        time.sleep(_PAUSE)


def _patient(read: Callable[[], Record | None], before: Record | None) -> tuple[Record | None, bool]:
    """The record now, or as it was while the cluster is away; and whether it answered."""
    try:
        return read() or before, True
    except OnlyVipsError:
        return before, False


def _failure(asked: Asked, record: Record | None, end: str) -> OnlyVipsError:
    kind, sentence = ours(end)
    if record is not None:
        return Permanent(f"{sentence} {report.headline(record)}. {report.advice(record)}".strip())
    if kind in REFUSALS:
        return Refused(sentence)
    return Permanent(
        f"The run ended ({sentence or 'completed'}) and no record of it could be read: see "
        f"`onlyvips release status -e {asked.environment}`; if a release is open and nobody drives it, start the same "
        f"version again to go on, or `onlyvips release reconcile -e {asked.environment}` to finish it."
    )


def ours(message: str) -> tuple[str, str]:
    """The kind and the sentence of our own error in what Prefect says of a failed run; ("", all of it) without one."""
    found = _OURS.search(message)
    return (found.group(1), message[found.end() :].strip()) if found else ("", message)


def in_this_process(asked: Asked, *, local: bool = False) -> Record:
    """Run the flow here, on Prefect's embedded API. Ctrl-C is an abort: the release goes back before it ends."""
    embedded.begin()
    if not asked.quiet:
        why = "As asked (--local)" if local else "No Prefect server answers"
        console.say(f"{why}: the release runs in this process, on an embedded Prefect.")
    try:
        _run_here(asked)
    except OnlyVipsError as error:
        return _closed_or(asked, error)
    return _closed_or(asked, Permanent(f"The release of {asked.service} {asked.version} made no record."))


def _run_here(asked: Asked) -> None:
    from flows.release import release
    from flows.release_rollback import release_rollback

    evidence.import_drawing()
    embedded.wait()
    stop = threading.Event()
    teller = threading.Thread(target=_tell, args=(asked, stop), daemon=True)
    teller.start()
    try:
        with embedded.running():
            (release_rollback if asked.back else release)(**_parameters(asked))
    except KeyboardInterrupt:
        _abort(asked)
    finally:
        stop.set()
        teller.join()


def _here(asked: Asked) -> Record | None:
    run = wiring.run_here()
    return wiring.release_of_run(asked.environment, run) if run else None


def _closed_or(asked: Asked, error: OnlyVipsError) -> Record:
    """The release of this process when it is closed, whatever was raised on the way; else the error and what to do."""
    until = time.monotonic() + _LAST_READS
    record, answered = _patient(lambda: _here(asked), None)
    while not answered and not isinstance(error, Refused) and time.monotonic() < until:
        time.sleep(_PAUSE)
        record, answered = _patient(lambda: _here(asked), None)
    if record is not None and not record.open:
        return record
    if record is not None:
        who = "status says who drives it" if isinstance(error, Fenced) else "nobody drives it now"
        raise Permanent(
            f"{error} {report.headline(record)}; {who}. Start {asked.version} again to go on, or `onlyvips release "
            "reconcile` to finish it."
        ) from error
    if answered or isinstance(error, Refused):
        raise error
    raise Permanent(
        f"{error} The cluster does not answer, so what is open is not known: see `onlyvips release status -e "
        f"{asked.environment}` once it does, then start {asked.version} again to go on, or reconcile."
    ) from error


def _abort(asked: Asked) -> None:
    run = wiring.run_here()
    try:
        drives = run and wiring.driven_by(asked.environment, asked.service, run) is not None
    except OnlyVipsError as error:
        console.complain(f"{error} What is open is not known: see `onlyvips release status -e {asked.environment}`.")
        raise KeyboardInterrupt from error
    if not drives:
        console.complain("This command drives no open release: nothing was aborted.")
        raise KeyboardInterrupt
    console.complain(
        "Interrupted: going back first; press Ctrl-C again to leave it to "
        f"`onlyvips release reconcile -e {asked.environment}`."
    )
    wiring.abort(asked.environment, asked.service, by=asked.operator, reason="Ctrl-C")
    wiring.reconcile(asked.environment, asked.service, holder=f"Ctrl-C of {asked.operator} ({run})", attended=True)


def _tell(asked: Asked, stop: threading.Event) -> None:
    teller, last, record = Teller(asked.quiet), False, None
    while not last:
        last = stop.wait(_PAUSE)
        record, _ = _patient(lambda: _here(asked), None)
        if record is not None:
            teller.tell(record)


def until_closed(asked: Asked, release: str, *, finish: Callable[[], object], silence: float) -> Record:
    """Follow a release that another process drives until it is closed.

    Whenever its record did not move for ``silence`` seconds, ``finish`` is tried: its driver may be dead by now.
    """
    teller, record = Teller(asked.quiet), None
    until, moved = time.monotonic() + _AT_MOST, time.monotonic()
    while time.monotonic() < until:
        now, _ = _patient(lambda: wiring.load_record(asked.environment, release), record)
        if now != record:
            record, moved = now, time.monotonic()
        if record is not None:
            teller.tell(record)
            if not record.open:
                return record
        if time.monotonic() - moved > silence:
            with suppress(Driven, Transient):
                finish()
            moved = time.monotonic()
        time.sleep(_PAUSE)
    raise Permanent(
        f"Release {release} is not closed after {_AT_MOST:.0f} s: see `onlyvips release status -e {asked.environment}`."
    )
