"""A backup of any kind: pieces read once, written to every destination at once, read back, then published.

The manifest is the last thing written, so that a death at any line leaves no backup, only orphans.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from onlyvips.core import manifest as records
from onlyvips.core.manifest import CopyRecord, Dropped, Fact, Manifest, ObjectRecord, Server, Window
from onlyvips.core.plan import BackupPlan
from onlyvips.core.strict_json import to_json
from onlyvips.errors import Abandoned, Permanent
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps import copies
from onlyvips.steps.copies import Destinations, NoDestination, Outcome, put_once
from onlyvips.steps.journal import Begun, Journal
from onlyvips.steps.pipe import Meter, Piece, Pipe, Progress, Stopped, Written, recipients

TOOL = "onlyvips"


@dataclass(frozen=True)
class Run:
    """Who takes a backup: under which ``epoch`` of the kind's lease, with which clock and randomness. A ``key`` that a
    retry of the same run has too makes a retry go on with what an earlier attempt wrote."""

    epoch: int
    clock: Clock
    entropy: Callable[[int], bytes]
    on_progress: Progress = lambda size, documents: None
    key: str = ""


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


def probe_stores(stores: Sequence[ObjectStore], *, all_needed: bool = True) -> None:
    """Refused when a destination does not take or give back, or when two are the same place; see ``copies``."""
    copies.probe_stores(stores, nonce=secrets.token_hex(8), all_needed=all_needed)


class Session:
    """One backup while it is taken: its pieces are written in any order, several at a time, then it is published."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        about: Callable[[], About],
        stores: Sequence[ObjectStore],
        plan: BackupPlan,
        run: Run,
        named: Slice | None = None,
        begun: Begun | None = None,
        state: str = "",
        close: Callable[[], Piece] | None = None,
    ) -> None:
        """``plan.recipients`` are age's public keys, no references. ``about`` is asked once everything was read; what
        it raises ends the backup. ``close`` gives one object more, the last one, which can only be read then. With
        ``begun`` it goes on with that one where it fits: the same objects, the same ``state`` of the source. Raises
        Refused for recipients or destinations that are none."""
        if begun is not None and (begun.keys, begun.state) != (tuple(piece.key for piece in pieces), state):
            begun = None
        encrypted_to = recipients(plan.recipients)
        self._about, self._close, self._plan, self._run, self._state = about, close, plan, run, state
        self._started = begun.started if begun else run.clock.now()
        self.id = named.id if named else begun.id if begun else records.backup_id(self._started, run.entropy(4))
        self._timeline = named.timeline if named else ""
        self._epoch, self.resumed = (begun.epoch, True) if begun else (run.epoch, False)
        self.place = records.prefix(plan.environment, plan.kind, self.id, self._epoch, self._timeline)
        self._destinations = Destinations(stores, plan.stall_timeout)
        self._meter = Meter(run.on_progress)
        self._pipe = Pipe(self._destinations, self.place, encrypted_to, plan, self._meter)
        self._pieces = {piece.key: piece for piece in pieces}
        self._written: dict[str, Written] = {}
        self._found: set[str] = set()
        self._journal = Journal(self._destinations, self.place) if run.key else None
        self.workers = max(1, plan.workers)
        self._turns = threading.Semaphore(self.workers)

    @property
    def keys(self) -> list[str]:
        """The objects that the backup is made of."""
        return list(self._pieces)

    @property
    def expected(self) -> int:
        """Plain bytes that this attempt reads, about; 0 where nobody knows."""
        return sum(piece.expected for key, piece in self._pieces.items() if key not in self._found)

    def write(self, key: str) -> ObjectRecord:
        """One object, in every destination that still lacks nothing; waits for its turn. See ``take`` for errors."""
        with self._turns, self._leftovers_told():
            self._meter.check()
            try:
                self._written[key] = self._done_before(key) or self._write(key)
            except NoDestination as error:
                raise self._no_copy(error) from error
        return self._written[key][0]

    def _done_before(self, key: str) -> Written | None:
        found = self._journal.look_up(key, self._meter.check) if self._journal and self.resumed else None
        if found:
            self._found.add(key)
        return found

    def _write(self, key: str) -> Written:
        record, held = self._pipe.write(self._pieces[key], over=self.resumed)
        if self._journal:
            self._journal.record(record, held)
        return record, held

    def begin(self) -> None:
        """Write down what will be written, where a retry is to go on with it; nothing when it goes on itself."""
        if self._journal and not self.resumed:
            keys, plan = tuple(self._pieces), self._plan
            about = (self._run.key, plan.environment, plan.kind, self.id, self._epoch, self._started)
            self._journal.begin(Begun(*about, keys, self._state, self._timeline))

    def stop(self) -> None:
        """Let no other object go on."""
        self._meter.stop()

    def publish(self) -> Taken:
        """Once every object is written: the one that closes it, where the copies are, then what the backup is."""
        with self._leftovers_told():
            return self._publish()

    def _publish(self) -> Taken:
        self._meter.check()
        written = [self._written[key] for key in self._pieces]
        try:
            written += [self._pipe.write(self._close(), over=True)] if self._close else []  # a try before this may have
            told, finished = self._about(), self._run.clock.now()
            _publish_copies(self._destinations, self.place, self._copies(written, finished))
        except NoDestination as error:
            raise self._no_copy(error) from error
        manifest = self._manifest(told, written, finished)
        _publish(self._destinations, manifest)
        return Taken(manifest, self._destinations.outcomes())

    @contextmanager
    def _leftovers_told(self) -> Iterator[None]:
        try:
            yield
        except Abandoned as error:
            told = f"{error} What it left under {self.place} counts for nothing, and a later prune removes it."
            raise Abandoned(told, delay=error.delay) from error

    def _no_copy(self, error: NoDestination) -> Permanent:
        return Permanent(
            f"There is no backup of {self._plan.kind}: no destination has a complete copy ({error}); no manifest was "
            f"written, so what is left under {self.place} counts for nothing: correct a destination, then take the "
            "backup again."
        )

    def _copies(self, written: Sequence[Written], finished: float) -> list[CopyRecord]:
        epoch, verified = self._run.epoch, records.moment(finished)  # the attempt's own: a dead one may have left its
        return [
            CopyRecord(store.name, epoch, self.id, verified, tuple(copy[store.name] for _, copy in written))
            for store in self._destinations.alive()
        ]

    def _manifest(self, told: About, written: Sequence[Written], finished: float) -> Manifest:
        outcomes = self._destinations.outcomes()
        return Manifest(
            id=self.id,
            epoch=self._epoch,
            environment=self._plan.environment,
            kind=self._plan.kind,
            started=records.moment(self._started),
            finished=records.moment(finished),
            server=told.server,
            oplog=told.oplog,
            tool=TOOL,
            recipients=self._plan.recipients,
            objects=tuple(record for record, _ in written),
            copies=tuple(outcome.name for outcome in outcomes if outcome.complete),
            dropped=tuple(Dropped(outcome.name, outcome.why) for outcome in outcomes if not outcome.complete),
            facts=told.facts,
            window=told.window,
            timeline=self._timeline,
        )


def take(session: Session) -> Taken:
    """Write every object, several at a time, and publish; the first failure stops them all.

    Raises Permanent, and publishes nothing, when no destination has a complete copy; passes on what a piece raises.
    """
    with ThreadPoolExecutor(session.workers) as pool:
        running = [pool.submit(session.write, key) for key in session.keys]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in running):
                session.stop()
            pool.shutdown(wait=False, cancel_futures=True)
    failures = [error for future in running if not future.cancelled() and (error := future.exception())]
    for error in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        raise error
    return session.publish()


def _publish_copies(destinations: Destinations, place: str, held: Sequence[CopyRecord]) -> None:
    """Where every copy is, at each destination whose objects are complete."""
    documents = [(place + records.copy_key(one.destination, one.epoch), to_json(one)) for one in held]
    destinations.each(partial(_put_all, documents=documents))
    destinations.require_one()


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
