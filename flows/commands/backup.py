"""``onlyvips backup``: take one, list and show what there is, read it back, audit, repair and prune."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import Progress, TextColumn

from flows.commands import console, running
from onlyvips import environment as environments
from onlyvips.core import backup_report as report
from onlyvips.core.catalog import KINDS, Backup
from onlyvips.errors import Refused
from onlyvips.steps import prune_report
from onlyvips.steps.backup import Taken
from onlyvips.wiring import backups
from onlyvips.wiring import prune as pruning
from onlyvips.wiring.backups import Asked, Read
from tasks.policies import until_whole

app = App(name="backup")

EnvironmentName = Annotated[str, Parameter(name=["--environment", "-e"], help="Environment, for example lab.")]
Kind = Annotated[str, Parameter(name=["--kind", "-k"], help=f"{', '.join(KINDS)}, or all.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON on stdout and nothing else.")]
Local = Annotated[bool, Parameter(negative="", help="Run in this process even where a Prefect server answers.")]


def me() -> str:
    """Who runs the command."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@app.command
def run(
    *,
    environment: EnvironmentName,
    kind: Kind,
    if_changed: Annotated[
        bool, Parameter(negative="", help="Only when something changed; configuration alone.")
    ] = False,
    local: Local = False,
    json: Json = False,
) -> int:
    """Take a backup of one kind, or of all that the environment asks for.

    Where the environment's Prefect server answers, a run of its deployment is started there and followed; else it is
    taken in this process, without Prefect. Exits 0 when every destination has it, 1 when it is degraded or there is
    none, 2 when it was refused before anything was read.
    """
    loaded = environments.load(environment)
    kinds = environments.kinds(loaded) if kind == "all" else [kind]
    for one in kinds:
        backups.check_kind(environment, one)
    api = "" if local else running.answering_server(loaded)
    results = [_run_one(api, loaded, one, if_changed, json) for one in kinds]
    if json:
        console.print_json(results if kind == "all" else results[0])
    return console.OK if all(each["ok"] for each in results) else console.FAILED


def _run_one(api: str, loaded: Any, kind: str, if_changed: bool, quiet: bool) -> dict[str, Any]:
    if api:
        return _through_server(api, loaded, kind, {"if_changed": True} if if_changed else {}, quiet)
    if if_changed and (why := backups.unchanged(loaded.name, kind)):
        if not quiet:
            console.say(why)
        return {"ok": True, "kind": kind, "unchanged": why}
    return _here(loaded.name, kind, quiet)


def _through_server(api: str, loaded: Any, kind: str, how: dict[str, Any], quiet: bool) -> dict[str, Any]:
    parameters = {"environment": loaded.name, "kind": kind, "operator": me(), **how}
    found = running.begin(api, loaded, "backup/backup", parameters)
    address = running.address_of(loaded, api, found.id)
    if not quiet:
        console.say(f"Run {found.name}: {address}")
    state = running.follow(found, address, quiet=quiet)
    ok = state.is_completed()
    if not ok and not quiet:
        console.complain(f"{state.name}: {state.message or 'no message'}")
    result = {"kind": kind, "ok": ok, "run": str(found.id), "address": address, "state": state.name}
    if quiet and (one := backups.of_run(loaded.name, kind, str(found.id))):
        result |= report.catalog_entry(one)
    return result


def _here(environment: str, kind: str, quiet: bool) -> dict[str, Any]:
    if not quiet:
        console.say(f"Backing up {kind} of {environment} in this process.")
    taken = until_whole(partial(_taken_here, environment, kind, quiet), console.complain, backups.wait)
    if why := backups.measure(environment):
        console.complain(why)
    told = report.taken(taken.manifest, taken.lacking)
    if not quiet:
        console.say(told, "red" if taken.degraded or report.ends(taken.manifest) else "")
    return {"ok": not taken.degraded, **report.backup_summary(taken.manifest)}


def _taken_here(environment: str, kind: str, quiet: bool) -> Taken:
    with _bar(quiet) as bar, backups.taking(environment, kind, me(), bar.tell) as session:
        bar.expects(partial(backups.expected, session))
        return backups.take_all(session)


@app.command(name="list")
def list_(*, environment: EnvironmentName, kind: Kind = "all", json: Json = False) -> int:
    """Every backup, with the destinations that have it whole. Reads listings and manifests only; needs no Prefect."""
    found = backups.catalog(environment)
    shown = [one for one in found.backups if kind in ("all", one.kind)]
    if json:
        console.print_json({"backups": [report.catalog_entry(one) for one in shown], "away": found.away})
    else:
        for name, why in found.away.items():
            console.complain(f"{name} could not be read: {why}")
        console.table(("backup", "kind", "finished", "size", "copies"), [report.catalog_row(one) for one in shown])
        if not shown:
            console.say(f"{environment} has no backup{'' if kind == 'all' else f' of kind {kind}'} yet.")
    return console.FAILED if found.away else console.OK


@app.command
def show(id: str, /, *, environment: EnvironmentName, json: Json = False) -> int:
    """One backup: what it holds, where its copies are, and what is wrong with them."""
    one = backups.one_backup(environment, id)
    if json:
        console.print_json({**report.catalog_entry(one), "manifest": asdict(one.manifest) if one.manifest else None})
        return console.OK
    for line in _lines(one):
        console.say(line)
    return console.OK


