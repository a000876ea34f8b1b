"""What of media nobody needs any more: versions that no index names, and what a tree keeps though it is gone.

Found by listings alone. What is taken away is named by no backup, or its bytes are among the versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onlyvips.core.catalog import Backup, newest
from onlyvips.core.manifest import MEDIA
from onlyvips.core.media import Index, bytes_under, needed, tree_key, tree_of, version_key, versions_of
from onlyvips.core.media_paths import PART, to_key
from onlyvips.errors import Permanent
from onlyvips.ports import ObjectStore, Pruner, Tree, Version
from onlyvips.steps.media_places import read_index

Found = tuple[Version, str]
"""What is to go, and why."""


def indexes_of(backups: Sequence[Backup], stores: Sequence[ObjectStore]) -> dict[str, Index]:
    """The index of every backup of media, by prefix. Raises Permanent when one cannot be read: what it needs is not
    known then, and nothing may go."""
    found = {}
    for one in backups:
        if one.kind == MEDIA and one.manifest is not None:
            if (index := read_index(one, stores)) is None:
                raise Permanent(
                    f"No destination gives the index of {one.name}, so what it needs of the media is not known: "
                    f"nothing of them was removed; try `onlyvips backup repair {one.name}`."
                )
            found[one.prefix] = index
    return found


def leftovers_of(
    tree: Tree, pruner: Pruner, environment: str, backups: Sequence[Backup], indexes: dict[str, Index]
) -> Iterator[Found]:
    """What one destination has that no backup needs."""
    wanted = needed(indexes.values())
    versions = pruner.versions(versions_of(environment))
    for one in versions:
        if one.key.rpartition("/")[2] not in wanted:
            yield one, "a file that no backup names any more"
    last = newest(backups, MEDIA)
    if last is None or any(one.kind == MEDIA and one.manifest is None and one.name > last.name for one in backups):
        return  # a run that died may have put into the tree what its next attempt goes on with
    kept = {one.key.rpartition("/")[2] for one in versions if one.what == "object"}
    gone = set(_gone(tree, environment, indexes[last.prefix], list(indexes.values()), kept))
    for one in pruner.versions(tree_of(environment)):
        if one.key in gone:
            yield one, "a file that the media have no more; its bytes are among the versions"
        elif not one.latest:
            yield one, "an older version of a file; its bytes are among the versions"


def named_of(pruner: Pruner, environment: str, backups: Sequence[Backup], indexes: dict[str, Index]) -> list[Version]:
    """The newest version of every file that some backup needs: what is to stay locked where locks are promised."""
    last, wanted = newest(backups, MEDIA), needed(indexes.values())
    files = {tree_key(environment, key) for key in indexes[last.prefix].entries} if last else set()
    files |= {version_key(environment, sha256) for sha256 in wanted}
    found = [one for prefix in (tree_of(environment), versions_of(environment)) for one in pruner.versions(prefix)]
    return [one for one in found if one.latest and one.what == "object" and one.key in files]


def unfinished_of(pruner: Pruner, environment: str) -> list[Version]:
    """What was begun to be written into the tree or the versions. A file of the media may be called as an upload of a
    directory is, so that those count which have our name."""
    found = [one for prefix in (tree_of(environment), versions_of(environment)) for one in pruner.unfinished(prefix)]
    return [one for one in found if one.version or one.key.rpartition("/")[2].startswith(PART)]


def _gone(tree: Tree, environment: str, last: Index, indexes: Sequence[Index], kept: set[str]) -> Iterator[str]:
    """Keys in the tree that the newest backup does not have, and whose bytes are kept, or are of no backup."""
    for page in tree.listing(tree_of(environment)):
        for one in page:
            key = to_key(one.key.removeprefix(tree_of(environment)))
            if key in last.entries:
                continue
            known = (index.entries[key] for index in indexes if key in index.entries)
            if bytes_under(one.tag, one.size, known, tree.name) in kept:
                yield one.key
