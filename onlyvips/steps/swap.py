"""Shadows into their places: one rename each, in order of their names; a restore that died in it goes on.

A view is no shadow: where it is there with another definition, and was named, it is dropped and made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from onlyvips.core.changes import Drop, Rename
from onlyvips.core.restore import VIEW, RestorePlan
from onlyvips.core.swap import SHADOW, final, missing, same_view
from onlyvips.errors import Permanent
from onlyvips.ports import TargetDatabase
from onlyvips.ports.live import LiveDatabase
from onlyvips.steps.load import options, views
from onlyvips.steps.marker import Marker


def swap(plan: RestorePlan, target: LiveDatabase, marker: Marker) -> None:
    """Every shadow that is there takes its place, and what was there is gone.

    Raises Permanent, before the first, when one would replace what nobody allowed to be replaced.
    """
    waiting, there, otherwise = shadows(plan, target), _there(plan, target), differing(plan, target)
    gone = {final(one) for one in waiting}
    if unnamed := missing((*sorted(gone & there), *otherwise), plan.over or ()):
        raise Permanent(
            f"{', '.join(unnamed)} came up in the oplog, or meanwhile, and is in the target: nothing was replaced. Run "
            f"the restore again with --overwrite {' --overwrite '.join(unnamed)} too: it goes on with what it has "
            "restored."
        )
    if not marker.swapping:
        marker.note_swapping(_left(plan, there, gone), otherwise)
    viewed = _views(plan, target)
    for one in waiting:
        if final(one) in viewed:  # whose place no rename takes
            target.apply([Drop(final(one))])
        target.apply([Rename(one, final(one), over=True)])


def make_views(plan: RestorePlan, target: LiveDatabase) -> None:
    """The views of the base, once the collections are there; over what is live, those too that are there otherwise."""
    if plan.over is not None:
        target.apply([Drop(one) for one in differing(plan, target) if not missing([one], plan.over)])
    target.apply(views(plan))


def looked(plan: RestorePlan, target: LiveDatabase) -> RestorePlan:
    """The plan, with what stays of the live database and the views that are there otherwise, as far as one knows before
    the oplog was replayed."""
    coming = (final(one.target) for one in plan.coming)
    return replace(plan, stays=_left(plan, _there(plan, target), coming), otherwise=differing(plan, target))


def replaced(plan: RestorePlan, target: LiveDatabase) -> tuple[str, ...]:
    """What is there and will be gone, as far as one knows before the oplog was replayed."""
    coming = {final(one.target) for one in plan.coming if one.record.type != VIEW}
    return tuple(sorted((_there(plan, target) & coming).union(differing(plan, target))))


def differing(plan: RestorePlan, target: LiveDatabase) -> tuple[str, ...]:
    """Views of the base in whose place something else is: a view with another definition, or a collection."""
    there, viewed = _there(plan, target), _views(plan, target)
    coming = [one for one in plan.coming if one.record.type == VIEW and one.target in there]
    return tuple(sorted(one.target for one in coming if not same_view(viewed.get(one.target, "{}"), options(one))))


def shadows(plan: RestorePlan, target: TargetDatabase) -> list[str]:
    """Shadows that are in the target, by name."""
    return sorted(one for one in _there(plan, target) if one.partition(".")[2].startswith(SHADOW))


def _left(plan: RestorePlan, there: Iterable[str], coming: Iterable[str]) -> tuple[str, ...]:
    """What is there of what was asked for, and does not come: views of the base do, and ours is nobody's."""
    views = (one.target for one in plan.coming if one.record.type == VIEW)
    return tuple(sorted(one for one in {*there}.difference(coming, views) if plan.names.target(one)))


def _there(plan: RestorePlan, target: TargetDatabase) -> set[str]:
    return {f"{name}.{one}" for name in plan.databases for one in target.collections(name)}


def _views(plan: RestorePlan, target: LiveDatabase) -> dict[str, str]:
    return {f"{name}.{one}": told for name in plan.databases for one, told in target.views(name).items()}
