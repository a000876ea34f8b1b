"""Which copies are locked, as their stores say it, object by object."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from onlyvips.core.catalog import Backup
from onlyvips.core.manifest import MANIFEST_KEY, MEDIA
from onlyvips.core.media import tree_key, version_key
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import ObjectStore
from onlyvips.steps.media_places import index_of

_AT_ONCE = 8
_FILES = 100
"""Files of media that are looked at."""


def locks_of(backups: Iterable[Backup], stores: Sequence[ObjectStore]) -> dict[tuple[str, str], float]:
    """By prefix and destination, until when a copy is locked (unix seconds): as long as each of its objects is, its
    manifest too. 0 for one that is not, or whose store does not answer: nobody saw that it is. Of the files of media
    some are looked at, drawn by chance."""
    asked = [
        (one, store) for one in backups for store in stores if one.manifest is not None and store.name in one.complete
    ]
    return {(one.prefix, store.name): _locked_until(one, store) for one, store in asked}


def _locked_until(one: Backup, store: ObjectStore) -> float:
    assert one.manifest is not None
    keys = [one.prefix + MANIFEST_KEY, *(one.prefix + record.key for record in one.manifest.objects)]
    try:
        files = _some_files(one, store) if one.kind == MEDIA else []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            heads = list(pool.map(store.head, keys))
            heads += pool.map(lambda places: next(filter(None, map(store.head, places)), None), files)
    except OnlyVipsError:
        return 0.0
    return min(head.locked if head else 0.0 for head in heads)


def _some_files(one: Backup, store: ObjectStore) -> list[tuple[str, str]]:
    """Where each of some files of media is: in the tree, or else among the versions."""
    assert one.manifest is not None
    entries = list(index_of(store, one.manifest).entries.values())
    chosen = secrets.SystemRandom().sample(entries, min(_FILES, len(entries)))
    environment = one.manifest.environment
    return [(tree_key(environment, each.key), version_key(environment, each.sha256)) for each in chosen]
