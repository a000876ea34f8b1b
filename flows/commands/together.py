"""``onlyvips release start|abort --all``: a release of all services, where it can run, followed."""

from __future__ import annotations

import time
from contextlib import suppress

from flows.commands import console, embedded, following, running, waking
from flows.commands.progress import Teller, told_beside
from onlyvips import wiring
from onlyvips.core import group as groups
from onlyvips.core.group import Group
from onlyvips.environment import Environment
from onlyvips.errors import Driven, OnlyVipsError, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.wiring import evidence, several

DEPLOYMENT = "release-all/release-all"
_PAUSE, _AT_MOST = 0.7, 6 * 3600.0


def start(loaded: Environment, asked: dict[str, str], api: str, *, quiet: bool, detach: bool, local: bool) -> int:
    """Release all services as ``asked``, on the server at ``api`` or, without one, in this process."""
    if detach and not api:
        raise Refused("--detach needs a Prefect server, and none was asked or answers: nothing was started.")
    if not api:
        if not quiet:
            why = "As asked (--local)" if local else "No Prefect server answers"
            console.say(f"{why}: the release of all services runs in this process, on an embedded Prefect.")
        return told(_in_this_process(asked, quiet), quiet)
    run = running.begin(api, loaded, DEPLOYMENT, asked)
    address = running.address_of(loaded, api, run.id)
    if quiet and detach:
        console.print_json({"run": str(run.id), "name": run.name, "address": address})
    elif not quiet:
        console.say(f"Run {run.name}: {address}")
    if detach:
        return console.OK
    try:
        watched = following.Watched(lambda: following.state_of(run.id), address)
        return told(_follow(loaded.name, str(run.id), watched, Teller(quiet)), quiet)
    except KeyboardInterrupt:
        console.complain(
            f"No longer following; the release goes on by itself ({address}). To stop it: onlyvips release abort "
            f"-e {loaded.name} --all"
        )
        raise


def _follow(environment: str, run: str, watched: following.Watched, teller: Teller) -> Group:
    """Tell what the run does until its release is closed. A run that ended is believed once the cluster answered after
    that."""
    while True:
        end = watched.ended()
        with suppress(Transient, UnknownOutcome):
            seen = several.seen_of_run(environment, run)
            if seen is not None:
                teller.tell(seen)
                if seen.group.closed:
                    return seen.group
            if end is not None:
                raise _failure(seen.group if seen is not None else None, end)
        time.sleep(_PAUSE)


def _failure(found: Group | None, end: str) -> OnlyVipsError:
    """What a run that ended with ``end`` and left no closed release says."""
    kind, sentence = following.ours(end)
    if found is not None:
        return Permanent(f"{sentence} {groups.headline(found)}. {groups.advice(found)}".strip())
    if kind in following.REFUSALS:
        return Refused(sentence)
    return Permanent(sentence or "The run ended and left no record of a release of all services: see its log.")


def _in_this_process(asked: dict[str, str], quiet: bool) -> Group:
    embedded.begin()
    from flows.release_all import release_all

    evidence.import_drawing()
    embedded.wait()
    with told_beside(asked["environment"], wiring.run_here, Teller(quiet)):
        try:
            with embedded.running():
                release_all(**asked)
        except KeyboardInterrupt:
            _abort_own(asked["environment"], asked["operator"])
        except OnlyVipsError:
            found = several.of_run(asked["environment"], wiring.run_here())
            if found is None or found.open:
                raise
    found = several.of_run(asked["environment"], wiring.run_here())
    if found is None:
        raise Permanent("The release of all services made no record.")
    return found


def _abort_own(environment: str, operator: str) -> None:
    """Ctrl-C takes back what this command drives, and nothing else. Raises KeyboardInterrupt when there is no such."""
    run = wiring.run_here()
    try:
        found = several.driven_by(environment, run)
    except OnlyVipsError as error:
        console.complain(f"{error} What is open is not known: see `onlyvips release status -e {environment}`.")
        raise KeyboardInterrupt from error
    if found is None:
        console.complain("This command drives no open release: nothing was aborted.")
        raise KeyboardInterrupt
    if found.decision == "promoted":
        console.complain(
            f"Interrupted: all of {', '.join(found.services)} are promoted, and nothing goes back any more. "
            f"{groups.advice(found)}"
        )
        raise KeyboardInterrupt
    console.complain("Interrupted: all services go back first; press Ctrl-C again to leave that to reconcile.")
    several.abort(environment, by=operator, reason="Ctrl-C")
    several.reconcile(environment, holder=f"Ctrl-C of {operator} ({run})", attended=True)


def abort(environment: str, who: str, reason: str, lease: float, *, quiet: bool) -> int:
    """Ask the release of all services to go back; a living driver does it, without one this command does."""
    group, silence = several.abort(environment, by=who, reason=reason), 0.0
    until, teller = time.monotonic() + _AT_MOST, Teller(quiet)
    while group.open and time.monotonic() < until:
        if time.monotonic() >= silence:
            with suppress(Driven, Transient):
                several.reconcile(environment, holder=f"abort by {who}", attended=True)
            silence = time.monotonic() + 2 * lease
        with suppress(Transient):
            seen = several.seen(environment, group.id)
            group = seen.group
            teller.tell(seen)
        if group.decision == "promoted":
            break  # the abort came too late: nothing goes back any more
        time.sleep(_PAUSE)
    told(group, quiet)
    if group.closed:
        waking.wake(environment, group, "abort", who, reason)
    return console.OK if group.closed and group.result in ("rolled-back", "not-approved") else console.FAILED


def watch(environment: str, *, quiet: bool) -> int:
    """Follow the open release of all services until it closes. Raises Refused when none is open."""
    found = next((one for one in several.status(environment) if one.open), None)
    if found is None:
        raise Refused(f"No release of all services is open in {environment}: there is nothing to watch.")
    teller = Teller(quiet)
    try:
        while found.open:
            with suppress(Transient, UnknownOutcome):
                seen = several.seen(environment, found.id)
                found = seen.group
                teller.tell(seen)
            time.sleep(_PAUSE)
    except KeyboardInterrupt:
        console.complain("No longer watching; the release goes on by itself.")
        raise
    return told(found, quiet)


def approve(environment: str, who: str, reason: str, release: str, before: str, *, quiet: bool) -> int:
    """Approve what the release of all services waits for."""
    group, sentence = several.approve(environment, by=who, reason=reason, release=release, before=before)
    woken = waking.wake(environment, group, "approve", who, reason)
    if quiet:
        console.print_json({**groups.summary(group), "answer": sentence, "woken": woken})
    else:
        console.say(f"{sentence} {woken}".strip())
    return console.OK


def told(group: Group, json: bool) -> int:
    """Say how it ended."""
    if json:
        console.print_json(groups.summary(group))
    else:
        console.say(f"{groups.headline(group)}.", "bold green" if group.result == "promoted" else "bold red")
        console.say(groups.advice(group))
    return console.OK if group.closed and group.result == "promoted" else console.FAILED


def status(environment: str, service: str) -> None:
    """What is open of all services, ``service`` among them, in two lines."""
    for group in several.status(environment):
        if group.open and (not service or service in group.services):
            console.say(f"{groups.headline(group)}.", "bold")
            for line in several.known_before(environment, group):
                console.say(line)
            console.say(groups.advice(group))
