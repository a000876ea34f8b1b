"""Which copy of each object is good: read and compared with the manifest before anything is written anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from onlyvips.core.archive import Documents
from onlyvips.core.oplog_entry import Position
from onlyvips.core.restore import RestorePlan, Source
from onlyvips.errors import Fenced, OnlyVipsError, Refused, Transient
from onlyvips.ports import ObjectStore
from onlyvips.steps.copies import hash_of
from onlyvips.steps.opened import Sink, begin_object, open_object
from onlyvips.steps.several import several
from onlyvips.steps.translated import Translated, batches_of

_ATTEMPTS = 2
"""To read a copy whose connection breaks."""
Tell = Callable[[str, int], None]
"""What is going on, and so many bytes more of it; what it raises ends it."""


@dataclass(frozen=True)
class Sound:
    """The store that has each object as its manifest says, by key; what was wrong with other copies, in words; and what
    the logs say, where that is little."""

    stores: Mapping[str, ObjectStore]
    flaws: tuple[str, ...]
    translated: Translated | None = None


@dataclass(frozen=True)
class Reader:
    """Reads objects of a plan from ``stores`` with ``identities``; what logs say is kept while it takes no more than
    ``keeps`` bytes of memory, about."""

    stores: Mapping[str, ObjectStore]
    identities: Sequence[Any]
    tell: Tell
    workers: int = 4
    keeps: int = 128 << 20


def find_sound(plan: RestorePlan, reader: Reader, after: Position | None = None) -> Sound:
    """A good copy of every object. All of each copy's bytes are hashed; logs are opened, and their entries translated
    without writing anything (those up to ``after`` are there already); of the archives the smallest is begun, to see
    that the identity is the right one.

    Raises Refused with all that is wrong when an object has no good copy, and for an entry that cannot be replayed;
    Transient when an object could only not be read.
    """
    smallest = min(plan.archives, key=lambda one: one.record.size, default=None)
    look = _Check(reader, smallest)
    several(look.at, plan.archives, reader.workers)
    before, translated = look.disturbed, Translated(batches_of(plan, after), reader.keeps)
    logs = plan.logs if plan.until is not None else ()
    for source in logs:
        look.at(source, translated.take)
    look.verdict()
    if look.disturbed > before:  # of a bad copy something may have been taken
        translated = Translated(batches_of(plan, after), reader.keeps)
        for source in logs:
            read_again(source, look.found[source.key], reader, "checking", translated.take)
    translated.end()
    return Sound(look.found, tuple(look.flaws), translated if translated.steps is not None else None)


@dataclass
class _Check:
    """``found``: the good copies, by key; ``lost`` objects have none, ``away`` ones may have one that is not read now;
    ``disturbed``: how often a copy was not read to a good end."""

    reader: Reader
    smallest: Source | None
    found: dict[str, ObjectStore] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    disturbed: int = 0

    def at(self, source: Source, sink: Sink | None = None) -> None:
        """Find a good copy; a log's entries go to ``sink``."""
        wrong, passing = list[str](), False
        for store in _stores(source, self.reader):
            told = _tried(partial(self._flaw, source, store, sink))
            self.disturbed += told.failed
            if not told.why:
                self.found[source.key] = store
                break
            wrong.append(f"{store.name}: {source.key} {told.why}")
            passing = passing or told.passing
        self.flaws.extend(wrong)
        if source.key not in self.found:
            told_of = f"{source.key} ({'; '.join(wrong) or 'no destination has it'})"
            (self.away if passing else self.lost).append(told_of)

    def verdict(self) -> None:
        """Raise Refused where an object is lost, Transient where one could not be read now."""
        if self.lost:
            raise Refused(
                f"No good copy is left of {len(self.lost)} objects, so nothing was written: {' · '.join(self.lost)}. "
                "Where they do not open, see that the identity is the right one; else restore to another moment, or by "
                "another base."
            )
        if self.away:
            raise Transient(
                f"{len(self.away)} objects could not be read now, and nothing was written: {' · '.join(self.away)}. "
                "See that their destinations answer, then run this restore again."
            )

    def _flaw(self, source: Source, store: ObjectStore, sink: Sink | None) -> str:
        if sink is not None:
            return read_object(source, store, self.reader, "checking", sink)
        if source is self.smallest:
            return begin_object(_told(source, store, self.reader, "checking"), source.record, self.reader.identities)
        return _hashed(source, store, self.reader)


class _Told(NamedTuple):
    """What is wrong with a copy, "" for nothing; whether it only could not be read; how many attempts went wrong."""

    why: str
    passing: bool
    failed: int


