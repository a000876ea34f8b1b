"""What a release of several services does next: forward in order, back as one, in reverse.

Pure, like ``core.decide``: it is asked with the record of the whole and the records of its members, by its driver and
by the reconciler. Until every service runs the new version nothing is decided; from then on all of them are promoted,
or all of them go back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips.core import approvals, hooks
from onlyvips.core.group import Group
from onlyvips.core.plan import ManyPlan
from onlyvips.core.record import Approval, Command, Record

Kind = Literal[
    "wait-for-approval",
    "approve",
    "run-hook",
    "back-up",
    "prepare",
    "migrate",
    "forward",
    "promote",
    "fail",
    "back",
    "finish",
    "contract",
    "write-evidence",
    "close",
]
MEMBERS = ("prepare", "forward", "back", "finish")
"""What is done by driving the release of one service, until ``arrived``."""
_PREPARING = ("prepare", "backup", "secrets")
_PAST_FORWARD = ("together", "rollback", "evidence", "closed")

Members = Mapping[str, Record | None]


@dataclass(frozen=True)
class Do:
    """What to do next and why; ``service`` of which member, ``what`` names a hook."""

    kind: Kind
    reason: str
    service: str = ""
    what: str = ""

    @property
    def title(self) -> str:
        """What a person reads in a list of steps."""
        return " ".join(part for part in (self.kind.replace("-", " "), self.service, self.what) if part)


def next_step(
    group: Group,
    members: Members,
    plan: ManyPlan,
    *,
    attended: bool,
    known: Sequence[Command] = (),
    passed: Sequence[str] = (),
    now: float = 0.0,
) -> Do | None:
    """The next step of the whole; None when it is closed, or when only a person may go on. ``known``: what had been
    asked of it when a person started it; ``passed``: members that stood still on their way back, the latest last;
    ``now``: unix seconds, for deadlines of people."""
    if group.closed:
        return None
    if group.decision == "failed":
        return _back(group, members, passed) or _end(group)
    if group.decision == "promoted":
        return _finish(group, members) or _after_all(group, plan, attended and not _aborted_since(group, known))
    if (one := approvals.pending(group.approvals)) is not None:
        return _awaiting(group, plan, one, attended, now)
    why = _failure(group, members, attended)
    return Do("fail", why) if why else _forward(group, members, plan)


def arrived(do: Do, record: Record) -> bool:
    """Whether driving the member has brought it to where ``do`` wants it, or to where all have to go back."""
    if do.kind == "prepare":
        return record.phase not in _PREPARING
    if do.kind == "forward":
        return record.phase in _PAST_FORWARD
    return not record.open


def _awaiting(group: Group, plan: ManyPlan, one: Approval, attended: bool, now: float) -> Do:
    """One approval for all of them, before anything changes."""
    asked = plan.approvals
    if group.aborted:
        return Do("fail", _aborted_by(group.aborted))
    counted = approvals.given(one, group.commands, asked, group.operator)
    if approvals.granted(one, group.commands, asked, group.operator):
        if attended:
            return Do("approve", approvals.names(counted))
        if now < one.until + plan.waits.maximum_hold:
            return Do("wait-for-approval", f"approved by {approvals.names(counted)}: who starts it again goes on")
        return Do("fail", approvals.expired(one, counted, asked))
    if now >= one.until:
        return Do("fail", approvals.expired(one, counted, asked))
    type_this = approvals.command_of(group.environment, group.id, "--all", one)
    return Do("wait-for-approval", approvals.sentence(one, counted, asked, type_this, group.operator))


def _aborted_by(command: Command) -> str:
    return f"{command.by} asked for an abort: {command.reason or 'no reason given'}"


def _failure(group: Group, members: Members, attended: bool) -> str:
    if group.aborted:
        return _aborted_by(group.aborted)
    if (hook := hooks.failed(group.hooks)) is not None:
        return hooks.sentence(hook)
    for service, record in members.items():
        if record is None:
            continue
        if record.phase == "rollback" or record.result == "rolled-back":
            return f"{service} went back: {record.reason}"
        if not record.open:
            return f"the release of {service} was closed by hand"
    waiting = [service for service in group.services if not _together(members[service])]
    if waiting and not attended:
        return f"its driver is gone and {', '.join(waiting)} did not get the new version yet"
    return ""


def _together(record: Record | None) -> bool:
    return record is not None and record.phase == "together"


def _forward(group: Group, members: Members, plan: ManyPlan) -> Do:
    if (hook := hooks.following(plan.before, group.hooks)) is not None:
        return Do("run-hook", "before anything changes", what=hook.name)
    if not group.backup:
        return Do("back-up", "one backup for all services, before anything changes")
    for service in group.services:
        found = members[service]
        if found is None or found.phase in _PREPARING:
            return Do("prepare", "snapshots and new Secrets of every service come before traffic of any", service)
    if not group.migration:
        return Do("migrate", "one migration for all services, before any of them")
    for number, service in enumerate(group.services, 1):
        if not _together(members[service]):
            return Do("forward", f"{number} of {len(group.services)} services", service)
    if (hook := hooks.following(plan.after, group.hooks)) is not None:
        return Do("run-hook", "every service runs the new version", what=hook.name)
    return Do("promote", f"all of {', '.join(group.services)} run {group.version}")


def _back(group: Group, members: Members, passed: Sequence[str]) -> Do | None:
    """In reverse order; those that stood still come after the others, the one that was tried longest ago first."""
    left = going_back_still(group, members)
    following = [service for service in left if service not in passed] or sorted(left, key=list(passed).index)
    return Do("back", group.reason, following[0]) if following else None


def going_back_still(group: Group, members: Members) -> list[str]:
    """Members that are not back yet, in the order in which they go."""
    found = ((service, members[service]) for service in reversed(group.services))
    return [service for service, record in found if record is not None and record.open]


def _finish(group: Group, members: Members) -> Do | None:
    for service in group.services:
        found = members[service]
        if found is not None and found.open:
            return Do("finish", "all services are promoted", service)
    return None


def _aborted_since(group: Group, known: Sequence[Command]) -> bool:
    return any(command.name == "abort" and command not in known for command in group.commands)


def _after_all(group: Group, plan: ManyPlan, attended: bool) -> Do | None:
    """The point of no return is passed by people alone, never by who comes because nobody else does, nor once somebody
    asked for an abort that came too late: who still wants it starts the release again."""
    if plan.contract is None or group.contract == "complete":
        return _end(group)
    if not attended:
        return None
    return Do("contract", "no service reads the old form of the data any more", what=plan.contract.name)


def _end(group: Group) -> Do:
    if not group.evidence:
        return Do("write-evidence", "the record of what happened goes to the stores of the backups")
    return Do("close", group.reason)
