"""Back as one, in reverse order; a member that cannot go back keeps none of the others from it."""

from __future__ import annotations

from collections.abc import Sequence

from onlyvips.core.action import Action
from onlyvips.core.group import Group
from onlyvips.ports import Clock

_PERSON = ("drift", "gone", "held")
"""Waits that only a person ends."""


class Passing:
    """What one process saw of members that go back: ``order`` names those that stood still, the latest last.

    One that waits for a person is passed over at once, one that waits for pods after ``limit`` seconds; when nobody
    else is left, each is given that long again.
    """

    def __init__(self, clock: Clock, limit: float) -> None:
        self._clock, self._limit = clock, limit
        self._driven, self._since = "", 0.0
        self.order: list[str] = []

    def moves(self, service: str, action: Action, others: Sequence[str]) -> bool:
        """Whether to go on with ``service``, which is about to do ``action``; ``others`` have to go back, too."""
        now = self._clock.monotonic()
        if self._driven != service or action.kind != "wait":
            self._driven, self._since = service, now
        if action.kind != "wait" or not others:
            return True
        at_once = action.what in _PERSON and service not in self.order
        return not at_once and now - self._since < self._limit

    def put_last(self, service: str) -> None:
        """It stood still."""
        self.order = [*(one for one in self.order if one != service), service]
        self._driven = ""


def noted(group: Group, service: str, why: str, still_open: Sequence[str], at: float) -> Group:
    """The record of the whole with what keeps ``service``; the step stands there once."""
    known = dict(group.stuck)
    if service not in known:
        group = group.step(f"pass over {service}", "it cannot go back now, the others do", at, why)
    stuck = {name: reason for name, reason in {**known, service: why}.items() if name in still_open}
    return group if stuck == known else group.with_stuck(tuple(stuck.items()))
