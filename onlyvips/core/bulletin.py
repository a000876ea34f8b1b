"""One thing to tell people: what carries it, and what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from onlyvips.core.message import Message, Severity, written

Event = Literal[
    "started",
    "stage-passed",
    "held",
    "approval-wanted",
    "approved",
    "approval-expired",
    "going-back",
    "rolled-back",
    "promoted",
    "escalation",
]
EVENTS: tuple[Event, ...] = get_args(Event)
ENDS: tuple[Event, ...] = ("promoted", "rolled-back", "approval-expired")
"""What is worth telling of a release that is over."""


@dataclass(frozen=True)
class News:
    """One thing to tell. ``key`` names it once and for all."""

    event: Event
    key: str
    severity: Severity
    title: str
    happened: str
    done: str
    todo: str

    def message(self, link: str) -> Message:
        """As people read it."""
        return written(self.title, self.severity, happened=self.happened, done=self.done, todo=self.todo, link=link)


def outside(override: str) -> str:
    """What is told at the beginning of a release that no window, or a freeze, would have let begin."""
    return f" Begun outside of the release windows: {override.rstrip('.')}." if override else ""
