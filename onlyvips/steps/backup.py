"""A backup of any kind: pieces read once, written to every destination at once, read back, then published.

The manifest is the last thing written, so that a death at any line leaves no backup, only orphans.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from onlyvips.core import manifest as records
from onlyvips.core.manifest import CopyRecord, Dropped, Fact, Manifest, Server, Window
from onlyvips.core.plan import BackupPlan
from onlyvips.core.strict_json import to_json
from onlyvips.errors import Permanent
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps import copies
from onlyvips.steps.copies import Destinations, NoDestination, Outcome, put_once
from onlyvips.steps.pipe import Meter, Piece, Pipe, Progress, Stopped, Written, recipients

TOOL = "onlyvips"


@dataclass(frozen=True)
class Run:
    """Who takes a backup: under which ``epoch`` of the kind's lease, with which clock and randomness."""

    epoch: int
    clock: Clock
    entropy: Callable[[int], bytes]
    on_progress: Progress = lambda size, documents: None


@dataclass(frozen=True)
class About:
    """What the manifest says of the source, found out once everything was read."""

    server: Server
    oplog: str = "none"
    window: Window | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Slice:
    """The name of a slice of the oplog: an id of its own, below a timeline."""

    id: str
    timeline: str


@dataclass(frozen=True)
class Taken:
    """A backup that exists. It is degraded when a destination was dropped."""

    manifest: Manifest
    destinations: tuple[Outcome, ...]

    @property
    def key(self) -> str:
        """Where its manifest is, in every complete copy."""
        return self.manifest.prefix + records.MANIFEST_KEY

    @property
    def degraded(self) -> bool:
        return not all(outcome.complete for outcome in self.destinations)

    @property
    def lacking(self) -> str:
        """The destinations without a complete copy, each with its reason."""
        return "; ".join(f"{one.name}: {one.why}" for one in self.destinations if not one.complete)


def probe_stores(stores: Sequence[ObjectStore]) -> None:
    """Refused when a destination does not take or give back, or when two are the same place; see ``copies``."""
    copies.probe_stores(stores, nonce=secrets.token_hex(8))


def take(
    pieces: Sequence[Piece],
    about: Callable[[], About],
    stores: Sequence[ObjectStore],
    plan: BackupPlan,
    run: Run,
    *,
    named: Slice | None = None,
) -> Taken:
    """Back up ``pieces`` as one backup of ``plan.kind``; ``plan.recipients`` are age's public keys, no references.

    ``about`` is asked once everything was read; what it raises ends the backup. Raises Permanent, and publishes
    nothing, when no destination has a complete copy; passes on what a piece raises.
    """
    encrypted_to = recipients(plan.recipients)
    destinations = Destinations(stores, plan.stall_timeout)
    started = run.clock.now()
    id = named.id if named else records.backup_id(started, run.entropy(4))
    place = records.prefix(plan.environment, plan.kind, id, run.epoch, named.timeline if named else "")
    pipe = Pipe(destinations, place, encrypted_to, plan, Meter(run.on_progress))
    try:
        written = _write_all(pipe, pieces)
        told, finished = about(), run.clock.now()
        _publish_copies(pipe, id, run.epoch, finished, written)
        destinations.require_one()
    except NoDestination as error:
        raise Permanent(
            f"There is no backup of {plan.kind}: no destination has a complete copy ({error}); no manifest was written,"
            f" so what is left under {place} counts for nothing: correct a destination, then take the backup again."
        ) from error
    outcomes = destinations.outcomes()
    manifest = Manifest(
        id=id,
        epoch=run.epoch,
        environment=plan.environment,
        kind=plan.kind,
        started=records.moment(started),
        finished=records.moment(finished),
        server=told.server,
        oplog=told.oplog,
        tool=TOOL,
        recipients=plan.recipients,
        objects=tuple(record for record, _ in written),
        copies=tuple(outcome.name for outcome in outcomes if outcome.complete),
        dropped=tuple(Dropped(outcome.name, outcome.why) for outcome in outcomes if not outcome.complete),
        facts=told.facts,
        window=told.window,
        timeline=named.timeline if named else "",
    )
    _publish(destinations, manifest)
    return Taken(manifest, destinations.outcomes())


def _write_all(pipe: Pipe, pieces: Sequence[Piece]) -> list[Written]:
    """Every piece, several at a time; the first failure stops them all."""
    with ThreadPoolExecutor(max(1, pipe.plan.workers)) as pool:
        running = [pool.submit(pipe.write, piece) for piece in pieces]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in running):
                pipe.meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
    failures = [error for future in running if not future.cancelled() and (error := future.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        raise error
    return [future.result() for future in running]


def _publish_copies(pipe: Pipe, id: str, epoch: int, finished: float, written: Sequence[Written]) -> None:
    """Where every copy is, at each destination whose objects are complete."""
    held = [
        CopyRecord(store.name, epoch, id, records.moment(finished), tuple(copy[store.name] for _, copy in written))
        for store in pipe.destinations.alive()
    ]
    documents = [(pipe.place + records.copy_key(one.destination, one.epoch), to_json(one)) for one in held]
    pipe.destinations.each(partial(_put_all, documents=documents))
    pipe.destinations.require_one()


def _publish(destinations: Destinations, manifest: Manifest) -> None:
    """The last thing that is written. Who fails here has no manifest, so it has no backup."""
    key = manifest.prefix + records.MANIFEST_KEY
    destinations.each(partial(_put_all, documents=[(key, to_json(manifest))]))
    try:
        destinations.require_one()
    except NoDestination as error:
        raise Permanent(
            f"Every object of the backup is complete, and no destination confirmed its manifest ({error}): look "
            f"whether {key} is there before you take it again."
        ) from error


def _put_all(store: ObjectStore, documents: Sequence[tuple[str, bytes]]) -> None:
    for key, data in documents:
        put_once(store, key, data)
