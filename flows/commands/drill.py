"""``onlyvips drill``: rehearse a restore, list and show what drills found, their trend, and a key to sign with."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from flows.commands import console, following, running
from flows.commands.backup import EnvironmentName, Json, Local, me
from flows.commands.restore import bar
from onlyvips import environment as environments
from onlyvips.core import drills as core
from onlyvips.core.drills import Begun, DrillRecord
from onlyvips.errors import Refused
from onlyvips.steps.signature import make_key
from onlyvips.wiring import backups, drill_records, drills, trend

app = App(name="drill")

Kind = Annotated[str, Parameter(name=["--kind", "-k"], help="mongodb.")]
At = Annotated[str, Parameter(help="latest, a moment (2026-08-01T12:00:00Z), or SECONDS:ORDINAL.")]
Output = Annotated[str, Parameter(name=["--output", "-o"], help="The file to write.")]


@app.command
def run(
    *,
    environment: EnvironmentName,
    kind: Kind = "mongodb",
    at: At = "latest",
    local: Local = False,
    json: Json = False,
) -> int:
    """Restore the newest base with slices into a scratch database, compare it, measure, and keep a signed record.

    Only one of latest counts as the newest drill; one of an older moment is listed and shown as such. Ctrl-C of one in
    this process removes the scratch database and keeps a record that says so; of one that is followed, it ends the
    following alone.

    Where the environment's Prefect server answers, a run of its deployment is started there and followed; else it is
    done in this process. Exits 0 when the drill passed, 1 when it failed (its record says why), 2 when it was refused
    before anything was done.
    """
    loaded = drills.check(environment, kind, at)
    api = "" if local else running.answering_server(loaded)
    if api:
        return _through_server(api, loaded, kind, at, json)
    try:
        with bar(json) as tell, drills.rehearsing(environment, kind, at, me(), tell) as id:
            record, kept = drills.run(id)
    except BaseException as error:
        for note in getattr(error, "__notes__", ()):  # what became of a drill that was interrupted
            console.complain(note)
        raise
    if why := backups.measure(environment):
        console.complain(why)
    for refusal in kept.refusals:
        console.complain(f"The record is not kept by {refusal}")
    _tell(record, json)
    return console.OK if record.passed else console.FAILED


def _through_server(api: str, loaded: Any, kind: str, at: str, quiet: bool) -> int:
    parameters = {"environment": loaded.name, "kind": kind, "at": at, "operator": me()}
    found = running.begin(api, loaded, "drill/drill", parameters)
    address = running.address_of(loaded, api, found.id)
    if not quiet:
        console.say(f"Run {found.name}: {address}")
    state = running.follow(found, address, quiet=quiet)
    ok, message = state.is_completed(), state.message or "no message"
    refused = following.ours(message)[0] in following.REFUSALS  # a drill that failed is told as Permanent
    if quiet:
        result = {"ok": ok, "run": str(found.id), "address": address, "state": state.name, "message": message}
        mine = drill_records.of_run(loaded, str(found.id))
        console.print_json({**result, **(asdict(mine) if mine else {})})
    elif not ok:
        console.complain(f"{state.name}: {message}")
    return console.OK if ok else console.REFUSED if refused else console.FAILED


def _tell(record: DrillRecord | Begun, json: bool) -> None:
    if json:
        console.print_json(asdict(record))
        return
    for line in core.lines(record) if isinstance(record, DrillRecord) else core.begun_lines(record):
        console.say(line)


@app.command(name="list")
def list_(*, environment: EnvironmentName, json: Json = False) -> int:
    """Every drill whose record is signed by a key of the environment, oldest first; others are named and ignored.

    One that began and has no record never ended. Needs no Prefect. Exits 1 when a record is ignored or a destination
    could not be read.
    """
    found = drill_records.records(environments.load(environment))
    away = dict(found.away or {})
    if json:
        ignored = [asdict(one) for one in found.unverified]
        ended, unended = ([asdict(one) for one in each] for each in (found.records, found.unended))
        told = {"drills": ended, "unended": unended, "running": found.running, "ignored": ignored, "away": away}
        console.print_json(told)
    else:
        console.table(core.HEADS, core.rows(found))
        for one in found.unverified:
            console.complain(core.told_unverified(one))
        for name, why in away.items():
            console.complain(f"{name} could not be read: {why}")
        if not found.records and not found.unended:
            console.say(f"{environment} has no drill yet that can be believed.")
    return console.FAILED if found.unverified or away else console.OK


@app.command
def show(id: str, /, *, environment: EnvironmentName, json: Json = False) -> int:
    """One drill: what it restored, what was compared, how long it took. Refused where its signature is not good."""
    _tell(drill_records.one_record(environments.load(environment), id), json)
    return console.OK


@app.command(name="trend")
def trend_(*, environment: EnvironmentName, output: Output = "", json: Json = False) -> int:
    """Write a page with RTO and RPO over all drills, and their targets: one HTML file that needs nothing else.

    An older page of that name is replaced.
    """
    path = Path(output or f"drills-{environment}.html")
    text = trend.page(environment)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}. Give another --output.") from error
    if json:
        console.print_json({"page": str(path.resolve())})
    else:
        console.say(f"Written: {path.resolve()}")
    return console.OK


@app.command
def key(*, output: Output, json: Json = False) -> int:
    """Make a pair of keys: the private one into a new file for its owner alone, the public one printed.

    The private one is what recovery.drill.signing_key refers to, the public one stands in recovery.drill.public_keys.
    """
    path, pair = Path(output), make_key()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{pair.private_text()}\n")
    except FileExistsError as error:
        raise Refused(f"{path} is there already, and may be a key in use: nothing was written.") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}. Nothing was written.") from error
    if json:
        console.print_json({"public": pair.public, "private_in": str(path.resolve())})
    else:
        console.say(pair.public)
    return console.OK
