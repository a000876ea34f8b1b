"""Who is told of a release: the environment's targets as notifiers, and the message's link."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.bulletin import EVENTS, Event
from onlyvips.core.group import Group
from onlyvips.core.message import written
from onlyvips.core.plan import ManyPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.environment import Environment
from onlyvips.errors import Refused
from onlyvips.ports import Cluster
from onlyvips.ports.notifier import Notifier
from onlyvips.steps import records
from onlyvips.steps.herald import SILENT, Crier, Herald, Target

_RUN = re.compile(r"\(([0-9a-f]{8}-[0-9a-f-]{27})\)")


def herald_of(
    loaded: Environment, plan: ReleasePlan | ManyPlan, cluster: Cluster, events: Sequence[Event] = EVENTS
) -> Herald:
    """Who tells people of a release by ``plan``, of one service or of several as a whole; of ``events`` alone."""
    if not (targets := [replace(one, wants=one.wants & frozenset(events)) for one in targets_of(loaded)]):
        return SILENT
    return Crier(
        targets,
        SystemClock(),
        plan,
        escalate_after=loaded.people.notifications.escalate_after,
        note=partial(records.note_told, cluster),
        link=partial(link, loaded),
    )


def targets_of(loaded: Environment) -> list[Target]:
    """The environment's targets; an address is looked up, and can be found wrong, only when something is sent there."""
    return [
        Target(
            name, frozenset(EVENTS if "all" in one.wants else (event for event in one.wants if event != "all")), opened
        )
        for name, one in loaded.people.notifications.targets.items()
        for opened in [partial(_notifier, loaded, name)]
    ]


def try_target(loaded: Environment, name: str) -> None:
    """Send a message to one target, to see that it arrives. Raises Refused or Transient, which say why not."""
    _notifier(loaded, name).send(
        written(
            f"A test of notifications to {name}",
            "info",
            happened=f"somebody asked whether messages of {loaded.name} arrive here.",
            done="it sent this one, and nothing else.",
            todo="nothing; you are told of releases here.",
            link=f"onlyvips environment check {loaded.name}",
        )
    )


def _notifier(loaded: Environment, name: str) -> Notifier:
    from onlyvips.adapters.notifier_apprise import AppriseNotifier  # it takes a second to import, and few need it

    target, people = loaded.people.notifications.targets[name], loaded.people
    to = {"leads": tuple(people.leads.values()), "escalation": (people.escalation,)}.get(target.to or "", ())
    return AppriseNotifier(name, environments.resolve(loaded, target.url).get_secret_value(), to)


def link(loaded: Environment, record: Record | Group) -> str:
    """Where a person looks at a release: the Prefect run that drives it, else the command that tells of it."""
    service = f" -s {record.service}" if isinstance(record, Record) else ""
    command = f"onlyvips release status -e {record.environment}{service}"
    found = _RUN.search(record.holders[-1]) if record.holders else None
    reference = loaded.endpoints.prefect_ui
    if found is None or reference is None:
        return command
    try:
        return f"{environments.endpoint(loaded, reference).rstrip('/')}/runs/flow-run/{found.group(1)}"
    except Refused:
        return command
