"""Where the bytes of a backup of media are: its index, and every copy of a file, the most trusted first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onlyvips.core import media as core
from onlyvips.core.manifest import Manifest
from onlyvips.core.media import Entry, Index, Item, Left, named, tree_key, version_key
from onlyvips.core.media_restore import Chosen
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.ports import MediaSource, Tree
from onlyvips.steps.copies import hash_of
from onlyvips.steps.media_places import CHUNK, SMALL, Before, Place, index_of, survey
from onlyvips.steps.several import several
from onlyvips.steps.sound import Tell

_TRIES = 3


@dataclass(frozen=True)
class Source:
    """One place that should have the bytes of a file."""

    tree: Tree
    key: str

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.tree.name}: {self.key}"


@dataclass(frozen=True)
class Sources:
    """What the destinations list: ``places``, the most trusted first; ``away``, those that could not be read."""

    environment: str
    places: Sequence[Place]
    away: Mapping[str, str]

    def of(self, entry: Entry) -> list[Source]:
        """Where the bytes of an entry are: where the listing proves it, among the versions, where its size fits."""
        sure, perhaps = list[Source](), list[Source]()
        for place in self.places:
            here = Source(place.tree, tree_key(self.environment, entry.key))
            if place.shas.get(entry.key) == entry.sha256:
                sure.append(here)
            elif place.sizes.get(entry.key) == entry.item.size:
                perhaps.append(here)
            if place.versions.get(entry.sha256) == entry.item.size:
                sure.append(Source(place.tree, version_key(self.environment, entry.sha256)))
        return [*sure, *perhaps]

    def require(self, coming: Mapping[str, Entry], keys: Collection[str]) -> None:
        """Raise Refused when no destination lists the bytes of some files."""
        if lost := [key for key in keys if not self.of(coming[key])]:
            away = f" ({', '.join(self.away)} could not be read)" if self.away else ""
            raise Refused(
                f"No copy lists {len(lost)} of the files that are to come back{away}: {named(lost)}. Nothing was "
                "written; choose another backup by --at, or what is whole by --namespace, or bring that copy back."
            )


def sources_of(chosen: Chosen, index: Index, trees: Sequence[Tree], tell: Tell) -> Sources:
    """What every destination lists of the files of an index."""
    manifest, before, away = chosen.manifest, Before(chosen.backup.name, index), dict[str, str]()
    places = list[Place]()
    for tree in _by_trust(chosen, trees):
        try:
            places.append(survey(tree, manifest.environment, before, lambda: tell("listing copies", 0)))
        except (Permanent, Transient) as error:
            away[tree.name] = str(error)
    return Sources(manifest.environment, places, away)


def _by_trust(chosen: Chosen, trees: Sequence[Tree]) -> list[Tree]:
    order = {name: at for at, name in enumerate(chosen.copies)}
    return sorted(trees, key=lambda tree: order.get(tree.name, len(order)))


def index_from(chosen: Chosen, trees: Sequence[Tree]) -> tuple[Index, list[str]]:
    """The index, out of the most trusted copy that has it as the manifest says; and what was wrong with others."""
    wrong = list[str]()
    for tree in _by_trust(chosen, trees):
        try:
            return index_of(tree.objects, chosen.manifest), wrong
        except OnlyVipsError as error:
            wrong.append(f"{tree.name}: {error}")
    raise Refused(
        f"No copy gives the index of {chosen.backup.name}: {' '.join(wrong)} Nothing was written; choose another "
        "backup by --at."
    )


def index_or_none(manifest: Manifest, trees: Sequence[Tree]) -> Index | None:
    """The index of any backup, where one copy has it."""
    for tree in trees:
        try:
            return index_of(tree.objects, manifest)
        except OnlyVipsError:
            continue
    return None


# --- what a target has -----------------------------------------------------------------------------------------------


def listed(source: MediaSource, tell: Tell) -> tuple[dict[str, Item], dict[str, str]]:
    """What is there, by key, and what is there and no file."""
    there, left = dict[str, Item](), dict[str, str]()
    for page in source.pages():
        tell("listing the target", 0)
        for one in page:
            if isinstance(one, Left):
                left[one.key] = one.why
            else:
                there[one.key] = one
    return there, left


def hashed(source: MediaSource, items: Sequence[Item], tell: Tell, workers: int) -> dict[str, tuple[Item, str]]:
    """The SHA-256 of each of some objects, with the object as it was then; without those that are gone by now."""
    found = dict[str, tuple[Item, str]]()

    def do(batch: list[Item]) -> None:
        one = batch[0]
        got = [_hashed_large(source, one)] if one.size > SMALL else _hashed_small(source, batch)
        tell("reading the target", sum(item.size for item in batch))
        found.update({item.key: (item, sha256) for item, sha256 in filter(None, got)})

    several(do, core.batches(items, SMALL, CHUNK), workers)
    return found


def _hashed_small(source: MediaSource, batch: Sequence[Item]) -> list[tuple[Item, str] | None]:
    return [None if isinstance(one, Left) else (one[0], hash_of(iter([one[1]]))[1]) for one in source.read(batch)]


def _hashed_large(source: MediaSource, item: Item) -> tuple[Item, str] | None:
    now: Item | None = item
    for _ in range(_TRIES):
        if now is None:
            return None
        try:
            return now, hash_of(source.stream(now))[1]
        except NotFound:
            return None
        except Conflict:
            now = source.look(item.key)
    raise Transient(
        f"{item.key} changed each of the {_TRIES} times that it was read: stop who writes it, then run again."
    )
