"""Frozen dataclasses as JSON documents: exactly their keys, each of its type, under a schema number and a seal.

The seal is the SHA-256 of the document without it, in canonical form: what was edited or cut by hand or by a disk is
found without another copy to compare with. It is no signature: who edits on purpose can seal again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_origin, get_type_hints

from onlyvips.errors import Permanent

SCHEMA = 2
_UNSEALED = 1
_HINTS: dict[type, dict[str, Any]] = {}
"""Found out once: a catalog has thousands of these documents."""


class BadManifest(Permanent):
    """This JSON is not what we write: the message names the key."""


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T")


def to_json(record: _Dataclass) -> bytes:
    """The bytes to store."""
    return sealed({"schema": SCHEMA, **asdict(record)})


def sealed(document: Mapping[str, object]) -> bytes:
    """A document with its seal, as bytes to store."""
    return (json.dumps({**document, "seal": _seal(document)}, ensure_ascii=False, indent=1) + "\n").encode()


def from_json(data: bytes, kind: type[T]) -> T:
    """Parse and check what ``to_json`` wrote. Raises BadManifest, which names the key. Schema 1 had no seal."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BadManifest(f"this {kind.__name__} is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("schema") not in (SCHEMA, _UNSEALED):
        raise BadManifest(f"schema: this {kind.__name__} must say {SCHEMA}; a newer program may have written it")
    if found["schema"] != _UNSEALED and found.pop("seal", None) != _seal(found):
        raise BadManifest(f"seal: this {kind.__name__} is not as it was written: compare it with another copy")
    return _build({key: value for key, value in found.items() if key != "schema"}, kind, "")


def matches(name: str, value: str, pattern: str) -> None:
    """Raise ValueError unless all of ``value`` looks like ``pattern``."""
    if not re.fullmatch(pattern, value):
        raise ValueError(f"{name}: {value[:80]!r} does not look like {pattern}")


def counts(**values: int) -> None:
    """Raise ValueError for a count below zero."""
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}: {value} is less than nothing")


def _seal(document: Mapping[str, object]) -> str:
    canonical = json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _build(found: object, kind: type[T], path: str) -> T:
    """A dataclass from exactly its keys; those with a default may be left out."""
    if not isinstance(found, Mapping):
        raise BadManifest(f"{path.rstrip('.') or 'the document'}: must be an object with keys")
    hints = _HINTS.get(kind) or _HINTS.setdefault(kind, get_type_hints(kind))
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
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise BadManifest(f"{path}: must be a list")
        return tuple(_value(item, get_args(hint)[0], f"{path}[{number}]") for number, item in enumerate(value))
    if isinstance(hint, type) and is_dataclass(hint):
        return _build(value, hint, f"{path}.")
    if not isinstance(value, hint) or isinstance(value, bool):
        raise BadManifest(f"{path}: must be {'a text' if hint is str else 'a whole number'}")
    return value
