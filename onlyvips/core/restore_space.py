"""Whether what comes back fits into the target: refused where it never can, a note where it may not. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from onlyvips.core.backup_report import size
from onlyvips.core.restore import RestorePlan
from onlyvips.errors import Refused


def packed(plan: RestorePlan) -> int:
    """Bytes of the base as they are stored."""
    return sum(one.record.size for one in plan.archives)


def unpacked(plan: RestorePlan) -> int:
    """Bytes of the documents of the base that come back, as BSON; without indexes."""
    names = (one for source in plan.archives for one in source.record.namespaces)
    return sum(one.bytes for one in names if plan.names.target(f"{one.database}.{one.collection}"))


def check_space(plan: RestorePlan, target: Mapping[str, str]) -> None:
    """Raise Refused where what comes back cannot fit, however well the target packs it; nothing is known of a target
    that does not say how much is ``free``."""
    needed = packed(plan)
    if "free" in target and int(target["free"]) < needed:
        raise Refused(
            f"The target's disk has {size(int(target['free']))} free, and the base alone is {size(needed)} packed: "
            "nothing was changed. Give a target with more space, or bring back fewer collections by --namespace."
        )


def space_notes(plan: RestorePlan, target: Mapping[str, str]) -> tuple[str, ...]:
    """What to look at before it begins, where it is not known to fit."""
    needed = f"{size(unpacked(plan))} of documents{beside(plan)}, and their indexes"
    if "free" not in target:
        return (f"the target does not say how much its disk has free: see that there is room for {needed}",)
    if int(target["free"]) < unpacked(plan):
        return (
            f"the target's disk has {size(int(target['free']))} free, for {needed}: that fits only where the server "
            "packs them",
        )
    return ()


def beside(plan: RestorePlan) -> str:
    """What stands there too meanwhile."""
    return "" if plan.over is None else " beside those that are there"
