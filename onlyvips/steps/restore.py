"""A restore: good copies found, the base loaded and compared, the oplog replayed, indexes, the swap, views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from onlyvips.core.manifest import moment
from onlyvips.core.restore import RestorePlan
from onlyvips.core.restore import accounts as left_alone
from onlyvips.core.restored import Restored
from onlyvips.core.swap import final
from onlyvips.errors import NoSpace, Permanent
from onlyvips.ports import Clock, TargetDatabase
from onlyvips.ports.accounts import AccountsTarget
from onlyvips.ports.live import LiveDatabase
from onlyvips.steps import marker as markers
from onlyvips.steps.load import Load, distrust
from onlyvips.steps.marker import Claim, Marker, Ours
from onlyvips.steps.replay import Replay
from onlyvips.steps.restore_accounts import ready
from onlyvips.steps.sound import Reader, Sound, find_sound
from onlyvips.steps.swap import make_views, swap


def restore(
    plan: RestorePlan,
    target: LiveDatabase,
    reader: Reader,
    clock: Clock,
    accounts: AccountsTarget | None = None,
    claim: Claim | None = None,
) -> Restored:
    """Do it; users and roles too where the plan has them. It may be run again after it died anywhere, and goes on.

    Over the live database the marker stays until ``marker.finish``: what comes after is a part of it. Run again until
    then, nothing is restored a second time.

    Raises Refused, with the target untouched, for what cannot be restored; see ``find_sound``, ``marker.begin`` and
    ``restore_accounts.ready``. Raises Fenced when another run (with a ``claim`` of its own) went on with it.
    """
    began = clock.monotonic()
    looked = markers.look(plan, target)  # before copies are read for it
    people = ready(plan, accounts, reader)
    sound = None if looked.swapping else find_sound(plan, reader, looked.position)
    with _room(plan, target):
        marker = markers.begin(plan, target, claim or Claim())
        try:
            done = _carry_on(plan, Ours(marker, target), reader, sound)
            if people:
                marker.still_ours()
                done = replace(done, accounts=people.bring(), flaws=(*done.flaws, *people.flaws))
            if plan.over is None:
                marker.remove()
            elif not marker.restored:
                marker.note_restored(moment(clock.now()))
        except Permanent:
            marker.still_ours()  # what another run did meanwhile explains the rest
            raise
    done = replace(done, stays=marker.stays, remade=marker.remade)
    return replace(done, seconds=clock.monotonic() - began)


def _carry_on(plan: RestorePlan, ours: Ours, reader: Reader, sound: Sound | None) -> Restored:
    marker = ours.marker
    if marker.restored:
        return replace(_finished(plan, marker), before=marker.restored)
    done = _bring(plan, ours, reader, sound, marker) if sound and not marker.swapping else _finished(plan, marker)
    if plan.over is not None:
        swap(plan, ours, marker)
    make_views(plan, ours)
    return done


def _bring(plan: RestorePlan, target: TargetDatabase, reader: Reader, sound: Sound, marker: Marker) -> Restored:
    """Everything but the views, compared."""
    distrust(marker, target)
    load = Load(plan, target, marker, sound, reader)
    load.run()
    marker.note_replaying()
    replay = Replay(plan, target, marker)
    translator = replay.run(sound, reader)
    indexes, last = translator.indexing(), translator.seen
    target.apply(indexes)
    return replace(
        _finished(plan, marker),
        doubled=sum(one.doubled for one in load.sums.values()),
        entries=translator.entries,
        written=replay.written,
        until=f"{last.seconds}:{last.ordinal}" if last else "",
        indexes=len(indexes),
        flaws=sound.flaws,
    )


@contextmanager
def _room(plan: RestorePlan, target: TargetDatabase) -> Iterator[None]:
    """Says of a target that is full how far it came."""
    try:
        yield
    except NoSpace as error:
        raise NoSpace(f"{error} {markers.look(plan, target).told}") from error


def _finished(plan: RestorePlan, marker: Marker) -> Restored:
    """What can be said of it when an earlier run did it."""
    return Restored(
        namespaces=tuple((one.source, final(one.target), one.documents) for one in plan.coming),
        documents=sum(one.documents for one in plan.coming),
        doubled=0,
        entries=0,
        written=0,
        until="",
        reached=plan.reached,
        indexes=0,
        flaws=(),
        resumed=marker.resumed,
        accounts=left_alone(plan.base),
        seconds=0.0,
    )
