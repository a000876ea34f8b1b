"""Every destination read for the catalog, at once: what it lists, and the small documents that say what that is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from onlyvips.core.catalog import KINDS, Shelf, is_document
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import ObjectStore

_AT_ONCE = 8


def read_shelves(stores: Sequence[ObjectStore], environment: str, kinds: Sequence[str] = KINDS) -> list[Shelf]:
    """One shelf a store, in their order. A store that fails is away, with its reason; the others are read all the same.

    A document that vanishes or cannot be read after it was listed makes its store away too: half a shelf would lie.
    """
    prefixes = [f"{environment}/{kind}/" for kind in kinds]
    prefixes += [f"{environment}/evidence/{what}/" for what in ("verify", "oplog")]
    with ThreadPoolExecutor(max(1, len(stores))) as pool:
        return list(pool.map(lambda store: _read(store, prefixes), stores))


def _read(store: ObjectStore, prefixes: Sequence[str]) -> Shelf:
    try:
        sizes = {found.key: found.size for prefix in prefixes for found in store.list(prefix)}
        keys = [key for key in sizes if is_document(key, store.name)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            documents = dict(zip(keys, pool.map(lambda key: b"".join(store.read(key)), keys), strict=True))
    except OnlyVipsError as error:
        return Shelf(store.name, away=str(error))
    return Shelf(store.name, sizes, documents)
