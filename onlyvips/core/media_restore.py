"""What a restore of media brings back: which backup, which files under which names, what a target has of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onlyvips.core.catalog import NO_MANIFEST, Backup
from onlyvips.core.manifest import MEDIA, Manifest, seconds
from onlyvips.core.media import Entry, Index, Item, named
from onlyvips.core.media_paths import is_upload
from onlyvips.core.restore import trusted
from onlyvips.errors import Refused

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LONGEST = 255
EVERYTHING = "media"
"""How all files of a target are called where a person is asked about them."""
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chosen:
    """A backup; ``copies`` are the destinations that may have it, the most trusted first; ``newer`` the later ones."""

    backup: Backup
    manifest: Manifest
    copies: tuple[str, ...]
    newer: tuple[str, ...]


def choose(backups: Sequence[Backup], at: str) -> Chosen:
    """The backup of ``latest``, of a moment (the newest that was whole by then), or of that name. Raises Refused."""
    found = sorted((one for one in backups if _can_be_read(one)), key=lambda one: (one.finished, one.name))
    if not found:
        raise Refused(
            "There is no backup of media that could be restored: see `onlyvips backup list -e ENVIRONMENT`. Nothing "
            "was read."
        )
    if at == "latest":
        return _chosen(found[-1], found)
    if _MOMENT.fullmatch(at):
        return _chosen(_at_moment(found, at), found)
    fitting = [one for one in found if at and one.name.startswith(at)]
    if len(fitting) != 1:
        what = "more than one backup of media" if fitting else "neither `latest`, nor a moment in UTC, nor a backup"
        raise Refused(f"`{at}` is {what}: the newest is {found[-1].name}. Nothing was read.")
    return _chosen(fitting[0], found)


def _at_moment(found: Sequence[Backup], at: str) -> Backup:
    try:
        seconds(at)
    except ValueError as error:
        raise Refused(f"`{at}` is no moment: {error}.") from error
    before = [one for one in found if one.finished <= at]
    if not before:
        raise Refused(
            f"{at} is before the first backup of media was whole: that is {found[0].name}, of {found[0].finished}. "
            "Nothing was read."
        )
    return before[-1]


def _chosen(one: Backup, found: Sequence[Backup]) -> Chosen:
    assert one.manifest is not None
    newer = tuple(other.name for other in found if (other.finished, other.name) > (one.finished, one.name))
    return Chosen(one, one.manifest, trusted(one.copies), newer)


def _can_be_read(one: Backup) -> bool:
    here = any(not copy.away and NO_MANIFEST not in copy.flaws for copy in one.copies)
    return one.kind == MEDIA and one.manifest is not None and here


# --- which files, under which names ----------------------------------------------------------------------------------


def pairs_of(names: Sequence[str]) -> Pairs:
    """Which files, as what: ``a/=b/`` is a folder with all below it, ``a/x=b/y`` one file. Raises Refused."""
    found = list[tuple[str, str]]()
    for name in names:
        source, sign, target = name.partition("=")
        if not (source and sign and target) or "=" in target or source.endswith("/") != target.endswith("/"):
            raise Refused(
                f"`{name}` says no media: write FOLDER/=FOLDER/, or FILE=FILE, as in 'avatars/=avatars/'. Nothing was "
                "read."
            )
        found.append((source, target))
    return tuple(found)


def wanted(index: Index, pairs: Pairs) -> dict[str, Entry]:
    """The entries that come back, by the key that each gets in the target. Raises Refused where two would be one."""
    if not pairs:
        return dict(index.entries)
    found = dict[str, Entry]()
    for source, target in pairs:
        some = {_renamed(key, source, target): one for key, one in index.entries.items() if _is_in(key, source)}
        if not some:
            raise Refused(f"The backup has nothing at `{source}`. Nothing was read but its index.")
        if twice := sorted(set(some) & set(found)):
            raise Refused(f"Two files would become one, {named(twice)}: give each a name of its own. Nothing was read.")
        found |= some
    return found


def _is_in(key: str, place: str) -> bool:
    return key.startswith(place) if place.endswith("/") else key == place


def _renamed(key: str, source: str, target: str) -> str:
    return target + key[len(source) :]


# --- what is there ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """How a target differs: keys that are ``missing``, that ``differ`` (with what is there), that are the ``same``, of
    which ``believed`` are so by their listing alone; ``others`` are there and not in the backup."""

    missing: tuple[str, ...]
    differ: Mapping[str, Item]
    same: Mapping[str, Item]
    believed: int
    others: tuple[str, ...]

    @property
    def to_write(self) -> tuple[str, ...]:
        """What is written."""
        return tuple(sorted((*self.missing, *self.differ)))


def unknown(coming: Mapping[str, Entry], there: Mapping[str, Item], known: Mapping[str, str]) -> list[Item]:
    """What is there, of the right size, and must be read to be known; ``known`` is the SHA-256 of some keys."""
    found = ((there[key], one) for key, one in coming.items() if key in there)
    return [item for item, one in found if item.size == one.item.size and item.key not in known]


def compare(
    coming: Mapping[str, Entry], there: Mapping[str, Item], hashes: Mapping[str, str], pairs: Pairs, believed: int
) -> Found:
    """What is there against what comes, by size and by the ``hashes`` of what may be equal."""
    same = {key: there[key] for key, one in coming.items() if key in there and hashes.get(key) == one.sha256}
    scope = [target for _, target in pairs]
    others = (key for key in there if key not in coming and (not scope or any(_is_in(key, one) for one in scope)))
    return Found(
        missing=tuple(key for key in coming if key not in there),
        differ={key: there[key] for key in coming if key in there and key not in same},
        same=same,
        believed=believed,
        others=tuple(sorted(others)),
    )


def overwritten(found: Found, pairs: Pairs) -> tuple[str, ...]:
    """What a person must name so that what differs is written over: the folders and files asked for, or all media."""
    if not pairs:
        return (EVERYTHING,) if found.differ else ()
    return tuple(dict.fromkeys(target for _, target in pairs if any(_is_in(key, target) for key in found.differ)))


def known_of(indexes: Iterable[Index], there: Mapping[str, Item]) -> dict[str, str]:
    """The SHA-256 of what the source of these backups has, where it lists it as one of them was listed."""
    return {
        key: entry.sha256
        for index in indexes
        for key, entry in index.entries.items()
        if (item := there.get(key)) and item.etag and (item.etag, item.size) == (entry.item.etag, entry.item.size)
    }


# --- names that a file system takes ----------------------------------------------------------------------------------


def no_file(keys: Iterable[str], there: Collection[str]) -> Iterator[tuple[str, str]]:
    """Keys that cannot be a file under exactly that name, with the reason; ``there`` are files that are."""
    coming = set(keys)
    taken = coming | set(there)
    folders = {folder for key in taken for folder in _folders(key)}
    for key in sorted(coming):
        if why := _no_name(key):
            yield key, why
        elif key in folders:
            yield key, "a folder has that name"
        elif above := next((one for one in _folders(key) if one in taken), None):
            yield key, f"{above} is no folder"


def _folders(key: str) -> Iterator[str]:
    at = key.find("/")
    while at != -1:
        yield key[:at]
        at = key.find("/", at + 1)


def _no_name(key: str) -> str:
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "a part of its name is empty, `.` or `..`"
    if "\0" in key or any(len(part.encode()) > _LONGEST for part in parts):
        return "a part of its name is longer than 255 bytes, or has a zero byte"
    return "its name is that of an upload" if is_upload(parts[-1]) else ""
