"""What people are told of a release of several services itself, beside what each of them tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from onlyvips.core import group as groups
from onlyvips.core.group import Group
from onlyvips.core.news import News


def news(group: Group) -> tuple[News, ...]:
    """All that the record of the whole has to tell, in order."""
    return tuple(_all(group))


def _all(group: Group) -> Iterator[News]:
    yield _started(group)
    if group.closed:
        yield _over(group)
    elif group.decision == "failed":
        yield _going_back(group)
        yield from (_stuck(group, service, why) for service, why in group.stuck)


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
        f"{group.operator} asked for {', '.join(group.services)} {group.version}, promoted together or not at all.",
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
        f"{'Promoted' if good else 'Rolled back'}: {_name(group)}",
        f"{groups.headline(group)}.",
        "Each service has evidence of its own, and the whole has its document beside them.",
        groups.advice(group),
    )
