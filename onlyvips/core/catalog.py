"""The catalog of backups: what each destination lists, put together. Manifests are the catalog; there is nothing else.

A *shelf* is one destination as it was read. A backup exists when some shelf has its manifest; a copy is complete when
a shelf has that manifest, a record of the copy, and every object that the manifest names, at its size.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from onlyvips.core.manifest import MANIFEST_KEY, Manifest, copy_from_json, manifest_from_json
from onlyvips.core.strict_json import BadManifest
from onlyvips.core.verification import Checks, Verification, latest

NO_MANIFEST = "has no manifest"
BAD_MANIFEST = "its manifest"
"""How the flaws of a copy begin that are about its manifest."""
KINDS = ("mongodb", "oplog", "redis", "media", "configuration", "secrets")
_IN_A_BACKUP = re.compile(r"(?P<prefix>[^/]+/(?P<kind>[^/]+)/(?:[^/]+/)??[^/]+-e\d+/)(?P<rest>.+)")


@dataclass(frozen=True)
class Shelf:
    """One destination: size by key, and the bytes of manifests and copies' records. ``away``: why it was not read."""

    name: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=dict)
    away: str = ""

    @cached_property
    def records(self) -> Mapping[str, list[str]]:
        """The keys of the records that this destination has of its own copies, by the prefix of the backup."""
        found: dict[str, list[str]] = defaultdict(list)
        for key in self.documents:
            place, mine, _ = key.rpartition(f"copies/{self.name}-")
            if mine:
                found[place].append(key)
        return found


@dataclass(frozen=True)
class Copy:
    """One destination's part of a backup; no ``flaws``: complete. ``verified``: when all of it was last read back and
    found good (UTC text, "" for never). ``away``: the destination was not read, so nothing is known."""

    destination: str
    flaws: tuple[str, ...] = ()
    verified: str = ""
    away: bool = False

    @property
    def complete(self) -> bool:
        return not self.flaws and not self.away


@dataclass(frozen=True)
class Backup:
    """What is found under one prefix. ``manifest`` is None for what was never finished, or lost every good one."""

    prefix: str
    kind: str
    manifest: Manifest | None
    copies: tuple[Copy, ...]

    @property
    def name(self) -> str:
        """``ID-eEPOCH``, what a person calls it by."""
        return self.prefix.rstrip("/").rpartition("/")[2]

    @property
    def complete(self) -> tuple[str, ...]:
        """Destinations with a complete copy."""
        return tuple(copy.destination for copy in self.copies if copy.complete)

    @property
    def finished(self) -> str:
        """When it was finished, UTC; what its name says of its start, for one without a manifest."""
        return self.manifest.finished if self.manifest else self.name[:16]


def place_of(key: str) -> tuple[str, str] | None:
    """The prefix and the kind of the backup that ``key`` is part of; None when it is part of none."""
    found = _IN_A_BACKUP.fullmatch(key)
    return (found["prefix"], found["kind"]) if found and found["kind"] in KINDS else None


def is_document(key: str, destination: str) -> bool:
    """Whether the catalog needs the bytes that ``destination`` has under ``key``: a manifest, or a record of its own
    copy."""
    found = _IN_A_BACKUP.fullmatch(key)
    if found is None or found["kind"] not in KINDS:
        return False
    return found["rest"] == MANIFEST_KEY or found["rest"].startswith(f"copies/{destination}-")


def read_catalog(shelves: Sequence[Shelf]) -> list[Backup]:
    """Every backup that any shelf has something of, oldest first by kind and name."""
    places: dict[str, str] = {}
    for shelf in shelves:
        places |= dict(filter(None, map(place_of, shelf.sizes)))
    checks = latest(key for shelf in shelves for key in shelf.sizes)
    return [_backup(prefix, places[prefix], shelves, checks) for prefix in sorted(places)]


def find(backups: Iterable[Backup], id: str) -> list[Backup]:
    """Those whose name, or prefix, is ``id`` or begins with it."""
    asked = id.rstrip("/")
    exact = [one for one in backups if asked in (one.name, one.prefix.rstrip("/"))]
    return exact or [one for one in backups if one.name.startswith(asked)]


def newest(backups: Iterable[Backup], kind: str) -> Backup | None:
    """The one of ``kind`` that was finished last and of which a complete copy is known."""
    whole = [one for one in backups if one.kind == kind and one.manifest and one.complete]
    return max(whole, key=lambda one: (one.finished, one.name), default=None)


# --- how -------------------------------------------------------------------------------------------------------------


