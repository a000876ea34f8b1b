"""A restore: good copies found, the base loaded and compared, the oplog replayed, then indexes and views."""

from __future__ import annotations

from onlyvips.core.replay import Translator, indexes_of
from onlyvips.core.restore import NOWHERE, RestorePlan, accounts
from onlyvips.core.restored import Restored
from onlyvips.ports import Clock, TargetDatabase
from onlyvips.steps import marker as markers
from onlyvips.steps.load import VIEW, Load, views
from onlyvips.steps.replay import Replay
from onlyvips.steps.sound import Reader, find_sound


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
        accounts=accounts(plan.base),
        seconds=clock.monotonic() - began,
    )


def _indexes(plan: RestorePlan) -> dict[str, dict[str, bytes | str]]:
    return {one.target: indexes_of(one.record.metadata) for one in plan.coming if one.record.type != VIEW}
