"""A backup of media: what changed is read once and put into every destination's tree; then an index says what it holds.

Nothing is replaced or removed in a tree before its bytes are among the versions, so the backups before stay whole at
any moment. What a run that died had moved is known from its journals, and is not moved again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onlyvips.core import manifest as records
from onlyvips.core import media as core
from onlyvips.core.manifest import CopyRecord, Fact, ObjectRecord, Server
from onlyvips.core.media import INDEX, Entry, Gone, Index, Item, Left
from onlyvips.core.media_paths import to_key
from onlyvips.core.plan import BackupPlan
from onlyvips.errors import Conflict, NotFound, Refused
from onlyvips.ports import MediaSource, ObjectStore, Tree
from onlyvips.steps.backup import About, Run, Session, Taken, take
from onlyvips.steps.copies import Destinations, FanOut, NoDestination, put_once
from onlyvips.steps.media_places import JOURNAL, SMALL, Place, packed, parts, read_before, survey
from onlyvips.steps.pipe import Meter, Piece, Written

_BATCH = 64 << 20
"""Bytes of small objects in one batch, which is one task."""
_TRIES = 3


@dataclass
class _Job:
    """One batch: objects to take, or keys to remove from the trees."""

    items: Sequence[Item] = ()
    stray: Sequence[str] = ()


@dataclass
class _State:
    """What is known of the backup so far, by key."""

    known: dict[str, Entry]
    left: dict[str, str]
    gone: tuple[Entry, ...]
    read: int = 0
    wrote: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class MediaSession(Session):
    """One backup of media while it is taken: batches in any order, several at a time, then it is published."""

    def __init__(self, source: MediaSource, trees: Sequence[Tree], plan: BackupPlan, run: Run) -> None:
        """Lists the source and every destination. Raises Refused for a source that is empty all at once."""
        stores = [tree.objects for tree in trees]
        super().__init__([], self._told, stores, plan, run, close=self._index_piece)
        self._source, self._trees = source, {tree.name: tree for tree in trees}
        self._environment = plan.environment
        self._before = read_before(stores, plan.environment)
        self._places = self._surveyed()
        self._now, listed = self._compared()
        self._jobs = self._planned(listed)
        self._index = core.NOTHING

    @property
    def keys(self) -> list[str]:
        """The batches; the index follows when it is published."""
        return list(self._jobs)

    @property
    def expected(self) -> int:
        return sum(item.size for job in self._jobs.values() for item in job.items)

    def write(self, key: str) -> ObjectRecord:
        """One batch: its size and the SHA-256 of what the journal says of it."""
        with self._turns:
            self._meter.check()
            try:
                entries = self._do(self._jobs[key])
                lines = [core.entry_line(entry) for entry in entries]
                self._write_down(key, lines)
            except NoDestination as error:
                raise self._no_copy(error) from error
        return ObjectRecord(key, sum(one.item.size for one in entries), hashlib.sha256(b"".join(lines)).hexdigest())

    def publish(self) -> Taken:
        """Once every batch is done: see that each tree has what the index says, then publish that."""
        self._meter.check()
        try:
            self._close_trees()
            self._destinations.require_one()
        except NoDestination as error:
            raise self._no_copy(error) from error
        return super().publish()

    # --- what there is to do

    def _surveyed(self) -> dict[str, Place]:
        def look(store: ObjectStore, sign: Callable[[], None]) -> Place:
            return survey(self._trees[store.name], self._environment, self._before, sign)

        found = self._destinations.each_moving(look, self._meter.check)
        self._require_one()
        return found

    def _compared(self) -> tuple[_State, dict[str, Item]]:
        listed, left = dict[str, Item](), dict[str, str]()
        for page in self._source.pages():
            self._meter.check()
            for one in page:
                if isinstance(one, Left):
                    left[one.key] = one.why
                else:
                    listed[one.key] = one
        before = self._before.index.entries
        if before and not listed:
            raise Refused(
                f"The media are empty, and {self._before.name} holds {len(before)} files: nothing was changed. See "
                "that they are mounted and their address is right; if all was removed on purpose, put one file there."
            )
        changes = core.compare(listed.values(), before, self._before.found)
        return _State(dict(changes.known), left, changes.gone), listed

    def _planned(self, listed: Mapping[str, Item]) -> dict[str, _Job]:
        wanted = [item for key, item in listed.items() if not self._is_everywhere(key)]
        jobs = [_Job(items=batch) for batch in core.batches(wanted, SMALL, _BATCH)]
        stray = {key for place in self._places.values() for key in place.shas if key not in listed}
        jobs += [_Job(stray=part) for part in parts(sorted(stray), lambda _: 0)]
        return {f"objects/batch-{number:05d}": job for number, job in enumerate(jobs, start=1)}

    def _is_everywhere(self, key: str) -> bool:
        entry = self._now.known.get(key)
        return entry is not None and all(place.shas.get(key) == entry.sha256 for place in self._alive())

    def _alive(self) -> list[Place]:
        return [place for name, place in self._places.items() if self._destinations.is_alive(name)]

    def _require_one(self) -> None:
        try:
            self._destinations.require_one()
        except NoDestination as error:
            raise self._no_copy(error) from error

    # --- doing it

    def _do(self, job: _Job) -> list[Entry]:
        self._now.wrote = True
        if job.stray:
            self._each(lambda place, sign: place.remove(job.stray, sign))
            return []
        if job.items[0].size > SMALL:
            self._large(job.items[0])
        else:
            items = {item.key: item for item in job.items}
            for part in parts(items, lambda key: items[key].size):
                self._small([items[key] for key in part])
        taken = (self._now.known.get(item.key) for item in job.items)
        return [replace(entry, tags=self._tags(entry)) for entry in taken if entry is not None]

    def _small(self, items: Sequence[Item]) -> None:
        self._each(lambda place, sign: place.learn([item.key for item in items], sign))
        read = self._source.read([item for item in items if not self._is_everywhere(item.key)])
        objects = list[tuple[str, bytes, str]]()
        for one in read:
            if isinstance(one, Left):
                self._leave(one.key, one.why)
            else:
                item, data = one
                objects.append((item.key, data, self._took(item, hashlib.sha256(data).hexdigest())))
        self._meter.add(sum(len(data) for _, data, _ in objects), 0)
        self._each(lambda place, sign: place.put(objects, sign))

    def _large(self, item: Item) -> None:
        self._each(lambda place, sign: place.learn([item.key], sign))
        if self._is_everywhere(item.key):
            return
        self._each(lambda place, sign: place.save([item.key], sign))
        for _ in range(_TRIES):
            try:
                self._pass_on(item)
                return
            except Conflict:
                now = self._source.look(item.key)
            except NotFound:
                now = None
            if now is None:
                self._leave(item.key, "it was gone when it was read")
                return
            item = now
        self._leave(item.key, f"it changed each of the {_TRIES} times that it was read")

    def _pass_on(self, item: Item) -> None:
        """One large object, as a stream, to the destinations that lack it; read back from each."""
        known = self._now.known.get(item.key)
        lacking = [p for p in self._alive() if known is None or p.shas.get(item.key) != known.sha256]
        some = Destinations([place.tree.objects for place in lacking], self._plan.stall_timeout)
        fan = FanOut(some, "", core.tree_key(self._environment, item.key), self._meter.check, over=True)
        digest = hashlib.sha256()
        try:
            for chunk in self._source.stream(item):
                digest.update(chunk)
                self._meter.add(len(chunk), 0)
                fan.write(chunk)
            fan.finish(item.size, digest.hexdigest())
        except NoDestination:
            fan.abort()
        except BaseException:
            fan.abort()
            raise
        self._took(item, digest.hexdigest())
        for outcome in some.outcomes():
            if not outcome.complete:
                self._destinations.drop(outcome.name, outcome.why)
        self._destinations.require_one()
        for place in lacking:
            place.has(item.key, item.size, digest.hexdigest(), "")

    def _took(self, item: Item, sha256: str) -> str:
        """An object was read whole: this is what it is."""
        with self._now.lock:
            self._now.known[item.key] = Entry(item, sha256)
            self._now.read += item.size
        return sha256

    def _leave(self, key: str, why: str) -> None:
        """An object that could not be taken: what the backup before has of it stays."""
        with self._now.lock:
            self._now.left[key] = why
            old = self._before.index.entries.get(key)
            if old is not None:
                self._now.known[key] = old
            else:
                self._now.known.pop(key, None)

    def _each(self, action: Callable[[Place, Callable[[], None]], None]) -> None:
        def do(store: ObjectStore, sign: Callable[[], None]) -> None:
            action(self._places[store.name], sign)

        self._destinations.each_moving(do, self._meter.check)
        self._destinations.require_one()

    def _write_down(self, key: str, lines: Sequence[bytes]) -> None:
        """So that another run need not do it again, should this one die."""
        if lines:
            name = f"{self.place}{JOURNAL}{key.rpartition('-')[2]}.jsonl.zst"
            self._destinations.each(lambda store: put_once(store, name, packed(lines)))
            self._destinations.require_one()

    # --- the end

    def _close_trees(self) -> None:
        """List every tree once more where something was written: who lacks something of the index is no copy."""
        if self._now.wrote:
            self._each(self._relist)
        for place in self._alive():
            lacking = [key for key, entry in self._now.known.items() if place.shas.get(key) != entry.sha256]
            if lacking:
                told = f"its tree lacks {len(lacking)} of {len(self._now.known)} files: {core.named(lacking)}."
                self._destinations.drop(place.tree.name, told)
        entries = {key: replace(entry, tags=self._tags(entry)) for key, entry in self._now.known.items()}
        noticed = records.moment(self._run.clock.now())
        gone = tuple(Gone(one.key, one.item.size, one.sha256, noticed) for one in self._now.gone)
        left = tuple(Left(key, why) for key, why in sorted(self._now.left.items()))
        self._index = Index(self._before.name, entries, gone, left)

    def _relist(self, place: Place, sign: Callable[[], None]) -> None:
        """What is not listed as it was written is not there."""
        tree, seen = core.tree_of(self._environment), set[str]()
        for page in place.tree.listing(tree):
            sign()
            for one in page:
                key = to_key(one.key.removeprefix(tree))
                if (place.sizes.get(key), place.tags.get(key)) in ((one.size, one.tag), (one.size, "")):
                    seen.add(key)
                    place.tags[key] = one.tag
        for key in [key for key in place.shas if key not in seen]:
            place.forget(key)

    def _tags(self, entry: Entry) -> Mapping[str, str]:
        """Under which tags the destinations list these bytes; of those that are away, what was known before."""
        tags = dict[str, str]()
        for old in self._before.about(entry.key):
            if old.sha256 == entry.sha256:
                tags |= old.tags
        for name, place in self._places.items():
            if place.shas.get(entry.key) == entry.sha256 and place.tags.get(entry.key):
                tags[name] = place.tags[entry.key]
        return tags

    def _index_piece(self) -> Piece:
        return Piece(INDEX, self._index_lines, encrypted=False)

    def _index_lines(self, meter: Meter) -> Iterator[bytes]:
        for line in core.to_lines(self._index):
            meter.check()
            yield line

    def _told(self) -> About:
        told = dict(self._source.describe())
        server = Server(told.pop("dialect"), told.pop("version"))
        told |= core.told(self._index, self._before.index, self._now.read)
        lingering = {name: place.lingering for name, place in self._places.items() if place.lingering}
        told |= {f"lingering_{name}": f"{len(keys)}: {core.named(keys)}" for name, keys in lingering.items()}
        return About(server, facts=tuple(Fact(name, value) for name, value in sorted(told.items())))

    def _copies(self, written: Sequence[Written], finished: float) -> list[CopyRecord]:
        """Where the copies are. Nobody read back what did not change, so they count once a read-back did."""
        return [replace(one, verified="") for one in super()._copies(written, finished)]


def take_media(source: MediaSource, trees: Sequence[Tree], plan: BackupPlan, run: Run) -> Taken:
    """A whole backup of media at once: list, move what changed, publish.

    This is the entry for measurements too: any MediaSource and Trees will do (``adapters.media_directory``,
    ``adapters.tree_s3`` …), ``plan.environment`` names where in the destinations, ``plan.workers`` batches are moved
    at a time. A second call with the same destinations is the incremental pass.
    """
    return take(MediaSession(source, trees, plan, run))
