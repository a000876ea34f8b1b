"""Hooks of a release: Jobs before anything changes, and Jobs once the new version serves. Which is next is pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onlyvips.core.plan import HookPlan


@dataclass(frozen=True)
class HookRun:
    """What became of a hook: ``observed`` is the last line that its Job wrote, or why it failed."""

    name: str
    state: Literal["complete", "failed"]
    observed: str


def failed(runs: Sequence[HookRun]) -> HookRun | None:
    """The first that failed."""
    return next((one for one in runs if one.state == "failed"), None)


def following(hooks: Sequence[HookPlan], runs: Sequence[HookRun]) -> HookPlan | None:
    """The first of ``hooks`` that has not been run; None when all were."""
    done = {one.name for one in runs}
    return next((one for one in hooks if one.name not in done), None)


def sentence(run: HookRun) -> str:
    """Why a release goes back because of it."""
    return f"hook {run.name} failed: {run.observed}"
