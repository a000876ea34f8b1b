"""What people are told of a release of several services itself, beside what each of them tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core import approval_news, approvals
from onlyvips.core import group as groups
from onlyvips.core.approval_news import Ask
from onlyvips.core.bulletin import News, outside
from onlyvips.core.group import Group
from onlyvips.core.plan import ManyPlan


def news(group: Group, plan: ManyPlan, now: float, escalate_after: float) -> tuple[News, ...]:
    """All that the record of the whole has to tell now, in order; ``escalate_after`` seconds without an answer are
    told once more."""
    return tuple(_all(group, plan, now, escalate_after))


def _all(group: Group, plan: ManyPlan, now: float, escalate_after: float) -> Iterator[News]:
    yield _started(group)
    ask, untouched = _ask(group, plan), group.result == "not-approved"
    for each in group.approvals:
        yield from approval_news.settled(ask, each, untouched, group.reason)
    if group.closed:
        yield from () if untouched and group.approvals[-1].outcome == "expired" else (_over(group),)
    elif group.decision == "failed" and not untouched:
        yield _going_back(group)
        yield from (_stuck(group, service, why) for service, why in group.stuck)
    elif not group.aborted and (one := approvals.pending(group.approvals)) is not None:
        yield from approval_news.waiting(ask, one, now, escalate_after)


def _ask(group: Group, plan: ManyPlan) -> Ask:
    return Ask(
        name=_name(group),
        environment=group.environment,
        release=group.id,
        version=group.version,
        whose="--all",
        commands=group.commands,
        rule=plan.approvals,
        operator=group.operator,
        meanwhile=f"Nothing of {', '.join(group.services)} was changed yet",
        otherwise="it is closed with nothing changed",
        prefix="all-",
        patience=plan.waits.maximum_hold,
    )


def _name(group: Group) -> str:
    return f"all services {group.version} in {group.environment}"


def _where(group: Group) -> str:
    return f"-e {group.environment} --all"


def _started(group: Group) -> News:
    return News(
        "started",
        "all-started",
        "info",
        f"Release of {_name(group)} started",
        f"{group.operator} asked for {', '.join(group.services)} {group.version}, promoted together or not at all."
        f"{outside(group.override)}",
        f"It checked what could be refused, and drives release {group.id}: nothing reached users yet.",
        f"Nothing. To stop it: onlyvips release abort {_where(group)}",
    )


def _going_back(group: Group) -> News:
    return News(
        "going-back",
        "all-going-back",
        "bad",
        f"All go back: {_name(group)}",
        f"{group.reason.rstrip('.')}.",
        f"Every service goes back to what it ran, in reverse order: {', '.join(reversed(group.services))}.",
        f"Wait for the message that all are back; onlyvips release status -e {group.environment} shows how far it is.",
    )


def _stuck(group: Group, service: str, why: str) -> News:
    return News(
        "held",
        f"all-stuck-{service}",
        "bad",
        f"{service} cannot go back: {_name(group)}",
        f"{why.rstrip('.')}.",
        "The others go back without waiting for it; it is tried again after them.",
        f"Put that right: onlyvips release status -e {group.environment} -s {service}",
    )


def _over(group: Group) -> News:
    good = group.result == "promoted"
    return News(
        "promoted" if good else "rolled-back",
        f"all-{group.result}",
        "good" if good else "bad",
        f"{_ENDS[group.result]}: {_name(group)}",
        f"{groups.headline(group)}.",
        "Its evidence is beside the backups."
        if group.result == "not-approved"
        else "Each service has evidence of its own, and the whole has its document beside them.",
        groups.advice(group),
    )


_ENDS = {"promoted": "Promoted", "rolled-back": "Rolled back", "not-approved": "Ended before anything changed"}
