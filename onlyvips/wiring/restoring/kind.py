"""What a kind of backup must say so that it can be restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onlyvips.steps.sound import Tell

LIVE = "live"
"""As a target: what the environment itself names, whose backups these are."""


@dataclass(frozen=True)
class Asked:
    """What is to come back, and whereto.

    Args:
        environment: Whose backups.
        kind: Of which kind.
        at: Which moment; what it may say is the kind's.
        target: A reference (env:NAME, file:/path) of a place that has none of it, or ``live``.
        names: Only these, called so (``a=b``).
        overwrite: What of the target may be written over, by the names that the plan says.
        waived: Why no safety backup is taken before that; empty where one is taken.
        users_and_roles: Whether users and roles of the database come back too; of kind mongodb alone.
        confirmed: The environment's name, typed by who asks: what is live and secret is written only so.
    """

    environment: str
    kind: str
    at: str
    target: str
    names: tuple[str, ...] = ()
    overwrite: tuple[str, ...] = ()
    waived: str = ""
    users_and_roles: bool = False
    confirmed: str = ""


@dataclass(frozen=True)
class Planned:
    """What a run would do.

    Args:
        lines: For people.
        values: The same for programs.
        refusals: Sentences that a run would be refused with; none where it may be run.
        overwritten: What is there and would be written over: a run must be given each of these names.
        at: What ``Asked.at`` must say for this very plan, whatever backups come meanwhile; empty where it says so.
        shown: Values for who asks, which are kept nowhere: evidence is not encrypted.
        logged: Lines for a log that is kept, where ``lines`` has what should not be; None: those.
    """

    lines: tuple[str, ...]
    values: Mapping[str, Any]
    refusals: tuple[str, ...] = ()
    overwritten: tuple[str, ...] = ()
    at: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)
    logged: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Done:
    """What a run did, in a few sentences for people and in values for programs."""

    line: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """How one kind is restored.

    Args:
        check: Refuses what can be refused without asking anybody.
        plan: Writes nothing, and reads no more of a backup than that takes. Raises Refused for what cannot be had.
        run: Does it, or goes on with it; every object is checked before the target is touched. Raises Refused with the
            target untouched.
        finish: Called once what comes after a restore is done too; None where nothing is kept until then.
        confirmed: Whether into what is live only who typed the environment's name may write.
        named: Whether names of what is in it may stand in evidence, which is not encrypted.
    """

    check: Callable[[Asked], None]
    plan: Callable[[Asked], Planned]
    run: Callable[[Asked, Tell], Done]
    confirmed: bool = False
    named: bool = True
    finish: Callable[[Asked], None] | None = None
