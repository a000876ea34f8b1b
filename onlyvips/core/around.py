"""What stands around a release: when it may begin, where its backup goes, who is told, what nothing goes back across.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onlyvips.core.plan import HookPlan
from onlyvips.core.spans import span
from onlyvips.core.windows import Calendar, Outlook, moment, outlook


@dataclass(frozen=True)
class Backup:
    """The base that a release takes: of which database, to which destinations (as people read them), for how many
    recipients."""

    database: str
    destinations: tuple[str, ...]
    recipients: int


@dataclass(frozen=True)
class Around:
    """``now`` is when it was asked; ``told`` names each target with the events that it wants; ``contract`` is the
    migration that only a release of all services runs."""

    calendar: Calendar
    now: float
    backup: Backup
    told: tuple[tuple[str, tuple[str, ...]], ...] = ()
    escalate_after: float = 0.0
    contract: HookPlan | None = None

    @property
    def outlook(self) -> Outlook:
        """Whether it may begin now."""
        return outlook(self.calendar, self.now)


def when(around: Around, at_least: float) -> Iterator[str]:
    """Windows and freezes as they are now, and what becomes of a release that lasts beyond them."""
    seen, calendar = around.outlook, around.calendar
    if not seen.open:
        later = moment(calendar, seen.following) if seen.following is not None else "not known"
        yield f"not now: {seen.why}; the next time is {later}, before that only with `--override REASON`"
    elif seen.until is None:
        yield f"now ({moment(calendar, around.now)}): {_nothing(calendar)}"
    else:
        yield f"now, until {moment(calendar, seen.until)}, when {seen.ends}"
        if around.now + at_least > seen.until:
            end = moment(calendar, around.now + at_least)
            yield f"begun now it ends after that, not before {end}: what is open goes on, abort and rollback too"
    for freeze in calendar.freezes:
        if freeze.end > around.now:
            yield f"frozen from {moment(calendar, freeze.start)} to {moment(calendar, freeze.end)}: {freeze.why}"


def _nothing(calendar: Calendar) -> str:
    return (
        "no freeze is to come" if calendar.windows else "the environment has no release windows, and no freeze to come"
    )


def backup(around: Around) -> str:
    """What is backed up, to where."""
    kept = around.backup
    who = f"{kept.recipients} recipient{'' if kept.recipients == 1 else 's'}"
    places = "; ".join(kept.destinations)
    return f"a base of database {kept.database}, encrypted for {who}, to {len(kept.destinations)} places ({places})"


def told(around: Around) -> Iterator[str]:
    """Who gets which messages."""
    for name, events in around.told:
        yield f"{name}: {', '.join(events)}"
    if not around.told:
        yield "nobody: people.notifications.targets names no target, so somebody has to watch"
    elif not any("escalation" in events for _, events in around.told):
        yield "nobody, when a question is not answered: no target wants `escalation`"
    else:
        yield f"escalation comes when nobody has answered for {span(around.escalate_after)}"


def point_of_no_return(around: Around, later: str) -> str:
    """What cannot be taken back, for one service; ``later`` is what brings the old version back once it is closed."""
    if around.contract is None:
        return f"none: until it is closed it can go back, and after that by {later}"
    return (
        f"none in this release: the contract migration {around.contract.name} runs with `--all` alone. Where it has "
        "run, no older version can read the data: do not go back across it"
    )
