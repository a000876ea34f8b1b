"""A restore of secrets: parameters of SSM that differ are written and all read back; Vault takes its own snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from onlyvips.core.points import Point
from onlyvips.core.secrets_restore import (
    Parameter,
    RestoredParameters,
    RestoredVault,
    SsmPlan,
    VaultPlan,
    check_ssm,
    check_vault,
    differing,
    parameters_of,
    plan_ssm,
)
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Clock
from onlyvips.ports.secrets import ParameterStore, SnapshotTarget
from onlyvips.steps.sound import Reader, open_sound, read_sound

_PATIENCE, _LOOK = 120.0, 1.0
"""Seconds in which Vault must answer again after it took a snapshot, and between two looks."""
Room = Callable[[int], AbstractContextManager[Path]]
"""Where a file of so many bytes may lie that nobody else may read, gone at the end of the block."""


Both = tuple[dict[str, Parameter], dict[str, Parameter]]
"""Parameters of the backup, and those that are there."""


def look(environment: str, point: Point, store: ParameterStore, reader: Reader) -> tuple[SsmPlan, Both]:
    """What differs between the backup, read from a good copy into memory, and what is there. Nothing is written."""
    (source,) = point.sources
    data, flaws = read_sound(source, reader)
    wanted, there = parameters_of(data), store.parameters()
    return plan_ssm(environment, point, store.region, wanted, there, flaws), (wanted, there)


def restore_parameters(
    environment: str, point: Point, store: ParameterStore, reader: Reader, clock: Clock, over: Iterable[str]
) -> RestoredParameters:
    """Write what differs. Run again after it died, it writes what still does. ``over``: what may be written over.

    Raises Refused, with nothing changed, for all that can be known before.
    """
    began = clock.monotonic()
    plan, (wanted, there) = look(environment, point, store, reader)
    check_ssm(plan, store.paths)
    if unasked := sorted(set(plan.overwritten) - set(over)):
        raise Refused(
            f"{', '.join(unasked)} are there otherwise, and nobody asked to write over them: nothing was changed; see "
            "onlyvips restore plan."
        )
    for name in plan.new:
        store.make(wanted[name])
        reader.tell("writing", 1)
    for name in plan.overwritten:
        store.change(wanted[name], there[name])
        reader.tell("writing", 1)
    _compare(wanted, store.parameters())
    return RestoredParameters(
        backup=point.name,
        reached=point.manifest.finished,
        made=len(plan.new),
        changed=len(plan.changed),
        same=len(plan.same),
        others=len(plan.others),
        flaws=plan.flaws,
        seconds=clock.monotonic() - began,
    )


def _compare(wanted: dict[str, Parameter], found: dict[str, Parameter]) -> None:
    wrong = sorted(name for name in wanted if name not in found or differing(wanted[name], found[name]))
    if wrong:
        raise Permanent(
            f"{', '.join(wrong)} read back otherwise than they were written: somebody else writes them; stop that, "
            "then run the restore again."
        )


def restore_vault(plan: VaultPlan, target: SnapshotTarget, reader: Reader, clock: Clock, room: Room) -> RestoredVault:
    """Give it the snapshot, whole and checked before, and see what it says then. Run again it ends the same.

    Raises Refused, with nothing changed, for all that can be known before.
    """
    began = clock.monotonic()
    check_vault(plan)
    (source,) = plan.point.sources
    with room(source.record.size) as file:
        flaws = open_sound(source, reader, file)
        target.restore(file, force=plan.force)
    state = _settled(target, clock)
    sealed = state["sealed"] == "true"
    expected = plan.point.manifest.fact("cluster_id")
    if not sealed and expected and state["cluster_id"] != expected:
        raise Permanent(
            f"Vault took the snapshot, and says that it is cluster {state['cluster_id']}, the backup is of {expected}: "
            "see its log, and whether that is the right Vault."
        )
    read, unread = (0, "") if sealed else _read_back(target)
    return RestoredVault(
        backup=plan.point.name,
        reached=plan.point.manifest.finished,
        force=plan.force,
        sealed=sealed,
        read_back=read,
        unread=unread,
        flaws=flaws,
        seconds=clock.monotonic() - began,
    )


def _settled(target: SnapshotTarget, clock: Clock) -> dict[str, str]:
    """How it is once it answers again: sealed, or as the cluster that it is."""
    until = clock.monotonic() + _PATIENCE
    while True:
        try:
            state = dict(target.state())
            if state["sealed"] == "true" or state["cluster_id"]:
                return state
        except Transient:
            if clock.monotonic() > until:
                raise
        if clock.monotonic() > until:
            raise Transient("Vault took the snapshot, and does not say which cluster it is: see its log.")
        clock.sleep(_LOOK)


def _read_back(target: SnapshotTarget) -> tuple[int, str]:
    """Bytes of a whole snapshot that it gives now, or why it gives none: our token may be of later than the backup."""
    try:
        return sum(len(chunk) for chunk in target.snapshot()), ""
    except (Permanent, Transient) as error:
        return 0, str(error)
