"""What the old version's pods read by name: kept before a release, compared and put back on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onlyvips.core.action import Action
from onlyvips.core.kept import Kept, Witness, after_hook, before_hook, compare, left_sentence, seal_of
from onlyvips.core.record import Record
from onlyvips.core.referred import KINDS, names_in
from onlyvips.errors import Fenced, Permanent
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps import group_records
from onlyvips.steps.generations import make
from onlyvips.steps.tools import Done, Tools

_FIELDS = ("data", "binaryData")
_LONGEST = 242
"""Characters of a name of Kubernetes that a seal leaves."""


def keep(tools: Tools, record: Record, template: Manifest) -> tuple[Kept, ...]:
    """A copy of every ConfigMap and Secret that the template refers to, under a name with the seal of what it holds.

    One that a release made is its own copy; one that is not there is none: pods that need it say so.
    """
    found = list[Kept]()
    for kind in KINDS:
        for name in sorted(names_in(template, kind)):
            if (there := tools.cluster.get(kind, name)) is None:
                continue
            seal = seal_of(there)
            own = bool(there.get("immutable")) and name.endswith(f"-{seal}")
            copy = name if own else f"{name[:_LONGEST]}-{seal}"
            if not own:
                make(tools, record, kind, copy, {key: there[key] for key in _FIELDS if there.get(key)})
            found.append(Kept(kind, name, copy))
    return tuple(found)


def seals(cluster: Cluster, kept: Sequence[Kept]) -> dict[str, str]:
    """The seal of each as it is now, by ``Kind/name``."""
    return {one.key: seal_of(cluster.get(one.kind, one.name)) for one in kept}


def begins(cluster: Cluster, witness: Witness, hook: str, kept: Sequence[Kept]) -> Witness:
    """What is to be written down before ``hook`` begins."""
    return before_hook(witness, hook, kept, seals(cluster, kept)) if kept and witness.hook != hook else witness


def ended(cluster: Cluster, witness: Witness, kept: Sequence[Kept]) -> Witness:
    """What is to be written down after it."""
    return after_hook(witness, kept, seals(cluster, kept))


def put_back(tools: Tools, record: Record, _: Action) -> Done:
    """What hooks of this release changed is as it was before; what somebody else changed is left, and told by name."""
    whole = group_records.find(tools.cluster, record.group)
    witness, told, left = whole.witness if whole else record.witness, list[str](), list[str]()
    for one in record.kept:
        seal = seal_of(tools.cluster.get(one.kind, one.name))
        state = compare(one, seal, witness)
        why = _restored(tools, one, seal) if state == "ours" else left_sentence(one, seal) if state == "theirs" else ""
        if why:
            told.append(why)
            left.append(one.key)
    same = ", ".join(f"{one.kind} {one.name}" for one in record.kept if one.key not in left)
    observed = "; ".join([*told, *([f"as before: {same}"] if same else [])])
    reason = "; ".join([record.reason.rstrip("."), *told]) if told else record.reason
    return replace(record, left=tuple(left), reason=reason), observed


def _restored(tools: Tools, kept: Kept, ours: str) -> str:
    """Put one back that is what a hook of ours made of it; "" when it is, else why not."""
    copy = tools.cluster.get(kept.kind, kept.copy)
    if copy is None or seal_of(copy) != kept.seal:
        return f"{kept.kind} {kept.name} was changed by a hook and cannot be put back: its copy {kept.copy} is gone"

    def change(now: Manifest) -> list[Manifest]:
        if seal_of(now) != ours:
            return []
        gone = [{"op": "remove", "path": f"/{key}"} for key in _FIELDS if key in now and key not in copy]
        return [*gone, *({"op": "add", "path": f"/{key}", "value": copy[key]} for key in _FIELDS if key in copy)]

    try:
        stored = seal_of(tools.fence.patch(kept.kind, kept.name, change))
    except Fenced:
        raise
    except Permanent as error:
        return f"{kept.kind} {kept.name} was changed by a hook and could not be put back from {kept.copy}: {error}"
    return "" if stored == kept.seal else left_sentence(kept, stored)
