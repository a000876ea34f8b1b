"""The evidence of restores that ended, read for how long they took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from onlyvips.core import past_restores as core
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import ObjectStore

_MOST = 100
"""Of the newest so many restores that of a kind is looked for."""
_ENDED, _BEGUN = ".ended.json", ".begun.json"


def how_long(stores: Callable[[], Sequence[ObjectStore]], environment: str, kind: str) -> str:
    """How long a restore of that kind takes, by the last one, out of the first destination that answers."""
    why = "there is no destination"
    try:
        for store in stores():
            try:
                return core.how_long(_last(store, environment, kind))
            except OnlyVipsError as error:
                why = str(error)
    except OnlyVipsError as error:
        why = str(error)
    return f"not known, the evidence of earlier restores could not be read ({why.rstrip('.')})"


def _last(store: ObjectStore, environment: str, kind: str) -> core.PastRestore | None:
    keys = sorted(one.key for one in store.list(f"{environment}/evidence/restore/"))
    for key in [one for one in reversed(keys) if one.endswith(_ENDED)][:_MOST]:
        found = core.past_restore(b"".join(store.read(key)))
        if found and found.kind == kind:
            begun = key.removesuffix(_ENDED) + _BEGUN
            return replace(found, size=core.planned_size(b"".join(store.read(begun))) if begun in keys else 0)
    return None
