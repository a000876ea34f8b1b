"""What a prune would do, found out without changing anything: decisions with reasons, leftovers, locks to be extended.

Nothing goes while a destination is away: what it has could be what keeps a backup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

from onlyvips.core.catalog import Backup, place_of, read_catalog
from onlyvips.core.manifest import MANIFEST_KEY, MEDIA, OPLOG, seconds
from onlyvips.core.media import Index
from onlyvips.core.retention import Decision, Facts, Policy, decide
from onlyvips.core.verification import superseded
from onlyvips.errors import Transient
from onlyvips.ports import ObjectStore, Pruner, Tree, Version
from onlyvips.steps.media_leftovers import indexes_of, leftovers_of, named_of, unfinished_of
from onlyvips.steps.shelves import read_shelves

T = TypeVar("T")
R = TypeVar("R")
Held = Mapping[str, Mapping[str, Sequence[Version]]]
"""By destination and prefix of a backup, every version there; the oldest of a key first."""
READ_BACKS_KEPT = 5
"""Results of read-backs that are kept of each copy."""
_CHAINED = ("mongodb", OPLOG)
_AT_ONCE = 8


@dataclass(frozen=True)
class Place:
    """One destination: read and written with one credential, taken from with another. ``locks``: it is immutable.
    ``tree``: the same as a place of the plain files of media."""

    store: ObjectStore
    pruner: Pruner
    locks: bool
    tree: Tree | None = None

    @property
    def name(self) -> str:
        return self.store.name


@dataclass(frozen=True)
class Rules:
    """What is kept of each kind, and after how many seconds a run that did not end is dead."""

    policies: Mapping[str, Policy]
    longest_run: float


@dataclass(frozen=True)
class Leftover:
    """Something that is no part of a backup any more: where, what, and why it goes."""

    destination: str
    version: Version
    why: str


@dataclass(frozen=True)
class Extension:
    """The copy of a backup at ``destination`` is to be locked until ``until``, unix seconds."""

    prefix: str
    destination: str
    until: float


@dataclass(frozen=True)
class Relock:
    """A file of media is to be locked until ``until``: backups that were taken since need it too."""

    destination: str
    version: Version
    until: float


@dataclass(frozen=True)
class Survey:
    """What there is of one kind, and what becomes of it."""

    environment: str
    kind: str
    now: float
    decisions: tuple[Decision, ...]
    leftovers: tuple[Leftover, ...]
    extensions: tuple[Extension, ...]
    held: Held
    relocks: tuple[Relock, ...] = ()

    @property
    def going(self) -> list[Decision]:
        """The decisions to remove."""
        return [one for one in self.decisions if one.action == "remove"]


@dataclass(frozen=True)
class _Scene:
    """What leftovers are judged by."""

    environment: str
    kind: str
    decisions: Sequence[Decision]
    facts: Facts
    probes: bool


def survey(
    places: Sequence[Place], environment: str, kind: str, rules: Rules, now: float, *, probes: bool = False
) -> Survey:
    """Look at every destination. With ``probes``, what preflights of any kind left there is told as well.

    Raises Transient while a destination is away, and what a pruner raises.
    """
    related = _CHAINED if kind in _CHAINED else (kind,)
    shelves = read_shelves([place.store for place in places], environment, related)
    if away := [shelf.away for shelf in shelves if shelf.away]:
        raise Transient(f"Nothing was removed, for what a destination has is not known: {' '.join(away)}")
    found = each(places, lambda place: _held(place, environment, related))
    held = {place.name: one for place, one in zip(places, found, strict=True)}
    backups = _with_hidden(read_catalog(shelves), held)
    facts = _facts(held, rules, now)
    decisions = decide(backups, rules.policies, facts)
    going = {one.backup.prefix for one in decisions if one.action == "remove" and one.backup.manifest}
    decisions = decide(backups, rules.policies, replace(facts, locked=_locks(places, held, going)))
    mine = tuple(one for one in decisions if one.backup.kind == kind)
    extensions = tuple(_extensions(places, held, mine))
    keys = {shelf.name: list(shelf.sizes) for shelf in shelves}
    scene = _Scene(environment, kind, mine, facts, probes)
    leftovers = list(chain(*(_leftovers(place, held[place.name], keys[place.name], scene) for place in places)))
    relocks: list[Relock] = []
    if kind == MEDIA:
        indexes = indexes_of(backups, [place.store for place in places])
        leftovers += _of_media(places, environment, backups, indexes, rules, now)
        relocks += _relocks(places, environment, backups, indexes, rules, now)
    return Survey(environment, kind, now, mine, tuple(leftovers), extensions, held, tuple(relocks))


def each(items: Iterable[T], action: Callable[[T], R]) -> list[R]:
    """Do it to all, several at a time; the first error is raised."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(action, items))


# --- what there is ---------------------------------------------------------------------------------------------------


def _held(place: Place, environment: str, kinds: Sequence[str]) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = defaultdict(list)
    for kind in kinds:
        for one in place.pruner.versions(f"{environment}/{kind}/"):
            if where := place_of(one.key):
                found[where[0]].append(one)
    return found


