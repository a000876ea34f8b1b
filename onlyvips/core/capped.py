"""Capped collections whose archive holds more than they may: what was read of one while it lost its oldest documents.

Into the same cap a server would drop the oldest again, and what reads back could never equal the archive. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onlyvips.core.manifest import NamespaceRecord

TEMPORARY = "temp"
"""Option of the collections that ``$out`` and its like write into before they rename them: refused by ``create``."""
_STEP = 256
"""MongoDB rounds the size of a cap up to a multiple of this."""


def options_of(record: NamespaceRecord) -> dict[str, Any]:
    """The options of a collection or view as its metadata tells them, Extended JSON; a cap has room for all of it."""
    found: dict[str, Any] = json.loads(record.metadata).get("options", {})
    found.pop(TEMPORARY, None)
    return {**found, **_more(found, record)}


def capped_note(record: NamespaceRecord) -> str:
    """What a person must know of it; "" where there is nothing."""
    more = _more(json.loads(record.metadata).get("options", {}), record)
    if not more:
        return ""
    return (
        f"{record.database}.{record.collection} is capped, and the backup holds more than it may: it comes back with "
        f"room for all of that ({' and '.join(more)} larger); make it smaller afterwards (collMod), where it must be"
    )


def _more(options: Mapping[str, Any], record: NamespaceRecord) -> dict[str, Any]:
    """Those of ``size`` (bytes) and ``max`` (documents) that are too small, as they must be."""
    if not options.get("capped"):
        return {}
    size, most = _number(options.get("size")), _number(options.get("max"))
    found: dict[str, Any] = {}
    if size > 0 and -(-size // _STEP) * _STEP < record.bytes:
        found["size"] = {"$numberLong": str(record.bytes)}
    if 0 < most < record.documents:
        found["max"] = {"$numberLong": str(record.documents)}
    return found


def _number(told: Any) -> int:
    """A number of Extended JSON, in whichever form; 0 for none."""
    if isinstance(told, Mapping):
        told = next(iter(told.values()), 0)
    try:
        return int(float(told or 0))
    except (ValueError, OverflowError):
        return 0
