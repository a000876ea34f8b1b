"""Which copies are locked, as their stores say it, object by object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from onlyvips.core.catalog import Backup
from onlyvips.core.manifest import MANIFEST_KEY, MEDIA
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import ObjectStore

_AT_ONCE = 8


def locks_of(backups: Iterable[Backup], stores: Sequence[ObjectStore]) -> dict[tuple[str, str], float]:
    """By prefix and destination, until when a copy is locked (unix seconds): as long as each of its objects is, its
    manifest too. 0 for one that is not, or whose store does not answer: nobody saw that it is. Of media the files
    themselves are not locked, so no copy is."""
    asked = [
        (one, store)
        for one in backups
        for store in stores
        if one.manifest is not None and store.name in one.complete and one.kind != MEDIA
    ]
    return {(one.prefix, store.name): _locked_until(one, store) for one, store in asked}


def _locked_until(one: Backup, store: ObjectStore) -> float:
    assert one.manifest is not None
    keys = [one.prefix + MANIFEST_KEY, *(one.prefix + record.key for record in one.manifest.objects)]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            heads = list(pool.map(store.head, keys))
    except OnlyVipsError:
        return 0.0
    return min(head.locked if head else 0.0 for head in heads)
