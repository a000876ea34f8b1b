"""``onlyvips release``: start one, see it, stop it, finish what nobody drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, TypeVar

from cyclopts import App, Parameter

from flows.commands import adopting, asking, console, following, planning, reading, running, together, waking
from flows.commands.options import EnvironmentName, Json, ServiceName, VersionName, me
from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.core import past, report
from onlyvips.core.record import Driver, Record
from onlyvips.errors import Driven, Permanent, Refused, Transient, UnknownOutcome
from onlyvips.wiring import evidence, reconciling, rollbacks, several

app = App(name="release")
T = TypeVar("T")

for each in (
    planning.plan,
    reading.evidence,
    asking.watch,
    asking.hold,
    asking.resume,
    asking.promote,
    asking.approve,
    adopting.adopt,
):
    app.command(each)


@app.command
def start(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    version: VersionName,
    override: Annotated[
        str, Parameter(help="Begin outside of the release windows or in a freeze, for this reason, which is kept.")
    ] = "",
    operator: Annotated[str, Parameter(help="Who asks for it; you, when not given.")] = "",
    local: Annotated[
        bool, Parameter(negative="", help="Run in this process even where a Prefect server answers.")
    ] = False,
    detach: Annotated[
        bool, Parameter(negative="", help="Return once the Prefect run is made; do not follow it.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Do every check that can be done before a change, then stop.")
    ] = False,
    all: Annotated[bool, Parameter(negative="", help="All services of the environment's release, as one.")] = False,
    json: Json = False,
) -> int:
    """Release VERSION of SERVICE by its strategy, and follow it to its end.

    Where the environment's Prefect server answers, a run of its deployment is started there; else the flow runs in
    this process. Exits 0 when promoted, 1 when rolled back or not finished, 2 when refused before anything changed.
    """
    loaded = environments.load(environment)
    _one_or_all(service, all)
    if all and dry_run:
        return _check_all(environment, version, json, override)
    if all:
        api = "" if local else running.answering_server(loaded)
        wanted = {"environment": loaded.name, "version": version, "operator": operator or me(), "override": override}
        return together.start(loaded, wanted, api, quiet=json, detach=detach, local=local)
    if dry_run:
        return _check(environment, service, version, json, override)
    api = "" if local else running.answering_server(loaded)
    if detach and not api:
        raise Refused("--detach needs a Prefect server, and none was asked or answers: nothing was started.")
    if not detach:
        _see_the_cluster(environment, service)
    asked = following.Asked(environment, service, version, operator or me(), quiet=json, override=override)
    if api:
        record = following.through_server(api, loaded, asked, detach=detach)
    else:
        record = following.in_this_process(asked, local=local)
    if record is None:
        return console.OK
    return _told(record, json)


def _one_or_all(service: str, all: bool) -> None:
    if all == bool(service):
        raise Refused("Give one service by --service, or all of the environment's release by --all: nothing was done.")


def _check_all(environment: str, version: str, json: bool, override: str) -> int:
    told = _before(lambda: several.check(environment, version, override=override))
    if json:
        console.print_json({"ok": True, "told": told})
        return console.OK
    for line in told:
        console.say(line)
    return console.OK


def _before(check: Callable[[], T]) -> T:
    """What the check answers. Raises Refused for whatever is in its way: nothing was changed."""
    try:
        return check()
    except (Transient, UnknownOutcome, Permanent) as error:
        raise error if isinstance(error, Refused) else Refused(str(error)) from error


def _see_the_cluster(environment: str, service: str) -> None:
    """A cluster that does not answer now is told now, not after all retries of a run."""
    try:
        wiring.status(environment, service)
    except (Transient, Permanent) as error:
        raise error if isinstance(error, Refused) else Refused(f"{error} No release was started.") from error


def _check(environment: str, service: str, version: str, json: bool, override: str) -> int:
    facts = _before(lambda: wiring.check(environment, service, version, override=override))
    sentence = (
        f"{service} {version} can be released in {environment}: it replaces {facts.image} on {facts.capacity} pods. "
        "Nothing was changed."
    )
    if json:
        console.print_json({"ok": True, "image": facts.image, "capacity": facts.capacity})
    else:
        console.say(sentence)
    return console.OK


def _told(record: Record, json: bool) -> int:
    if json:
        console.print_json(report.summary(record))
    else:
        console.say(f"{report.headline(record)}.", "bold green" if record.result == "promoted" else "bold red")
        console.say(report.advice(record))
        for place in evidence.places(record)[:1]:
            how = f"onlyvips release evidence -e {record.environment} --release {record.id} --html FILE"
            console.say(f"Evidence: {place}; as a page: {how}")
    return console.OK if record.result == "promoted" else console.FAILED


@app.command
def rollback(
    *,
    environment: EnvironmentName,
    service: ServiceName,
    to: Annotated[str, Parameter(help="What to go back to, by its name in --list; the newest, when not given.")] = "",
    list: Annotated[bool, Parameter(negative="", help="List what it can go back to, and do nothing.")] = False,
    operator: Annotated[str, Parameter(help="Who asks for it; you, when not given.")] = "",
    local: Annotated[
        bool, Parameter(negative="", help="Run in this process even where a Prefect server answers.")
    ] = False,
    json: Json = False,
) -> int:
    """Bring back what an earlier release of SERVICE replaced: its whole template, by a release of its own.

    Its stages last no longer than a look each. A migration is not undone. Never frozen. Exits as start does.
    """
    found = rollbacks.listed(environment, service)
    if list:
        if json:
            console.print_json([asdict(one) for one in found])
        for line in [] if json else past.lines(found) or [f"No release of {service} was promoted yet."]:
            console.say(line)
        return console.OK
    chosen = past.choose(found, service, to)
    if not json:
        console.say(f"Back to {chosen.name} ({chosen.image}). A migration is not undone.")
    api = "" if local else running.answering_server(environments.load(environment))
    asked = following.Asked(environment, service, "", operator or me(), quiet=json, back=True, to=chosen.name)
    if api:
        record = following.through_server(api, environments.load(environment), asked, detach=False)
    else:
        record = following.in_this_process(asked, local=local)
    return console.OK if record is None else _told(record, json)


@app.command
def status(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    all: Annotated[bool, Parameter(negative="", help="Closed releases too, not only the newest.")] = False,
    json: Json = False,
) -> int:
    """Show open releases and the newest closed one: phase, weight, who drives it, what to do. Needs no Prefect."""
    found = wiring.status(environment, service)
    if not json:
        together.status(environment, service)
    shown = found if all else [one for one in found if one[0].open] or found[-1:]
    if json:
        console.print_json([_status_json(record, driver) for record, driver in shown])
        return console.OK
    if not shown:
        console.say(f"No release{f' of {service}' if service else ''} was made in {environment} yet.")
    for record, driver in shown:
        console.say(f"{report.headline(record)}.", "bold")
        if record.open:
            console.say(report.driver(record, driver))
        for line in report.lines(record, 0, 0)[-8:]:
            console.say(f"  {line}")
        if told := report.waiting(record):
            console.say(f"  {told}")
        console.say(report.advice(record))
    return console.OK


def _status_json(record: Record, driver: Driver) -> dict[str, object]:
    return {**report.summary(record), "driver": driver.holder, "driver_renewed": driver.renewed}


@app.command
def abort(
    *,
    environment: EnvironmentName,
    service: ServiceName = "",
    all: Annotated[bool, Parameter(negative="", help="The release of all services.")] = False,
    reason: str = "",
    json: Json = False,
) -> int:
    """Ask the open release of SERVICE to go back. A living driver does it; without one, this command does."""
    who = me()
    _one_or_all(service, all)
    if all:
        return together.abort(environment, who, reason, environments.load(environment).waits.lease, quiet=json)
    record = wiring.abort(environment, service, by=who, reason=reason)
    finish = partial(wiring.reconcile, environment, service, holder=f"abort by {who}", attended=True)
    try:
        record = finish()[0] or record
    except Driven as alive:
        if not json:
            console.say(f"{alive} It goes back by itself; following it.")
        asked = following.Asked(environment, service, record.version, who, quiet=json)
        silence = 2 * environments.load(environment).waits.lease
        record = following.until_closed(asked, record.id, finish=finish, silence=silence)
    woken = waking.wake(environment, record, "abort", who, reason) if record.result == "not-approved" else ""
    if json:
        console.print_json(report.summary(record))
    else:
        console.say(f"{report.headline(record)}.", "bold")
        console.say(f"{report.advice(record)} {woken}".strip())
    return console.OK if record.result in ("rolled-back", "not-approved") else console.FAILED


@app.command
def reconcile(*, environment: EnvironmentName, service: ServiceName = "", json: Json = False) -> int:
    """Finish releases whose driver is dead: back to stable, or, when stable was replaced already, to the end.

    It raises no weight of the new version: where stable has to go back under traffic, a canary of the old carries all.
    A release with a living driver is left alone, and every service has its turn, whatever becomes of the others. Needs
    no Prefect.
    """
    told = [
        reconciling.one(environment, name, f"reconcile by {me()}")
        for name in reconciling.services(environment, service)
    ]
    if json:
        console.print_json([asdict(each) for each in told])
    else:
        for each in told:
            tell = console.complain if each.outcome == "failed" else console.say
            tell(f"{each.service}: {each.sentence}")
    return console.FAILED if any(each.unfinished for each in told) else console.OK
