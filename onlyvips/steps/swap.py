"""Shadows into their places: one rename each, in order of their names; a restore that died in it goes on."""

from __future__ import annotations

from onlyvips.core.changes import Rename
from onlyvips.core.restore import RestorePlan
from onlyvips.core.swap import SHADOW, final, missing
from onlyvips.errors import Permanent
from onlyvips.ports import TargetDatabase
from onlyvips.steps.load import VIEW
from onlyvips.steps.marker import Marker


def swap(plan: RestorePlan, target: TargetDatabase, marker: Marker) -> None:
    """Every shadow that is there takes its place, and what was there is gone.

    Raises Permanent, before the first, when one would replace what nobody allowed to be replaced.
    """
    waiting = shadows(plan, target)
    there = [one for name in plan.databases for one in _named(target, name)]
    if unnamed := missing((final(one) for one in waiting if final(one) in there), plan.over or ()):
        raise Permanent(
            f"{', '.join(unnamed)} came up in the oplog, and is in the target: nothing was replaced. Run the restore "
            f"again with --overwrite {' --overwrite '.join(unnamed)} too: it goes on with what it has restored."
        )
    marker.note_swapping()
    for one in waiting:
        target.apply([Rename(one, final(one), over=True)])


def replaced(plan: RestorePlan, target: TargetDatabase) -> tuple[str, ...]:
    """What is there and will be gone, as far as one knows before the oplog was replayed."""
    there = {one for name in plan.databases for one in _named(target, name)}
    return tuple(sorted(there & {final(one.target) for one in plan.coming if one.record.type != VIEW}))


def shadows(plan: RestorePlan, target: TargetDatabase) -> list[str]:
    """Shadows that are in the target, by name."""
    found = [one for name in plan.databases for one in _named(target, name)]
    return [one for one in found if one.partition(".")[2].startswith(SHADOW)]


def _named(target: TargetDatabase, database: str) -> list[str]:
    return [f"{database}.{one}" for one in target.collections(database)]