def _tried(read: Callable[[], str]) -> _Told:
    """A copy read, again where its connection broke: that is no flaw of it. Raises what ends the whole restore."""
    why = ""
    for failed in range(_ATTEMPTS):
        try:
            why = read()
            return _Told(why, False, failed + bool(why))
        except (Refused, Fenced):
            raise
        except Transient as error:
            why = str(error)
        except OnlyVipsError as error:
            return _Told(str(error), False, failed + 1)
    return _Told(why, True, _ATTEMPTS)


def _stores(source: Source, reader: Reader) -> list[ObjectStore]:
    """Those that may have it, in the order in which they are trusted."""
    return [reader.stores[name] for name in source.destinations if name in reader.stores]


def read_again(source: Source, store: ObjectStore, reader: Reader, doing: str, sink: Sink) -> None:
    """Open what was found to be good. Raises Transient when it is not any more what it was."""
    if wrong := read_object(source, store, reader, doing, sink):
        raise Transient(
            f"{store.name}: {source.key} was good when it was checked, and is not now ({wrong}): run this restore "
            "again, it goes on where it is."
        )


def open_sound(source: Source, reader: Reader, file: Path) -> tuple[str, ...]:
    """Write what is inside of ``source`` to ``file``, from the first copy that is as its manifest says, read once; what
    was wrong with those before it, in words. Raises Refused with all that is wrong when there is none."""
    with file.open("wb") as plain:

        def fresh() -> Sink:
            plain.seek(0)
            plain.truncate()
            return lambda found: _write(plain, found)

        return _first_good(source, reader, fresh)


def read_sound(source: Source, reader: Reader) -> tuple[bytes, tuple[str, ...]]:
    """What is inside of a small ``source``, in memory; else as ``open_sound``."""
    plain = bytearray()

    def fresh() -> Sink:
        plain.clear()
        return lambda found: plain.extend(found.data)

    flaws = _first_good(source, reader, fresh)
    return bytes(plain), flaws


def read_collections(source: Source, reader: Reader) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """What is inside of a small archive, in memory, by collection; else as ``open_sound``."""
    plain = dict[str, bytes]()

    def fresh() -> Sink:
        plain.clear()
        return lambda found: plain.update({found.collection: plain.get(found.collection, b"") + found.data})

    flaws = _first_good(source, reader, fresh)
    return plain, flaws


def _first_good(source: Source, reader: Reader, fresh: Callable[[], Sink]) -> tuple[str, ...]:
    """Each copy into a ``fresh`` sink, until one is good."""
    flaws, passing = list[str](), False
    for store in _stores(source, reader):
        told = _tried(partial(_opened, source, store, reader, fresh))
        if not told.why:
            return tuple(flaws)
        flaws.append(f"{store.name}: {source.key} {told.why}")
        passing = passing or told.passing
    if passing:
        raise Transient(
            f"{source.key} could not be read now, and nothing was written: {' · '.join(flaws)}. See that "
            "their destinations answer, then run this again."
        )
    raise Refused(
        f"No good copy is left of {source.key}, so nothing was written: "
        f"{' · '.join(flaws) or 'no destination has it'}. Where it does not open, see that the identity is the right "
        "one; else restore by another backup."
    )


def _opened(source: Source, store: ObjectStore, reader: Reader, fresh: Callable[[], Sink]) -> str:
    return read_object(source, store, reader, "checking", fresh())


def _write(plain: BinaryIO, found: Documents) -> None:
    try:
        plain.write(found.data)
    except OSError as error:
        raise Refused(
            f"What is inside of the backup does not fit where it is to lie for a while ({error.strerror}): nothing was "
            "changed; make room there, or let TMPDIR name another place."
        ) from error


def _hashed(source: Source, store: ObjectStore, reader: Reader) -> str:
    size, sha256 = hash_of(_told(source, store, reader, "checking"))
    record = source.record
    if (size, sha256) == (record.size, record.sha256):
        return ""
    return f"has {size} bytes with SHA-256 {sha256}, the manifest says {record.size} with {record.sha256}"


def read_object(source: Source, store: ObjectStore, reader: Reader, doing: str, sink: Sink) -> str:
    """Open it and give what is inside to ``sink``; what is wrong with it, or ""."""
    chunks = _told(source, store, reader, doing)
    return open_object(chunks, source.record, reader.identities, source.manifest.window, sink=sink)


def _told(source: Source, store: ObjectStore, reader: Reader, doing: str) -> Iterator[bytes]:
    for chunk in store.read(source.key):
        reader.tell(doing, len(chunk))
        yield chunk