def _lines(one: Backup) -> Iterator[str]:
    yield f"{one.prefix} ({one.kind})"
    if (manifest := one.manifest) is None:
        yield "  It has no manifest that can be believed: it is no backup."
    else:
        server = f"{manifest.server.dialect} {manifest.server.version}"
        yield f"  {manifest.started} to {manifest.finished}, {server}, oplog {manifest.oplog}"
        if manifest.window:
            yield f"  {report.window(manifest.window)}"
        for fact in manifest.facts:
            yield f"  {fact.name}: {fact.value}"
        for record in manifest.objects:
            held = sum(namespace.documents for namespace in record.namespaces)
            yield f"  {report.written(record.key, record.size, held)}"
    for copy in one.copies:
        state = "complete" if copy.complete else "not read" if copy.away else "; ".join(copy.flaws)
        yield f"  {copy.destination}: {state}" + (f", read back {copy.verified}" if copy.verified else "")


@app.command
def verify(
    id: str = "",
    /,
    *,
    environment: EnvironmentName,
    share: Annotated[float, Parameter(help="Share of the objects to read, above 0 and at most 1.")] = 1.0,
    decrypt: Annotated[bool, Parameter(negative="", help="Decrypt too: framing, counts, checksums.")] = False,
    unread_hours: Annotated[float, Parameter(help="Only copies that were not read back for so many hours.")] = 0.0,
    json: Json = False,
) -> int:
    """Read back every copy of backup ID, or of all backups, and compare it with what was written.

    The results are kept as evidence beside the backups; the audit counts a copy only when it was read back lately.
    Exits 1 when a copy is damaged or could not be read.
    """
    if not 0 < share <= 1:
        raise Refused(f"--share is {share:g}: it must be above 0 and at most 1.")
    with _bar(json) as bar:
        found = backups.verify_backups(environment, id, Asked(share, decrypt, unread_hours * 3600), bar.tell_size)
    if json:
        console.print_json([asdict(one) for one in found])
    else:
        for one in found:
            console.say(report.verification(one), "" if one.good else "red")
        if not found:
            console.say("No copy was due to be read back.")
    return console.OK if all(one.good for one in found) else console.FAILED


@app.command
def audit(
    *,
    environment: EnvironmentName,
    read: Annotated[Read, Parameter(help="Which backups to read back first.")] = "newest",
    json: Json = False,
) -> int:
    """3-2-1-1-0 by evidence: copies, media, sites, errors, and the newest moment that can be brought back.

    Exits 0 when everything that the environment asks for holds, 1 with the faults when it does not.
    """
    with _bar(json) as bar:
        found = backups.audit_backups(environment, read, bar.tell_size)
    if json:
        console.print_json({"holds": found.holds, **asdict(found)})
    else:
        *lines, headline = report.audit_lines(found)
        for line in lines:
            console.say(line, "red" if line.startswith("fault") else "")
        console.say(headline, "bold green" if found.holds else "bold red")
    return console.OK if found.holds else console.FAILED


@app.command
def repair(id: str, /, *, environment: EnvironmentName, json: Json = False) -> int:
    """Make every copy of backup ID complete, from a good one: reads all, writes what is missing or damaged."""
    found = backups.repair_backup(environment, id, me())
    if json:
        console.print_json([asdict(one) for one in found])
    else:
        for one in found:
            console.say(report.repaired(one.destination, one.written, one.why), "red" if one.why else "")
    return console.FAILED if any(one.why for one in found) else console.OK


@app.command
def prune(
    *,
    environment: EnvironmentName,
    kind: Kind = "all",
    dry_run: Annotated[bool, Parameter(negative="", help="Change nothing; tell what would go and what stays.")] = False,
    json: Json = False,
) -> int:
    """Remove what retention no longer keeps, at every destination; lock what it keeps for as long as it will.

    What goes and why is written down first. Never goes: the last good backup of a kind, what another one needs, what
    is locked (it is told until when). Exits 0 when all was done, 1 when something could not be or somebody writes
    backups of that kind just now, 2 when it was refused before anything was changed.
    """
    found = pruning.prune_backups(environment, "" if kind == "all" else kind, me(), dry=dry_run)
    if json:
        console.print_json(prune_report.as_json(found))
        return console.OK if found.ok else console.FAILED
    console.table(prune_report.HEADS, prune_report.rows(found))
    for line in prune_report.lines(found):
        console.say(line)
    for line in prune_report.failures(found):
        console.complain(line)
    return console.OK if found.ok else console.FAILED


class _Bar:
    """A line that says how far it is, only where a terminal reads stderr."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._began, self._size = progress, time.monotonic(), 0
        self._task = progress.add_task("") if progress else None
        self._expected: Callable[[], int] = int

    def expects(self, expected: Callable[[], int]) -> None:
        """How many bytes there will be, as far as one knows."""
        self._expected = expected

    def tell(self, size: int, documents: int) -> None:
        """So much altogether."""
        if self._progress is not None and self._task is not None:
            told = report.progress(size, documents, time.monotonic() - self._began, self._expected())
            self._progress.update(self._task, description=told)

    def tell_size(self, size: int) -> None:
        """So many bytes more."""
        self._size += size
        self.tell(self._size, 0)


@contextmanager
def _bar(quiet: bool) -> Iterator[_Bar]:
    screen = Console(stderr=True)
    if quiet or not screen.is_terminal:
        yield _Bar(None)
        return
    with Progress(TextColumn("{task.description}"), console=screen, transient=True) as progress:
        yield _Bar(progress)
