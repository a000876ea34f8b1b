"""An archive of mongodump's own into a server that has none of it: read to its end first, then loaded and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import fastcrc

from onlyvips.core.archive import Corrupt, Documents, Entry, Event, Prelude, Reader, scan
from onlyvips.core.changes import Create, Index
from onlyvips.core.little_bson import each
from onlyvips.core.replay import Names, indexes_of
from onlyvips.core.restore import VIEW
from onlyvips.errors import Permanent, Refused
from onlyvips.ports import TargetDatabase
from onlyvips.steps.load import Sum

Open = Callable[[], Iterable[bytes]]
"""The bytes of the archive from their beginning, each time."""
_MOST = 1000
"""Documents a server is sent at a time."""
_KEPT = ("collection", VIEW)


@dataclass
class Coming:
    """One namespace of the archive: what it is called in the target, what the head says of it, what passed of it."""

    target: str
    entry: Entry
    sum: Sum = field(default_factory=Sum)


@dataclass(frozen=True)
class Contents:
    """What comes back, by its name in the archive; ``left`` says what does not, and why."""

    coming: Mapping[str, Coming]
    left: tuple[str, ...]

    @property
    def documents(self) -> int:
        """Of all of it."""
        return sum(one.sum.documents for one in self.coming.values())


def look(opened: Open, names: Names | None) -> Contents:
    """Read all of it, every CRC and count, and say what it has. Raises Refused for what is not whole, or cannot be
    exact; nothing was changed."""
    coming, left = dict[str, Coming](), list[str]()
    for event in _events(opened):
        if isinstance(event, Prelude):
            for entry in event.entries:
                _place(entry, names, coming, left)
        elif isinstance(event, Documents) and (one := coming.get(f"{event.database}.{event.collection}")):
            one.sum.add(each(event.data))
    if not coming:
        raise Refused(
            f"The archive has nothing that comes back ({'; '.join(left) or 'it is empty'}): nothing was changed."
        )
    return Contents(coming, tuple(left))


def check_free(contents: Contents, target: TargetDatabase) -> None:
    """Raise Refused where the target has any of it."""
    wanted = {one.target for one in contents.coming.values()}
    databases = {one.partition(".")[0] for one in wanted}
    there = wanted & {f"{name}.{one}" for name in databases for one in target.collections(name)}
    if there:
        raise Refused(
            f"The target already has {', '.join(sorted(there))}: nothing was changed. Restore beside it by --namespace "
            "'DB.*=OTHER.*', or remove by hand what is there, for example what such a restore that was killed has left."
        )


def check_elsewhere(contents: Contents, database: str) -> None:
    """Raise Refused where any of it would come into ``database`` of the live server, which the backups are of."""
    if any(one.target.partition(".")[0] == database for one in contents.coming.values()):
        raise Refused(
            f"The target is the live source, and database {database} is what the backups are of: nothing was changed. "
            f"Give another server by --target, or another database by --namespace '{database}.*=OTHER.*'."
        )


def load(opened: Open, contents: Contents, target: TargetDatabase) -> int:
    """Collections, their documents read back and compared, then indexes and views; returns how many indexes.

    Raises Permanent where it reads back otherwise, or where the archive is another one by now: it has written then.
    """
    try:
        return _load(opened, contents, target)
    except Refused as error:
        names = ", ".join(one.target for one in contents.coming.values())
        raise Permanent(
            f"This was met after the first write, so a part of {names} is there: {error} Drop what this restore wrote, "
            "see what became of the archive or the server, then run it again."
        ) from error


def _load(opened: Open, contents: Contents, target: TargetDatabase) -> int:
    again = {name: Sum() for name in contents.coming}
    for one in contents.coming.values():
        if one.entry.type != VIEW:
            target.apply([Create(one.target, _options(one))])
    for event in _events(opened):
        if isinstance(event, Documents) and (name := f"{event.database}.{event.collection}") in again:
            _insert(target, contents.coming[name].target, again[name], event.data)
    for name, one in contents.coming.items():
        _compare(name, one, again[name], target)
    collections = [one for one in contents.coming.values() if one.entry.type != VIEW]
    indexes = [Index(one.target, spec) for one in collections for spec in indexes_of(one.entry.metadata).values()]
    views = [Create(one.target, _options(one)) for one in contents.coming.values() if one.entry.type == VIEW]
    target.apply([*indexes, *views])
    return len(indexes)


def _events(opened: Open) -> Iterable[Event]:
    reader = Reader(fastcrc.crc64.xz)
    try:
        for portion in opened():
            yield from reader.feed(portion)
        reader.finish()
    except Corrupt as error:
        raise Refused(f"This is no whole archive of mongodump: {error}. Nothing more is made of it.") from error


def _place(entry: Entry, names: Names | None, coming: dict[str, Coming], left: list[str]) -> None:
    name = f"{entry.database}.{entry.collection}"
    target = names.target(name) if names else name
    if not entry.database:
        left.append("the oplog of that dump: mongorestore --oplogReplay replays it")
    elif target is None:
        left.append(f"{name} was not asked for")
    elif entry.collection.startswith(("$", "system.")) and entry.collection != "system.js":
        left.append(f"{name} is the server's own")
    elif entry.type not in _KEPT:
        raise Refused(f"{name} is a {entry.type}, which cannot be restored exactly here: nothing was done.")
    else:
        coming[name] = Coming(target, entry)


def _insert(target: TargetDatabase, name: str, sum: Sum, data: bytes) -> None:
    at = 0
    while at < len(data):
        part = data[at : scan(data, at, most=_MOST).end]
        if there := target.insert(name, part):
            raise Permanent(
                f"{name} had {len(there)} documents already that the archive has: somebody else writes there, or the "
                "archive has them twice. Stop that, drop what this restore wrote, run it again."
            )
        sum.add(each(part))
        at += len(part)


def _compare(name: str, one: Coming, again: Sum, target: TargetDatabase) -> None:
    found = Sum()
    if one.entry.type != VIEW:
        for batch in target.documents(one.target):
            found.add(batch)
    told = {(each.documents, each.hash) for each in (one.sum, again, found)}
    if len(told) > 1:
        raise Permanent(
            f"{one.target} reads back as {found.documents} documents with hash {found.hash:032x}; the archive has "
            f"{one.sum.documents} of {name} with {one.sum.hash:032x}: see that nobody else writes there, drop it, then "
            "run this again."
        )


def _options(one: Coming) -> str:
    return json.dumps(json.loads(one.entry.metadata).get("options", {}) if one.entry.metadata else {})
