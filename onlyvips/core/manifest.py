"""What a backup is, and where a copy of it is: two JSON documents, each written once.

``ENV/KIND/ID-eEPOCH/manifest.json`` makes a backup exist; ``copies/DESTINATION-EPOCH.json`` beside it says that one
destination held every object when it was read back. The manifest is written last: no manifest, no backup.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from onlyvips.core.strict_json import counts, from_json, matches

OPLOG = "oplog"
MEDIA = "media"
ACCOUNTS = "accounts"
WARNING = "warning"
"""The name of facts that the audit tells people."""


@dataclass(frozen=True)
class NamespaceRecord:
    """One collection inside an object: ``crc64`` (hex) is over its documents alone, ``bytes`` likewise. Of ``type``
    oplog: the object is no archive, but entries of the oplog one after the other; of ``rdb``: it is an RDB, the
    documents are keys, and ``crc64`` is its own; of ``accounts``: users, roles or what belongs to them."""

    database: str
    collection: str
    type: str
    metadata: str
    documents: int
    bytes: int
    crc64: str

    def __post_init__(self) -> None:
        matches("crc64", self.crc64, r"[0-9a-f]{16}")
        counts(documents=self.documents, bytes=self.bytes)


@dataclass(frozen=True)
class ObjectRecord:
    """One object as it is stored, that is encrypted: ``key`` is under the backup's own prefix."""

    key: str
    size: int
    sha256: str
    namespaces: tuple[NamespaceRecord, ...] = ()

    def __post_init__(self) -> None:
        matches("key", self.key, r"objects/[A-Za-z0-9._-]+")
        matches("sha256", self.sha256, r"[0-9a-f]{64}")
        counts(size=self.size)


@dataclass(frozen=True)
class Server:
    """What answered: ``version`` is what it claims (of MongoDB, Redis …), ``dialect`` which program it is."""

    dialect: str
    version: str


@dataclass(frozen=True)
class Dropped:
    """A destination that has no complete copy, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Fact:
    """Something else that a restore or a reader must know; never a secret."""

    name: str
    value: str


@dataclass(frozen=True)
class Edge:
    """An entry of the oplog: ``ts`` is ``SECONDS:ORDINAL``, ``term`` the election term it was written in."""

    ts: str
    term: int

    def __post_init__(self) -> None:
        matches("ts", self.ts, r"[0-9]+:[0-9]+")


@dataclass(frozen=True)
class Window:
    """What stretch of the oplog a backup closes over, or a slice holds: both ends are entries that were read."""

    start: Edge
    end: Edge
    entries: int = 0

    def __post_init__(self) -> None:
        counts(entries=self.entries)


@dataclass(frozen=True)
class Manifest:
    """One backup. ``copies`` are the destinations whose every object was read back and equal when this was written."""

    id: str
    epoch: int
    environment: str
    kind: str
    started: str
    finished: str
    server: Server
    oplog: str
    tool: str
    recipients: tuple[str, ...]
    objects: tuple[ObjectRecord, ...]
    copies: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    facts: tuple[Fact, ...] = ()
    window: Window | None = None
    timeline: str = ""

    def __post_init__(self) -> None:
        matches(
            "id", self.id, r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8,}" if self.kind != OPLOG else r"[0-9A-Za-z][0-9A-Za-z-]*"
        )
        for name in ("environment", "kind", *(["timeline"] if self.kind == OPLOG else [])):
            matches(name, getattr(self, name), r"[A-Za-z0-9][A-Za-z0-9._-]*")
        for name in ("started", "finished"):
            matches(name, getattr(self, name), r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        counts(epoch=self.epoch)
        if len({record.key for record in self.objects}) != len(self.objects) or not self.objects:
            raise ValueError("objects: keys must be there and all different")
        if not self.copies:
            raise ValueError("copies: a backup without a copy is none")

    @property
    def prefix(self) -> str:
        """Where the backup is in every destination."""
        return prefix(self.environment, self.kind, self.id, self.epoch, self.timeline)

    @property
    def degraded(self) -> bool:
        """Whether a destination that was asked for lacks it."""
        return bool(self.dropped)

    @property
    def size(self) -> int:
        """Stored bytes of one copy; of media with the files, which other backups have too."""
        return sum(record.size for record in self.objects) + int(self.fact("bytes", "0") if self.kind == MEDIA else 0)

    def fact(self, name: str, default: str = "") -> str:
        """What one fact says."""
        return next((fact.value for fact in self.facts if fact.name == name), default)

    @property
    def documents(self) -> int:
        """Of all collections; of a slice of the oplog, its entries."""
        found = [namespace for record in self.objects for namespace in record.namespaces]
        counted = [one for one in found if one.type != ACCOUNTS]
        return sum(one.documents for one in counted if (one.type == OPLOG) == (self.kind == OPLOG))


@dataclass(frozen=True)
class CopiedObject:
    """An object in one destination; ``version`` is its VersionId, empty where there are none."""

    key: str
    size: int
    sha256: str
    version: str


@dataclass(frozen=True)
class CopyRecord:
    """One destination held these objects, read back and equal, at ``verified``."""

    destination: str
    epoch: int
    backup: str
    verified: str
    objects: tuple[CopiedObject, ...]

    def __post_init__(self) -> None:
        matches("destination", self.destination, r"[A-Za-z0-9][A-Za-z0-9._-]*")
        counts(epoch=self.epoch)


# --- names -----------------------------------------------------------------------------------------------------------


def moment(unix: float) -> str:
    """UTC as JSON says it here: ``2026-08-01T12:00:00Z``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Unix seconds of what ``moment`` says."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def backup_id(unix: float, entropy: bytes) -> str:
    """UTC time and random: sorts by time, never met twice. ``entropy`` is at least four random bytes."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y%m%dT%H%M%SZ}-{entropy.hex()}"


def prefix(environment: str, kind: str, id: str, epoch: int, timeline: str = "") -> str:
    """``ENV/KIND/ID-eEPOCH/``; a slice of the oplog is below its timeline: ``ENV/oplog/TIMELINE/ID-eEPOCH/``."""
    return f"{environment}/{kind}/{timeline + '/' if timeline else ''}{id}-e{epoch}/"


def object_key(number: int, database: str, collection: str, label: str = "") -> str:
    """``objects/0001-DB.COLLECTION.archive.zst.age``: the number makes it unique, the rest is for people."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", f"{database}.{collection}")[:100]
    return f"objects/{number:04d}-{readable}{label}.archive.zst.age"


MANIFEST_KEY = "manifest.json"


def copy_key(destination: str, epoch: int) -> str:
    """``copies/DESTINATION-EPOCH.json``."""
    return f"copies/{destination}-{epoch}.json"


# --- JSON ------------------------------------------------------------------------------------------------------------


def manifest_from_json(data: bytes) -> Manifest:
    """Parse and check a manifest. Raises BadManifest, which names the key."""
    return from_json(data, Manifest)


def copy_from_json(data: bytes) -> CopyRecord:
    """Parse and check a copy's record. Raises BadManifest, which names the key."""
    return from_json(data, CopyRecord)
