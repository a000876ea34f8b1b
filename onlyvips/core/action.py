"""What a release may do next: the answer of ``next_action``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onlyvips.core.phases import Phase

Kind = Literal[
    "ask-approval",
    "note-approval",
    "snapshot",
    "back-up",
    "create-configs",
    "create-secrets",
    "migrate",
    "run-hook",
    "create-canary",
    "scale-canary",
    "set-weight",
    "look",
    "next-stage",
    "replace-stable",
    "scale-stable",
    "restore-stable",
    "restore-configuration",
    "note-progress",
    "stop",
    "start",
    "remove-canary",
    "bring-up",
    "smoke-test",
    "switch",
    "move-scaler",
    "retire",
    "put-back",
    "remove-leftovers",
    "prune-configuration",
    "write-evidence",
    "enter",
    "close",
    "wait",
]


@dataclass(frozen=True)
class Action:
    """What to do next and why. ``number`` is a weight or a count of pods; ``what`` names a wait, which is
    timed, or a colour."""

    kind: Kind
    reason: str
    number: int = 0
    phase: Phase = "closed"
    what: str = ""

    @property
    def title(self) -> str:
        """What a person reads in a list of steps."""
        words = self.kind.replace("-", " ")
        if self.kind == "set-weight":
            return f"{words} {self.number} %"
        if self.kind == "switch":
            return f"switch to {self.what}"
        if self.kind == "bring-up":
            return f"bring up {self.what} with {self.number} pod{'' if self.number == 1 else 's'}"
        if self.kind in ("create-canary", "scale-canary", "scale-stable", "start"):
            return f"{words} to {self.number} pod{'' if self.number == 1 else 's'}"
        return f"{words} {self.phase}" if self.kind == "enter" else f"{words} {self.what}".strip()


def enter(phase: Phase, reason: str) -> Action:
    """Leave this phase for ``phase``."""
    return Action("enter", reason, phase=phase)


def wait(what: str, reason: str) -> Action:
    """Nothing to do but look again."""
    return Action("wait", reason, what=what)
