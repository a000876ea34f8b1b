"""What a backup is, and where a copy of it is: two JSON documents, each written once.

``ENV/KIND/ID-eEPOCH/manifest.json`` makes a backup exist; ``copies/DESTINATION-EPOCH.json`` beside it says that one
destination held every object when it was read back. The manifest is written last: no manifest, no backup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from onlyvips.errors import Permanent

SCHEMA = 1


class BadManifest(Permanent):
    """This JSON is not what we write: the message names the key."""


@dataclass(frozen=True)
class NamespaceRecord:
    """One collection inside an object: ``crc64`` (hex) is over its documents alone, ``bytes`` likewise."""

    database: str
    collection: str
    type: str
    metadata: str
    documents: int
    bytes: int
    crc64: str

    def __post_init__(self) -> None:
        _matches("crc64", self.crc64, r"[0-9a-f]{16}")
        _counts(documents=self.documents, bytes=self.bytes)


@dataclass(frozen=True)
class ObjectRecord:
    """One object as it is stored, that is encrypted: ``key`` is under the backup's own prefix."""

    key: str
    size: int
    sha256: str
    namespaces: tuple[NamespaceRecord, ...]

    def __post_init__(self) -> None:
        _matches("key", self.key, r"objects/[A-Za-z0-9._-]+")
        _matches("sha256", self.sha256, r"[0-9a-f]{64}")
        _counts(size=self.size)


@dataclass(frozen=True)
class Server:
    """What answered: ``version`` is the MongoDB version it claims, ``dialect`` which program it is."""

    dialect: str
    version: str


@dataclass(frozen=True)
class Dropped:
    """A destination that has no complete copy, and why."""

    name: str
    why: str


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

    def __post_init__(self) -> None:
        _matches("id", self.id, r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8,}")
        for name in ("environment", "kind"):
            _matches(name, getattr(self, name), r"[A-Za-z0-9][A-Za-z0-9._-]*")
        for name in ("started", "finished"):
            _matches(name, getattr(self, name), r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        _counts(epoch=self.epoch)
        if len({record.key for record in self.objects}) != len(self.objects) or not self.objects:
            raise ValueError("objects: keys must be there and all different")
        if not self.copies:
            raise ValueError("copies: a backup without a copy is none")

    @property
    def prefix(self) -> str:
        """Where the backup is in every destination."""
        return prefix(self.environment, self.kind, self.id, self.epoch)

    @property
    def degraded(self) -> bool:
        """Whether a destination that was asked for lacks it."""
        return bool(self.dropped)

    @property
    def documents(self) -> int:
        """Of all collections."""
        return sum(namespace.documents for record in self.objects for namespace in record.namespaces)


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
        _matches("destination", self.destination, r"[A-Za-z0-9][A-Za-z0-9._-]*")
        _counts(epoch=self.epoch)


# --- names -----------------------------------------------------------------------------------------------------------


def moment(unix: float) -> str:
    """UTC as JSON says it here: ``2026-08-01T12:00:00Z``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def backup_id(unix: float, entropy: bytes) -> str:
    """UTC time and random: sorts by time, never met twice. ``entropy`` is at least four random bytes."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y%m%dT%H%M%SZ}-{entropy.hex()}"


def prefix(environment: str, kind: str, id: str, epoch: int) -> str:
    """``ENV/KIND/ID-eEPOCH/``."""
    return f"{environment}/{kind}/{id}-e{epoch}/"


def object_key(number: int, database: str, collection: str) -> str:
    """``objects/0001-DB.COLLECTION.archive.zst.age``: the number makes it unique, the rest is for people."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", f"{database}.{collection}")[:100]
    return f"objects/{number:04d}-{readable}.archive.zst.age"


MANIFEST_KEY = "manifest.json"


def copy_key(destination: str, epoch: int) -> str:
    """``copies/DESTINATION-EPOCH.json``."""
    return f"copies/{destination}-{epoch}.json"


# --- JSON ------------------------------------------------------------------------------------------------------------

T = TypeVar("T")


def to_json(record: Manifest | CopyRecord) -> bytes:
    """The bytes to store."""
    return (json.dumps({"schema": SCHEMA, **asdict(record)}, ensure_ascii=False, indent=1) + "\n").encode()


def manifest_from_json(data: bytes) -> Manifest:
    """Parse and check a manifest. Raises BadManifest, which names the key."""
    return _document(data, Manifest)


def copy_from_json(data: bytes) -> CopyRecord:
    """Parse and check a copy's record. Raises BadManifest, which names the key."""
    return _document(data, CopyRecord)


def _document(data: bytes, kind: type[T]) -> T:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BadManifest(f"this {kind.__name__} is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise BadManifest(f"schema: this {kind.__name__} must say {SCHEMA}; a newer program may have written it")
    return _build({key: value for key, value in found.items() if key != "schema"}, kind, "")


def _build(found: object, kind: type[T], path: str) -> T:
    """A dataclass from exactly its keys; those with a default may be left out."""
    if not isinstance(found, Mapping):
        raise BadManifest(f"{path.rstrip('.') or 'the document'}: must be an object with keys")
    hints = get_type_hints(kind)
    _same_keys(found, kind, path)
    values = {key: _value(value, hints[key], f"{path}{key}") for key, value in found.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise BadManifest(f"{path}{error}") from error


def _same_keys(found: Mapping[str, object], kind: type, path: str) -> None:
    assert is_dataclass(kind)
    known = {entry.name for entry in fields(kind)}
    missing = {entry.name for entry in fields(kind) if entry.default is MISSING} - set(found)
    if missing:
        raise BadManifest(f"{path}{min(missing)}: this key is missing")
    if set(found) - known:
        raise BadManifest(f"{path}{min(set(found) - known)}: this key is unknown")


def _value(value: object, hint: Any, path: str) -> object:
    if get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BadManifest(f"{path}: must be a list")
        return tuple(_value(item, get_args(hint)[0], f"{path}[{number}]") for number, item in enumerate(value))
    if isinstance(hint, type) and is_dataclass(hint):
        return _build(value, hint, f"{path}.")
    if not isinstance(value, hint) or isinstance(value, bool):
        raise BadManifest(f"{path}: must be {'a text' if hint is str else 'a whole number'}")
    return value


def _matches(name: str, value: str, pattern: str) -> None:
    if not re.fullmatch(pattern, value):
        raise ValueError(f"{name}: {value[:80]!r} does not look like {pattern}")


def _counts(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}: {value} is less than nothing")
