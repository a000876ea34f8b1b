"""A restore of media: compared with what is there, what is missing or differs fetched, checked, put, read back.

No byte stands under its name in the target before the SHA-256 of all of it was found right. What has the right bytes is
not written, so a restore that died goes on when it is run again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onlyvips.core import media as core
from onlyvips.core.media import Entry, Item, Left, named
from onlyvips.core.media_restore import Chosen, Found, Pairs, compare, known_of, unknown, wanted
from onlyvips.core.media_restored import MediaPlan, RestoredMedia, notes_of
from onlyvips.errors import Conflict, OnlyVipsError, Permanent, Refused
from onlyvips.ports import Clock, MediaSource, Tree
from onlyvips.ports.media import MediaSink, Putting
from onlyvips.steps.media_copies import NotGiven, given
from onlyvips.steps.media_places import CHUNK, SMALL
from onlyvips.steps.media_sources import Source, Sources, hashed, index_from, index_or_none, listed, sources_of
from onlyvips.steps.several import several
from onlyvips.steps.sound import Tell

_TOLD = 20
"""Bad copies that are told one by one."""


@dataclass(frozen=True)
class Target:
    """Where media come back to: read by ``source``, written by ``sink``. ``live``: it is what the backups are of, so
    what it lists may be known from them."""

    source: MediaSource
    sink: MediaSink
    live: bool


@dataclass(frozen=True)
class Means:
    """The destinations of backups, and how the work is done: ``workers`` batches at a time."""

    trees: Sequence[Tree]
    tell: Tell
    workers: int
    clock: Clock


@dataclass(frozen=True)
class Ready:
    """A plan, where its bytes are, and what was wrong with copies so far."""

    plan: MediaPlan
    sources: Sources
    flaws: tuple[str, ...]


def prepare(chosen: Chosen, newest: Chosen, pairs: Pairs, target: Target, means: Means) -> Ready:
    """What a restore would do; writes nothing. Raises Refused for what cannot be had, whole and exact, there."""
    index, flaws = index_from(chosen, means.trees)
    coming = wanted(index, pairs)
    target.source.describe()
    there, left = listed(target.source, means.tell)
    if wrong := target.sink.cannot_have(list(coming), [*there, *left]):
        told = "; ".join(f"{key!r}: {why}" for key, why in list(wrong.items())[:5])
        raise Refused(
            f"{len(wrong)} files cannot come back there under exactly their names ({told}): nothing was written; "
            "choose others by --namespace, or another target."
        )
    known = dict[str, str]()
    if target.live:
        last = index if newest == chosen else index_or_none(newest.manifest, means.trees)
        known = known_of([one for one in (last, index) if one], there)
    found = _found(coming, there, known, pairs, target, means)
    sources = sources_of(chosen, index, means.trees if found.to_write else [], means.tell)
    notes = tuple(notes_of(chosen, index, sources.away))
    return Ready(MediaPlan(chosen, index, coming, found, notes), sources, tuple(flaws))


def _found(
    coming: Mapping[str, Entry], there: dict[str, Item], known: dict[str, str], pairs: Pairs, target: Target, by: Means
) -> Found:
    ask = unknown(coming, there, known)
    read = hashed(target.source, ask, by.tell, by.workers)
    for item in ask:
        if item.key in read:
            there[item.key] = read[item.key][0]
        else:
            del there[item.key]
    believed = sum(1 for key, one in coming.items() if known.get(key) == one.sha256)
    return compare(coming, there, known | {key: sha256 for key, (_, sha256) in read.items()}, pairs, believed)


def check(ready: Ready, target: Target) -> None:
    """Raise Refused where some bytes are nowhere, or have no room."""
    plan, found = ready.plan, ready.plan.found
    ready.sources.require(plan.coming, found.to_write)
    sizes = {key: plan.coming[key].item.size for key in found.to_write}
    more = (size - (found.differ[key].size if key in found.differ else 0) for key, size in sizes.items())
    needed, room = sum(max(0, one) for one in more) + max(sizes.values(), default=0), target.sink.room()
    if room is not None and needed > room:
        raise Refused(f"The files need {needed:,} bytes there, and {room:,} are free: nothing was written; make room.")


def restore_media(ready: Ready, target: Target, means: Means) -> RestoredMedia:
    """Do it. Raises Refused, with nothing written, for what ``check`` says; Permanent, with all else done, where a file
    has no good copy, or somebody else changes the target."""
    began = means.clock.monotonic()
    check(ready, target)
    run = _Run(ready, target, means)
    with target.sink.writing():
        run.write()
        run.compare_again()
    run.require_all()
    plan, found = ready.plan, ready.plan.found
    return RestoredMedia(
        backup=plan.chosen.backup.name,
        files=len(run.written),
        size=plan.bytes_of(list(run.written)),
        replaced=len(found.differ),
        kept=len(found.same),
        believed=found.believed,
        others=len(found.others),
        flaws=tuple(run.told_flaws()),
        seconds=means.clock.monotonic() - began,
    )


@dataclass
class _Run:
    """``written``: each object as it was read back. ``lost`` have no good copy, with the reason; ``moved`` were changed
    by somebody else. ``wrong`` is what copies of a file lack, ``flaws`` all of that once; ``away`` are destinations
    that are asked last."""

    ready: Ready
    target: Target
    means: Means
    written: dict[str, Item] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    flaws: dict[str, None] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self) -> None:
        """All that is missing or differs, several batches at a time."""
        coming = self.ready.plan.coming
        items = [Item(key, coming[key].item.size, "") for key in self.ready.plan.found.to_write]
        several(self._batch, core.batches(items, SMALL, CHUNK), self.means.workers)

    def _batch(self, batch: list[Item]) -> None:
        if batch[0].size > SMALL:
            self._large(batch[0].key)
        else:
            self._small([one.key for one in batch])
        self.means.tell("restoring", sum(one.size for one in batch))

    # --- small ones, together

    def _small(self, keys: Sequence[str]) -> None:
        places = {key: iter(self._sources(key)) for key in keys}
        pending = list(keys)
        while pending:
            asked = dict[str, Source]()
            for key in pending:
                source = next(places[key], None)
                if source is None:
                    self._lose(key)
                else:
                    asked[key] = source
            good = self._fetched(asked)
            self._put(good)
            pending = [key for key in asked if key not in good]

    def _fetched(self, asked: Mapping[str, Source]) -> dict[str, bytes]:
        """The bytes of those that are as the index says."""
        good, by_tree = dict[str, bytes](), dict[str, list[str]]()
        for key, source in asked.items():
            by_tree.setdefault(source.tree.name, []).append(key)
        for keys in by_tree.values():
            for key, data in zip(keys, self._read(asked, keys), strict=True):
                if isinstance(data, str):
                    self._flaw(key, data)
                elif (sha256 := hashlib.sha256(data).hexdigest()) != self._entry(key).sha256:
                    self._flaw(key, f"{asked[key].told} has SHA-256 {sha256}")
                else:
                    good[key] = data
        return good

    def _read(self, asked: Mapping[str, Source], keys: Sequence[str]) -> list[bytes | str]:
        """The bytes, or why there are none; one that cannot be read does not keep others from it."""
        tree = asked[keys[0]].tree
        try:
            found = tree.read([asked[key].key for key in keys])
        except Permanent as error:
            if len(keys) == 1:
                return [str(error)]
            middle = len(keys) // 2
            return [*self._read(asked, keys[:middle]), *self._read(asked, keys[middle:])]
        except OnlyVipsError as error:
            self.away.add(tree.name)
            return [str(error)] * len(keys)
        gone = [f"{asked[key].told} is not there" for key in keys]
        return [why if data is None else data for data, why in zip(found, gone, strict=True)]

    def _put(self, good: Mapping[str, bytes]) -> None:
        if not good:
            return
        over = self.ready.plan.found.differ
        puttings: list[Putting] = [(key, data, over.get(key)) for key, data in good.items()]
        for (key, _, _), why in zip(puttings, self.target.sink.put(puttings), strict=True):
            if why:
                self._move(key, why)
        done = [key for key in good if key not in self.moved]
        self._see(done, self.target.source.read([Item(key, len(good[key]), "") for key in done]))

    def _see(self, keys: Sequence[str], back: Sequence[tuple[Item, bytes] | Left]) -> None:
        for key, one in zip(keys, back, strict=True):
            if isinstance(one, Left):
                self._move(key, one.why)
            else:
                self._seen(key, one[0], hashlib.sha256(one[1]).hexdigest())

    def _seen(self, key: str, item: Item, sha256: str) -> None:
        if sha256 != self._entry(key).sha256:
            self._move(key, f"reads back with SHA-256 {sha256}")
            return
        with self.lock:
            self.written[key] = item

    # --- a large one, as a stream

    def _large(self, key: str) -> None:
        for source in self._sources(key):
            try:
                if self._streamed(key, source):
                    self._look_back(key)
                    return
            except NotGiven as error:
                self._flaw(key, str(error))
            except Conflict as error:
                self._move(key, str(error))
                return
        self._lose(key)

    def _streamed(self, key: str, source: Source) -> bool:
        upload, digest = self.target.sink.upload(key, self.ready.plan.found.differ.get(key)), hashlib.sha256()
        try:
            for chunk in given(source.tree, source.key):
                digest.update(chunk)
                upload.write(chunk)
            if digest.hexdigest() == self._entry(key).sha256:
                upload.finish()
                return True
        except BaseException:
            upload.abort()
            raise
        upload.abort()
        self._flaw(key, f"{source.told} has SHA-256 {digest.hexdigest()}")
        return False

    def _look_back(self, key: str) -> None:
        item = self.target.source.look(key)
        seen = hashed(self.target.source, [item], lambda doing, size: None, 1) if item else {}
        if key in seen:
            self._seen(key, *seen[key])
        else:
            self._move(key, "it was gone when it was read back")

    # --- the end

    def compare_again(self) -> None:
        """List the target once more: all of it is to be as it was when it was read, or believed."""
        there, _ = listed(self.target.source, self.means.tell)
        expected = {**self.ready.plan.found.same, **self.written}
        for key, item in expected.items():
            now = there.get(key)
            if now is None or (now.size, now.etag) != (item.size, item.etag):
                self._move(key, "it is gone" if now is None else "it changed after it was read")

    def require_all(self) -> None:
        """Raise Permanent for what is not there as it should be."""
        told = list(self._told_failures())
        if told:
            raise Permanent(
                f"{len(self.written) - len(set(self.written) & set(self.moved)):,} files of "
                f"{self.ready.plan.chosen.backup.name} were written and read back equal, but {' '.join(told)}"
            )

    def _told_failures(self) -> Iterator[str]:
        if self.lost:
            why = "; ".join(list(self.lost.values())[:3])
            yield (
                f"{len(self.lost)} have no good copy and were left as they were: {named(self.lost)} ({why}); where a "
                "copy only did not answer, run it again; else restore these of another backup, by --at."
            )
        if self.moved:
            why = "; ".join(f"{key}: {why}" for key, why in list(self.moved.items())[:3])
            yield f"{len(self.moved)} are not as they should be, for somebody else writes there ({why}); run it again."

    def told_flaws(self) -> Iterator[str]:
        """What was wrong with copies."""
        every = [*self.ready.flaws, *self.flaws]
        yield from every[:_TOLD]
        if len(every) > _TOLD:
            yield f"and {len(every) - _TOLD} more"

    def _entry(self, key: str) -> Entry:
        return self.ready.plan.coming[key]

    def _sources(self, key: str) -> list[Source]:
        return sorted(self.ready.sources.of(self._entry(key)), key=lambda one: one.tree.name in self.away)

    def _flaw(self, key: str, why: str) -> None:
        with self.lock:
            self.wrong.setdefault(key, []).append(why)
            self.flaws[why] = None

    def _lose(self, key: str) -> None:
        with self.lock:
            self.lost[key] = "; ".join(self.wrong.get(key, [])) or "no copy lists it"

    def _move(self, key: str, why: str) -> None:
        with self.lock:
            self.moved[key] = why