def _backup(prefix: str, kind: str, shelves: Sequence[Shelf], checks: Checks) -> Backup:
    parsed: dict[bytes, Manifest | str] = {}  # mostly the same bytes everywhere
    told = {shelf.name: _manifest_at(shelf, prefix, parsed) for shelf in shelves}
    agreed = _agreed(told)
    copies = tuple(_copy(shelf, prefix, agreed, told[shelf.name], checks) for shelf in shelves)
    return Backup(prefix, kind, agreed, copies)


def _manifest_at(shelf: Shelf, prefix: str, parsed: dict[bytes, Manifest | str]) -> Manifest | str | None:
    """The manifest that a shelf has, why what it has is none, or None."""
    data = shelf.documents.get(prefix + MANIFEST_KEY)
    if data is None:
        return None
    if data not in parsed:
        parsed[data] = _manifest(data, prefix)
    return parsed[data]


def _manifest(data: bytes, prefix: str) -> Manifest | str:
    try:
        found = manifest_from_json(data)
    except BadManifest as error:
        return f"{BAD_MANIFEST} cannot be believed ({error})"
    return found if found.prefix == prefix else f"{BAD_MANIFEST} is of another backup ({found.prefix})"


def _agreed(told: Mapping[str, Manifest | str | None]) -> Manifest | None:
    """What most shelves say; nothing where it is a draw, for nobody can say which of them lies."""
    ranked = Counter(found for found in told.values() if isinstance(found, Manifest)).most_common(2)
    draw = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return ranked[0][0] if ranked and not draw else None


def _copy(shelf: Shelf, prefix: str, agreed: Manifest | None, told: Manifest | str | None, checks: Checks) -> Copy:
    if shelf.away:
        return Copy(shelf.name, (), "", away=True)
    recorded, damage = _recorded(shelf, prefix)
    when, good = checks.get((prefix, shelf.name), ("", True))
    flaws = [*_of_manifest(agreed, told), *damage, *(_of_objects(shelf, prefix, agreed) if agreed else ())]
    if not good and when > recorded:
        flaws.append(f"was read back damaged at {when}")
    return Copy(shelf.name, tuple(flaws), max(recorded, when) if good else "")


def _of_manifest(agreed: Manifest | None, told: Manifest | str | None) -> Iterable[str]:
    if told is None:
        yield NO_MANIFEST
    elif isinstance(told, str):
        yield told
    elif told != agreed:
        yield f"{BAD_MANIFEST} says something else than that of the other destinations"


def _recorded(shelf: Shelf, prefix: str) -> tuple[str, list[str]]:
    """When the newest record of this copy says that all of it was read back; and what is wrong with the records."""
    moments, damage = [""], []
    for key in shelf.records.get(prefix, ()):
        try:
            moments.append(copy_from_json(shelf.documents[key]).verified)
        except BadManifest as error:
            damage.append(f"its {key.removeprefix(prefix)} cannot be believed ({error})")
    if len(moments) == 1 and not damage:
        damage.append("has no record of its copy")
    return max(moments), damage


def _of_objects(shelf: Shelf, prefix: str, manifest: Manifest) -> Iterable[str]:
    for record in manifest.objects:
        size = shelf.sizes.get(prefix + record.key)
        if size is None:
            yield f"lacks {record.key}"
        elif size != record.size:
            yield f"{record.key} has {size} bytes instead of {record.size}"


def with_verifications(backups: Iterable[Backup], found: Iterable[Verification]) -> list[Backup]:
    """The backups as these read-backs show them: what was damaged or away is a flaw of its copy."""
    results = {(one.backup + "/", one.destination): one for one in found}
    return [
        replace(one, copies=tuple(_verified(copy, results.get((one.prefix, copy.destination))) for copy in one.copies))
        for one in backups
    ]


def _verified(copy: Copy, found: Verification | None) -> Copy:
    if found is None:
        return copy
    flaws = [*copy.flaws, *(f"{one.key} {one.why}" for one in found.damage if f"lacks {one.key}" not in copy.flaws)]
    if found.away:
        flaws.append(f"could not be read back ({found.away})")
    whole = found.good and found.whole
    return replace(copy, flaws=tuple(flaws), verified=found.at if whole else "" if not found.good else copy.verified)


def by_kind(backups: Iterable[Backup]) -> dict[str, list[Backup]]:
    """The backups of each kind, oldest first."""
    found: dict[str, list[Backup]] = defaultdict(list)
    for one in backups:
        found[one.kind].append(one)
    return found
