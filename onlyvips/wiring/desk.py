"""What waits for an approval, and who approves it there as an authenticating proxy says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters import desk_http
from onlyvips.core import approvals, report
from onlyvips.core import group as groups
from onlyvips.core.desk import Wait
from onlyvips.core.group import Group
from onlyvips.core.record import Approval, Record
from onlyvips.core.trusting import Trust
from onlyvips.steps import group_records, records
from onlyvips.wiring import commanding, several

Wake = Callable[[Record | Group, str, str], str]
"""Resume the run of what was approved, by whom and why; what became of it, in a sentence."""


def serve(environment: str, trust: Trust, host: str, port: int, wake: Wake) -> None:
    """Show what waits and take approvals, until the process is ended. Raises Refused for an unknown environment."""
    environments.load(environment)
    desk_http.serve(app(environment, trust, wake), host, port)


def app(environment: str, trust: Trust, wake: Wake) -> desk_http.App:
    """The pages."""
    return desk_http.app(environment, trust, partial(waiting, environment), partial(approve, environment, wake))


def waiting(environment: str) -> list[Wait]:
    """What waits now."""
    cluster = wiring.cluster_of(environments.load(environment))
    found = list[Wait]()
    if (whole := group_records.find_open(cluster)) is not None and (one := _open(whole)) is not None:
        told = [f"{groups.headline(whole)}.", *several.known_before(environment, whole)]
        found.append(_wait(whole.id, "", one, told))
    for record in records.every(cluster, state="open"):
        if (one := _open(record)) is not None and record.phase != "rollback":
            found.append(_wait(record.id, record.service, one, _known_before(record)))
    return found


def _known_before(record: Record) -> list[str]:
    """What a person has to know who approves it."""
    asked = f"{record.operator} asked for {record.to_image}; {record.from_image} served when it began."
    looks = [f"The last look: {report.look_line(record.looks[-1])}."] if record.looks else []
    return [f"{report.headline(record)}.", asked, *looks]


def _open(found: Record | Group) -> Approval | None:
    return None if found.aborted else approvals.pending(found.approvals)


def _wait(release: str, service: str, one: Approval, told: list[str]) -> Wait:
    until = f"Wanted {approvals.before(one.what)}, until {approvals.moment(one.until)}."
    return Wait(release, service, one.what, (*told, until))


def approve(environment: str, wake: Wake, wait: Wait, by: str, proof: str, reason: str) -> str:
    """What came of it, in a sentence. Raises Refused where it cannot be approved, as `release approve` does."""
    of = {"release": wait.release, "before": wait.point, "proof": proof}
    record: Record | Group
    if wait.service:
        record, told = commanding.ask(environment, wait.service, "approve", by=by, reason=reason, **of)
    else:
        record, told = several.approve(environment, by=by, reason=reason, **of)
    return f"{told} {wake(record, by, reason)}".strip()
