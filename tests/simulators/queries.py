"""How MongoDB matches ``_id`` against ranges and ``$nor``, written down apart from the code that asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def bracket(value: Any) -> tuple[int, Any]:
    """MongoDB's order of kinds, and a key within one."""
    if value is None or isinstance(value, bool):
        return (1, 0) if value is None else (8, value)
    if isinstance(value, bson.Decimal128):
        return 2, value.to_decimal()
    if isinstance(value, int | float) and not isinstance(value, bson.DatetimeMS):
        return 2, value
    if isinstance(value, str):
        return 3, value.encode()
    if isinstance(value, dict):
        return 4, repr(value)
    if isinstance(value, bytes):
        return 5, (len(value), getattr(value, "subtype", 0), bytes(value))
    if isinstance(value, bson.ObjectId):
        return 7, value.binary
    if isinstance(value, bson.DatetimeMS):
        return 9, int(value)
    if isinstance(value, bson.Timestamp):
        return 10, (value.time, value.inc)
    return 99 + hash(type(value)) % 1000, 0  # MinKey, MaxKey, Code: kinds with one value, as far as this goes


def holds(id: Any, operator: str, bound: Any) -> bool:
    """Whether the server matches ``{_id: {operator: bound}}``: within a kind alone, and NaN is like nothing else."""
    (kind, left), (other, right) = bracket(id), bracket(bound)
    if kind != other or (kind == 2 and (math.isnan(left) or math.isnan(right))):
        return False
    return bool(left >= right if operator == "$gte" else left < right)


def matches(id: Any, question: Mapping[str, Any]) -> bool:
    """Whether a document with this ``_id`` is in the answer."""
    if "$nor" in question:
        return not any(matches(id, each) for each in question["$nor"])
    return all(holds(id, operator, bound) for operator, bound in question.get("_id", {}).items())


def decoded(document: bytes) -> dict[str, Any]:
    """A document, dates of any year among it."""
    return bson.decode(document, _OPTIONS)


def only(batch: bytes, where: bytes) -> bytes:
    """The documents of a batch that a query leaves."""
    question, kept, at = decoded(where), [], 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        if matches(decoded(batch[at:end])["_id"], question):
            kept.append(batch[at:end])
        at = end
    return b"".join(kept)
