"""Records of an environment's drills, as whoever relies on them reads them: list, audit, plans of restores, trend."""

from __future__ import annotations

from dataclasses import replace

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core import drills
from onlyvips.core.audit import CLOCKS_APART, Finding, Report
from onlyvips.core.backup_metrics import Gauge, drill_gauges
from onlyvips.core.drill_findings import findings, last_good
from onlyvips.core.drills import Begun, DrillRecord, Drills
from onlyvips.environment import Environment
from onlyvips.errors import OnlyVipsError, Refused
from onlyvips.steps.drill_records import read_records
from onlyvips.wiring.places import lease_cell, stores_of

_NEWEST = 20
"""Records that an audit and a plan look at: reading all of years takes its time."""


def records(loaded: Environment, newest: int = 0) -> Drills:
    """Every drill, or the newest so many, each checked. Raises Transient when no destination answers."""
    found = read_records(stores_of(loaded), loaded.name, environments.drill_keys(loaded), newest)
    return replace(found, running=_running(loaded, found.unended[-1])) if found.unended else found


def _running(loaded: Environment, begun: Begun) -> str:
    """Its id, where its lease was renewed of late: the newest that did not end, for there is one at a time. This is for
    people, so clocks may be compared; nothing is written because of it."""
    try:
        term = lease_cell(loaded, "drill").read()
    except OnlyVipsError:
        return ""
    if term is None or term.holder != begun.operator:
        return ""
    return begun.id if SystemClock().now() - term.renewed <= term.duration + CLOCKS_APART else ""


def one_record(loaded: Environment, id: str) -> DrillRecord | Begun:
    """The drill called ``id``, or the only one that begins so; where it never ended, that it began. Raises Refused,
    also for one not to be believed."""
    found = records(loaded)
    for one in found.unverified:
        if one.id.startswith(id):
            raise Refused(f"Drill {drills.told_unverified(one)}.")
    every: list[DrillRecord | Begun] = [*found.records, *found.unended]
    chosen = [one for one in every if one.id.startswith(id)]
    if len(chosen) != 1:
        many = "more than one drill" if chosen else "no drill"
        raise Refused(f"{loaded.name} has {many} `{id}`: see `onlyvips drill list -e {loaded.name}`.")
    return chosen[0]


def of_run(loaded: Environment, run: str) -> DrillRecord | None:
    """The drill that a Prefect run did, when its record can be believed."""
    return next((one for one in reversed(records(loaded, _NEWEST).records) if f"({run})" in one.operator), None)


def audited(loaded: Environment, report: Report) -> tuple[Report, list[Gauge]]:
    """The report with what is found of drills, and what monitoring is told of them."""
    plan = environments.drill_plan(loaded)
    now = SystemClock().now()
    try:
        found = records(loaded, _NEWEST) if plan.rehearsed else Drills()
        if plan.rehearsed and last_good(found, "mongodb", now) is None:
            found = records(loaded)  # it may be further back
        told = findings(found, plan, now)
    except OnlyVipsError as error:
        what = f"the records of drills could not be read: {str(error).rstrip('.')}"
        told, found = [Finding("fault", "mongodb", what, "until then nobody knows whether restores work")], Drills()
    return replace(report, findings=(*report.findings, *told)), drill_gauges(loaded.name, found, now)


def how_long(loaded: Environment, kind: str, size: int) -> str | None:
    """How long a restore of so many stored bytes takes, by past drills; None where none measured it."""
    try:
        found = drills.speed(records(loaded, _NEWEST), kind)
        return drills.how_long(size, found) if found else None
    except OnlyVipsError as error:
        return f"not known, the records of drills could not be read ({str(error).rstrip('.')})"
