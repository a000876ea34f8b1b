"""The phases of a release: what its record goes through, in order, by strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from onlyvips.core.plan import Strategy

Phase = Literal[
    "awaiting-approval",
    "prepare",
    "backup",
    "secrets",
    "migrate",
    "canary",
    "promote",
    "preview",
    "switch",
    "warm",
    "roll",
    "together",
    "rollback",
    "evidence",
    "closed",
]

AWAITING: Phase = "awaiting-approval"
"""Where a release begins that wants an approval before anything changes: nobody holds its Lease."""
BEFORE_TRAFFIC: tuple[Phase, ...] = ("prepare", "backup", "secrets", "migrate")
_FORWARD: Mapping[Strategy, tuple[Phase, ...]] = {
    "canary": ("canary", "promote"),
    "blue-green": ("preview", "switch", "warm"),
    "rolling": ("roll",),
    "recreate": ("roll",),
}
_END: tuple[Phase, ...] = ("rollback", "evidence", "closed")


def forward_of(strategy: Strategy) -> tuple[Phase, ...]:
    """The phases in which a strategy brings the new version to users."""
    return _FORWARD[strategy]


def phases_of(strategy: Strategy) -> tuple[Phase, ...]:
    """All phases of a release by ``strategy``, in the order of the flow."""
    return (*BEFORE_TRAFFIC, *forward_of(strategy), *_END)
