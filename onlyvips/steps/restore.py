"""A restore: good copies found, the base loaded and compared, the oplog replayed, then indexes and views."""

from __future__ import annotations

from dataclasses import dataclass

from onlyvips.core.replay import Translator, indexes_of
from onlyvips.core.restore import NOWHERE, RestorePlan
from onlyvips.ports import Clock, TargetDatabase
from onlyvips.steps import marker as markers
from onlyvips.steps.load import VIEW, Load, views
from onlyvips.steps.replay import Replay
from onlyvips.steps.sound import Reader, find_sound


@dataclass(frozen=True)
class Restored:
    """What a restore did: ``documents`` of the base came back and were compared, ``entries`` of the oplog replayed, the
    last of them ``until``; this run wrote ``written`` documents for them; ``doubled`` were in an archive twice.
    ``flaws`` are copies that were not used, for they are not as they were written. ``resumed``: an earlier run had
    begun it."""

    namespaces: tuple[tuple[str, str, int], ...]
    documents: int
    doubled: int
    entries: int
    written: int
    until: str
    reached: str
    indexes: int
    flaws: tuple[str, ...]
    resumed: bool
    seconds: float


def restore(plan: RestorePlan, target: TargetDatabase, reader: Reader, clock: Clock) -> Restored:
    """Do it. It may be run again after it died anywhere, and goes on.

    Raises Refused, with the target untouched, for what cannot be restored; see ``find_sound`` and ``marker.begin``.
    """
    began = clock.monotonic()
    markers.look(plan, target)  # before copies are read for it
    sound = find_sound(plan, reader)
    marker = markers.begin(plan, target)
    load = Load(plan, target, marker, sound, reader)
    load.run()
    translator = Translator(plan.names, plan.start, plan.until or NOWHERE, _indexes(plan))
    replay = Replay(plan, target, marker, translator)
    replay.run(sound, reader)
    indexes, last = translator.indexing(), translator.seen
    target.apply([*indexes, *views(plan)])
    marker.remove()
    return Restored(
        namespaces=tuple((one.source, one.target, one.documents) for one in plan.coming),
        documents=sum(one.documents for one in plan.coming),
        doubled=sum(one.doubled for one in load.sums.values()),
        entries=translator.entries,
        written=replay.written,
        until=f"{last.seconds}:{last.ordinal}" if last else "",
        reached=plan.reached,
        indexes=len(indexes),
        flaws=sound.flaws,
        resumed=marker.resumed,
        seconds=clock.monotonic() - began,
    )


def _indexes(plan: RestorePlan) -> dict[str, dict[str, bytes | str]]:
    return {one.target: indexes_of(one.record.metadata) for one in plan.coming if one.record.type != VIEW}
