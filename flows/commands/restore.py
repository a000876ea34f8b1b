"""``onlyvips restore``: plan and run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress, TextColumn

from flows.commands import console, following, running
from flows.commands.backup import EnvironmentName, Json, Local, me
from onlyvips import environment as environments
from onlyvips.core.backup_report import progress
from onlyvips.steps.sound import Tell
from onlyvips.wiring import restore_turn, restores
from onlyvips.wiring.restores import Asked
from onlyvips.wiring.restoring.foreign import restore_archive

app = App(name="restore")

Kind = Annotated[
    str,
    Parameter(name=["--kind", "-k"], help="mongodb (with its oplog), redis, media, configuration or secrets."),
]
At = Annotated[
    str,
    Parameter(help="latest, a moment (2026-08-01T12:00:00Z, all of that second), SECONDS:ORDINAL, or a backup."),
]
Target = Annotated[
    str,
    Parameter(
        help="Reference, env:NAME or file:/path, of the target's URI (media: of a directory's path); or live: what the "
        "backups are of."
    ),
]
Over = Annotated[
    tuple[str, ...],
    Parameter(
        negative="", help="What of the target may be written over, by the plan's name; once more for each further one."
    ),
]
Waived = Annotated[
    str, Parameter(name="--without-safety-backup", help="Why what is written over is not backed up first.")
]
People = Annotated[
    bool,
    Parameter(
        negative="", help="Bring back the database's users and roles too, into admin (MongoDB, the whole database)."
    ),
]
Yes = Annotated[
    str,
    Parameter(help="The environment's name once more: needed for live secrets, where no terminal can ask for it."),
]
Names = Annotated[
    tuple[str, ...],
    Parameter(
        name="--namespace",
        negative="",
        help="DB.COLLECTION=DB.COLLECTION, of media FOLDER/=FOLDER/, of configuration KIND/NAME=KIND/NAME: only this, "
        "called so; once more for each further one.",
    ),
]
Server = Annotated[str, Parameter(help="Reference, env:NAME or file:/path, of the URI of another server.")]
Renamed = Annotated[
    tuple[str, ...],
    Parameter(
        name="--namespace",
        negative="",
        help="DB.COLLECTION=DB.COLLECTION: only this, called so; once more for each further one.",
    ),
]


@app.command
def plan(
    *,
    environment: EnvironmentName,
    kind: Kind = "mongodb",
    at: At = "latest",
    target: Target = "",
    namespace: Names = (),
    overwrite: Over = (),
    users_and_roles: People = False,
    json: Json = False,
) -> int:
    """What a restore would read and write, from which copies, to which moment; nothing is written anywhere.

    Exits 0 when a run may begin, once it is given the options that the plan says it needs; 2 when it would be refused
    all the same, with the reasons.
    """
    asked = Asked(environment, kind, at, target, namespace, overwrite, users_and_roles=users_and_roles)
    found = restores.plan(asked)
    if json:
        over = {"overwritten": list(found.overwritten), "refusals": list(found.refusals)}
        console.print_json({**found.values, **found.shown, **over, "needs": restores.needs(asked, found)})
        return console.REFUSED if found.refusals else console.OK
    for line in found.lines:
        console.say(line)
    for refusal in found.refusals:
        console.complain(refusal)
    if found.overwritten:
        how = "and in no backup" if restores.unprotected(asked, found) else "after a safety backup"
        console.say(f"  overwritten, {how}: {', '.join(found.overwritten)}", "bold")
        console.say(f"  a run needs: {' '.join(restores.needs(asked, found))}")
    if restores.needs_name(asked):
        console.say(
            f"  a run asks for the name `{environment}`, to be typed; where no terminal is: --yes {environment}"
        )
    return console.REFUSED if found.refusals else console.OK


@app.command
def run(
    *,
    environment: EnvironmentName,
    target: Target,
    kind: Kind = "mongodb",
    at: At = "latest",
    namespace: Names = (),
    overwrite: Over = (),
    without_safety_backup: Waived = "",
    users_and_roles: People = False,
    yes: Yes = "",
    local: Local = False,
    json: Json = False,
) -> int:
    """Restore: copies checked first, the base compared, the oplog replayed, and over what is there only what you name.

    Run again after it died or was interrupted (Ctrl-C, which exits 130), with the same options, it goes on. Where the
    environment's Prefect server answers, a run of its deployment is started there and followed (the reference must
    resolve where its worker runs); else it is done in this process. Into live secrets it asks for the environment's
    name first, to be typed. Exits 0 when all of it is there and was compared, 1 when it failed on the way, 2 when it
    was refused with the target untouched.
    """
    asked = Asked(environment, kind, at, target, namespace, overwrite, without_safety_backup, users_and_roles, yes)
    restores.check(asked)  # before anything of it stands in a parameter
    asked = _confirmed(asked, json)
    loaded = environments.load(environment)
    api = "" if local else running.answering_server(loaded)
    if api:
        return _through_server(api, loaded, asked, json)
    with bar(json) as tell, restore_turn.alone(asked, me(), tell) as lacking:
        if lacking:
            console.complain(lacking)
        planned = restores.plan(asked)
        try:
            found = restores.carry_out(asked, planned, me(), tell)
        except KeyboardInterrupt:
            console.complain("What was written stays there; the same command, run again, goes on where this one was.")
            raise
    if json:
        more = {"safety_backup": found.safety, "told": list(found.told), "failed": list(found.failed)}
        console.print_json({**found.done.values, **more})
        return console.FAILED if found.failed else console.OK
    for line in (found.done.line, *found.told):
        console.say(line)
    for line in found.failed:
        console.complain(line)
    return console.FAILED if found.failed else console.OK


@app.command
def archive(
    path: Path, /, *, environment: EnvironmentName, target: Server, namespace: Renamed = (), json: Json = False
) -> int:
    """Restore an archive that mongodump made (--archive, with or without --gzip) into a server that has none of it.

    All of it is read and its checksums compared before the target is touched; then every document is read back. Exits 0
    when all of it is there, 1 when it failed on the way, 2 when it was refused with the target untouched. Killed, it is
    begun anew, once what it left was dropped.
    """
    found = restore_archive(environment, path, target, namespace)
    if json:
        console.print_json(dict(found.values))
    else:
        console.say(found.line)
    return console.OK


def _confirmed(asked: Asked, quiet: bool) -> Asked:
    """With the environment's name as it was given or typed; refused where it is needed and is not that."""
    if restores.needs_name(asked) and not asked.confirmed and not quiet:
        typed = console.ask(
            f"This writes into the live {asked.kind} of {asked.environment}; `restore plan` says what. Type the "
            "environment's name to do it: "
        )
        asked = replace(asked, confirmed=typed)
    restores.check_confirmed(asked)
    return asked


