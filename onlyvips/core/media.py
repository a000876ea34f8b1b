"""Media of a platform as plain objects: what changed since the backup before, and what an index of a backup says.

Every destination keeps a *tree*, the media under their own names, and *versions*, what was replaced or removed, by
its SHA-256. One rule makes each backup whole at any moment: nothing in a tree is replaced or removed before its bytes
are in ``versions``. So the bytes of an entry of any index are in the tree, or in ``versions`` under their hash.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from onlyvips.core.media_paths import to_path
from onlyvips.core.strict_json import BadManifest

INDEX = "objects/0001-index.jsonl.zst"
"""The one object of a media backup, under its prefix."""
_SCHEMA = 1
_BATCH = 2_000
_NAMED = 5
T = TypeVar("T", bound="Item")


@dataclass(frozen=True, slots=True)
class Item:
    """An object as its source lists it. ``etag`` changes when the bytes do; ``version`` and ``modified`` (unix
    seconds) are for people. ``size`` is in bytes."""

    key: str
    size: int
    etag: str
    version: str = ""
    modified: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of a backup: as it was listed, and the SHA-256 of all of it. ``tags``: the tags under which each
    destination listed these bytes in its tree; a tag changes when the bytes do, so one that is seen again is proof."""

    item: Item
    sha256: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.item.key


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that the backup before had and the source has no more; ``noticed`` is UTC text."""

    key: str
    size: int
    sha256: str
    noticed: str


@dataclass(frozen=True, slots=True)
class Left:
    """An object that could not be taken this time, and why. Its entry, if it has one, is that of the backup before."""

    key: str
    why: str


@dataclass(frozen=True)
class Index:
    """What one backup holds. ``before`` is the name of the backup that it was compared with, "" for none."""

    before: str
    entries: Mapping[str, Entry]
    gone: tuple[Gone, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(entry.item.size for entry in self.entries.values())


NOTHING = Index("", {})


def tree_key(environment: str, key: str) -> str:
    """Where an object is in the tree of a destination, which is what is synced back; see ``core.media_paths``."""
    return tree_of(environment) + to_path(key)


def tree_of(environment: str) -> str:
    """What every key of a tree begins with."""
    return f"{environment}/media-tree/"


def versions_of(environment: str) -> str:
    """What every key of a version begins with."""
    return f"{environment}/media-versions/"


def version_key(environment: str, sha256: str) -> str:
    """Where bytes are that the tree has no more."""
    return f"{versions_of(environment)}{sha256[:2]}/{sha256}"


def same(item: Item, entry: Entry | None) -> bool:
    """Whether what is listed has the bytes of ``entry``, as far as a listing tells."""
    return entry is not None and bool(item.etag) and (item.size, item.etag) == (entry.item.size, entry.item.etag)


@dataclass(frozen=True)
class Changes:
    """How a source differs from an index: ``known`` objects need not be read to know their bytes."""

    known: Mapping[str, Entry]
    unknown: tuple[Item, ...]
    gone: tuple[Entry, ...]


def compare(listed: Iterable[Item], before: Mapping[str, Entry], found: Mapping[str, Sequence[Entry]]) -> Changes:
    """What is listed against the backup before, and against what unfinished runs ``found`` out since (by key)."""
    known, unknown = dict[str, Entry](), list[Item]()
    seen = set[str]()
    for item in listed:
        seen.add(item.key)
        told = before.get(item.key)
        entry = told if same(item, told) else next((one for one in found.get(item.key, ()) if same(item, one)), None)
        if entry is None:
            unknown.append(item)
        else:
            known[item.key] = replace(entry, item=item)
    gone = tuple(entry for key, entry in before.items() if key not in seen)
    return Changes(known, tuple(unknown), gone)


def bytes_under(tag: str, size: int, entries: Iterable[Entry], destination: str) -> str:
    """The SHA-256 of what a destination lists with this tag and size, where one of the entries tells; else ""."""
    return next((e.sha256 for e in entries if e.item.size == size and e.tags.get(destination) == tag), "")


def batches(items: Iterable[T], small: int, most: int) -> list[list[T]]:
    """Those of at most ``small`` bytes together, 2,000 and ``most`` bytes at the most; each larger one alone."""
    found, rest, size = list[list[T]](), list[T](), 0
    for item in items:
        if item.size > small:
            found.append([item])
            continue
        if rest and (len(rest) == _BATCH or size + item.size > most):
            found.append(rest)
            rest, size = [], 0
        rest.append(item)
        size += item.size
    return [*found, rest] if rest else found


def needed(indexes: Iterable[Index]) -> set[str]:
    """SHA-256 of everything that these backups bring back: a version that is not among them may go."""
    return {entry.sha256 for index in indexes for entry in index.entries.values()}


def at(moments: Mapping[str, str], moment: str) -> str | None:
    """The backup that brings a moment back, of those that began at ``moments`` (by name, UTC text): the last one that
    began no later."""
    fitting = [(began, name) for name, began in moments.items() if began <= moment]
    return max(fitting, default=(None, None))[1]


def told(index: Index, before: Index, new_bytes: int) -> dict[str, str]:
    """Facts for the manifest: how many objects, and what changed."""
    new = [key for key in index.entries if key not in before.entries]
    changed = [
        key for key, one in index.entries.items() if key in before.entries and one.sha256 != before.entries[key].sha256
    ]
    numbers = {
        "files": len(index.entries),
        "bytes": index.size,
        "new": len(new),
        "changed": len(changed),
        "gone": len(index.gone),
        "left": len(index.left),
        "bytes_read": new_bytes,
    }
    facts = {name: str(number) for name, number in numbers.items()}
    if index.left:
        facts["left_names"] = named([one.key for one in index.left])
    return facts | ({"before": index.before} if index.before else {})


def named(keys: Collection[str]) -> str:
    """A few of these keys, for people: one line, whatever they are made of."""
    few = [json.dumps(key, ensure_ascii=False) for key in sorted(keys)[:_NAMED]]
    return ", ".join(few) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")


# --- an index as lines -----------------------------------------------------------------------------------------------


def to_lines(index: Index) -> Iterator[bytes]:
    """The index, a JSON object a line: a head, entries by key, what is gone, what was left."""
    yield _line({"schema": _SCHEMA, "index": "media", "before": index.before})
    for key in sorted(index.entries):
        yield entry_line(index.entries[key])
    for gone in index.gone:
        yield _line({"gone": gone.key, "size": gone.size, "sha256": gone.sha256, "noticed": gone.noticed})
    for left in index.left:
        yield _line({"left": left.key, "why": left.why})
    yield _line({"end": len(index.entries)})


def entry_line(entry: Entry) -> bytes:
    """One entry."""
    item = entry.item
    told: dict[str, object] = {"key": item.key, "size": item.size, "sha256": entry.sha256, "etag": item.etag}
    if item.version:
        told["version"] = item.version
    return _line(told | {"modified": item.modified, "tags": dict(entry.tags)})


def from_lines(lines: Iterable[bytes]) -> Index:
    """What ``to_lines`` wrote. Raises BadManifest."""
    entries, gone, left = dict[str, Entry](), list[Gone](), list[Left]()
    before, end = None, -1
    for number, line in enumerate(lines, start=1):
        try:
            one = json.loads(line)
            if "key" in one:
                entries[one["key"]] = _entry(one)
            elif "gone" in one:
                gone.append(Gone(one["gone"], one["size"], one["sha256"], one["noticed"]))
            elif "left" in one:
                left.append(Left(one["left"], one["why"]))
            elif "end" in one:
                end = one["end"]
            elif (one["schema"], one["index"]) == (_SCHEMA, "media"):
                before = one["before"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadManifest(f"line {number} of this index of media is not as we write it: {error!r}") from error
    if before is None or end != len(entries):
        raise BadManifest(f"this index of media is not whole, or a newer program wrote it: {len(entries)} entries")
    return Index(before, entries, tuple(gone), tuple(left))


def entries_from(lines: Iterable[bytes]) -> list[Entry]:
    """The entries of a journal: lines of ``entry_line`` alone. Raises BadManifest."""
    try:
        return [_entry(json.loads(line)) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise BadManifest(f"this journal of media is not as we write it: {error!r}") from error


def _entry(one: Mapping[str, Any]) -> Entry:
    item = Item(one["key"], one["size"], one["etag"], one.get("version", ""), one["modified"])
    return Entry(item, one["sha256"], one["tags"])


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