def _with_hidden(backups: list[Backup], held: Held) -> list[Backup]:
    """The catalog, and what only older versions tell of: a listing does not show it."""
    known = {one.prefix for one in backups}
    more = {prefix for found in held.values() for prefix in found} - known
    kinds = {prefix: where[1] for prefix in more if (where := place_of(prefix + MANIFEST_KEY))}
    return [*backups, *(Backup(prefix, kind, None, ()) for prefix, kind in sorted(kinds.items()))]


def _facts(held: Held, rules: Rules, now: float) -> Facts:
    written: dict[str, float] = defaultdict(float)
    hidden = set()
    for found in held.values():
        for prefix, versions in found.items():
            written[prefix] = max([written[prefix], *(one.modified for one in versions)])
            if any(one.key == prefix + MANIFEST_KEY and one.what == "object" for one in versions):
                hidden.add(prefix)
    return Facts(now, rules.longest_run, dict(written), hidden)


def _locks(places: Sequence[Place], held: Held, prefixes: Collection[str]) -> dict[str, float]:
    """Until when the longest lock of each of these lasts."""
    asked = [
        (prefix, place, one)
        for place in places
        if place.locks
        for prefix in sorted(prefixes)
        for one in held[place.name].get(prefix, ())
    ]
    found: dict[str, float] = defaultdict(float)
    for (prefix, _, _), until in zip(asked, each(asked, lambda one: one[1].pruner.locked_until(one[2])), strict=True):
        found[prefix] = max(found[prefix], until)
    return dict(found)


# --- what is to be done ----------------------------------------------------------------------------------------------


def _extensions(places: Sequence[Place], held: Held, decisions: Sequence[Decision]) -> Iterator[Extension]:
    """A copy is locked for as long as its manifest is, for that one is extended last."""
    asked = [
        (place, decision, one)
        for place in places
        if place.locks
        for decision in decisions
        if decision.until and place.name in decision.backup.complete
        for one in held[place.name].get(decision.backup.prefix, ())
        if one.key == decision.backup.prefix + MANIFEST_KEY and one.latest and one.what == "object"
    ]
    found = each(asked, lambda one: one[0].pruner.locked_until(one[2]))
    for (place, decision, _), until in zip(asked, found, strict=True):
        if until < decision.at_least:
            yield Extension(decision.backup.prefix, place.name, decision.until)


def _leftovers(
    place: Place, held: Mapping[str, Sequence[Version]], keys: Iterable[str], scene: _Scene
) -> list[Leftover]:
    """What is at one destination and of no use; ``keys`` are those that its listing showed."""
    dead = scene.facts.now - scene.facts.longest_run
    staying = {one.backup.prefix: one.backup for one in scene.decisions if one.action == "keep"}
    finished = [prefix for prefix, one in staying.items() if one.manifest and seconds(one.finished) < dead]
    journals = [one for prefix in finished for one in held.get(prefix, ()) if one.key.startswith(f"{prefix}journal/")]
    below = f"{scene.environment}/evidence/verify/{scene.kind}/"
    old = set(superseded([key for key in keys if key.startswith(below)], staying, READ_BACKS_KEPT))
    begun = place.pruner.unfinished(f"{scene.environment}/{scene.kind}/")
    found = {
        "the journal of a finished backup": journals,
        "the result of an older read-back": [
            one for one in (place.pruner.versions(below) if old else ()) if one.key in old
        ],
        "an upload that nobody finished": [one for one in begun if one.modified < dead],
        "a preflight's probe": [one for one in place.pruner.versions("probes/") if one.modified < dead]
        if scene.probes
        else [],
    }
    return [Leftover(place.name, one, why) for why, versions in found.items() for one in versions]


def _of_media(
    places: Sequence[Place],
    environment: str,
    backups: Sequence[Backup],
    indexes: dict[str, Index],
    rules: Rules,
    now: float,
) -> Iterator[Leftover]:
    """Of the plain files: what no backup needs and no lock holds, and uploads that nobody finished."""
    for place in places:
        if place.tree is not None:
            found = list(leftovers_of(place.tree, place.pruner, environment, backups, indexes))
            versions = [one for one, _ in found] if place.locks else []
            locked = {
                one
                for one, until in zip(versions, each(versions, place.pruner.locked_until), strict=True)
                if until > now
            }
            free = (pair for pair in found if pair[0] not in locked)
            yield from (Leftover(place.name, one, why) for one, why in free)
            begun = (one for one in unfinished_of(place.pruner, environment) if one.modified < now - rules.longest_run)
            yield from (Leftover(place.name, one, "an upload that nobody finished") for one in begun)


def _relocks(
    places: Sequence[Place],
    environment: str,
    backups: Sequence[Backup],
    indexes: dict[str, Index],
    rules: Rules,
    now: float,
) -> Iterator[Relock]:
    """Files that backups need and that are locked for less than half of the time for which they are locked at first."""
    span = policy.locked_for if (policy := rules.policies.get(MEDIA)) else 0.0
    for place in places:
        if span and place.locks:
            old = [
                one
                for one in named_of(place.pruner, environment, backups, indexes)
                if one.modified <= now - span / 2  # a younger one was locked for long enough when it was written
            ]
            untils = each(old, place.pruner.locked_until)
            short = (one for one, until in zip(old, untils, strict=True) if until < now + span / 2)
            yield from (Relock(place.name, one, now + span) for one in short)
