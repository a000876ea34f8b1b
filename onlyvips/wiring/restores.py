"""Restores of an environment: planned from what its destinations have, done into a target that a reference names."""

from __future__ import annotations

from onlyvips.errors import Refused
from onlyvips.steps.sound import Tell
from onlyvips.wiring.restoring import BUILT, Asked, Done, Planned

__all__ = ["Asked", "Done", "Planned", "check", "plan", "run"]


def check(asked: Asked) -> None:
    """All that can be refused without asking anybody. Raises Refused, without showing what stands for the target."""
    if asked.kind not in BUILT:
        raise Refused(
            f"Kind `{asked.kind}` cannot be restored by this command yet ({', '.join(BUILT)} can): nothing was read; "
            "docs/runbooks/restore.md says how it is done by hand."
        )
    BUILT[asked.kind].check(asked)


def plan(asked: Asked) -> Planned:
    """What a run would do. Nothing is written anywhere, and no object is read. Raises Refused for bad input."""
    check(asked)
    return BUILT[asked.kind].plan(asked)


def run(asked: Asked, tell: Tell) -> Done:
    """Do it, or go on with it. Raises Refused, with the target untouched, for all that can be known before."""
    check(asked)
    return BUILT[asked.kind].run(asked, tell)