def _through_server(api: str, loaded: Any, asked: Asked, quiet: bool) -> int:
    parameters = {
        "environment": asked.environment,
        "kind": asked.kind,
        "at": asked.at,
        "target": asked.target,
        "namespaces": list(asked.names),
        "overwrite": list(asked.overwrite),
        "without_safety_backup": asked.waived,
        "users_and_roles": asked.users_and_roles,
        "confirmed": asked.confirmed,
        "operator": me(),
    }
    found = running.begin(api, loaded, "restore/restore", parameters)
    address = running.address_of(loaded, api, found.id)
    if not quiet:
        console.say(f"Run {found.name}: {address}")
    state = running.follow(found, address, quiet=quiet)
    ok = state.is_completed()
    message = "" if ok else state.message or "no message"
    if quiet:
        console.print_json(
            {"ok": ok, "run": str(found.id), "address": address, "state": state.name, "message": message}
        )
    elif not ok:
        console.complain(f"{state.name}: {message}")
    refused = following.ours(message)[0] in following.REFUSALS
    return console.OK if ok else console.REFUSED if refused else console.FAILED


@contextmanager
def bar(quiet: bool) -> Iterator[Tell]:
    """A line that says how far it is, only where a terminal reads stderr."""
    screen, began, read = Console(stderr=True), time.monotonic(), dict[str, int]()
    if quiet or not screen.is_terminal:
        yield lambda doing, size: None
        return
    with Progress(TextColumn("{task.description}"), console=screen, transient=True) as bar:
        task = bar.add_task("")

        def tell(doing: str, size: int) -> None:
            read[doing] = read.get(doing, 0) + size
            bar.update(task, description=f"{doing}: {progress(read[doing], 0, time.monotonic() - began)}")

        yield tell
