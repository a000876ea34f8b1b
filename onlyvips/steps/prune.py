"""What a survey decided, done: written down first, then locks are made longer, then backups and leftovers go.

Of a backup its manifest goes first, from every destination: a death at any line leaves a copy that is whole, or objects
without a manifest, which are no backup and go with a later prune. All of it under the kind's lease.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from onlyvips.core.manifest import MANIFEST_KEY, moment
from onlyvips.core.retention import Decision, lock_told
from onlyvips.core.strict_json import sealed
from onlyvips.errors import Fenced, OnlyVipsError, Permanent
from onlyvips.ports import Clock, ObjectStore, Pruner, Version
from onlyvips.steps.copies import put_once
from onlyvips.steps.survey import Extension, Place, Relock, Survey, each

_SCHEMA = 1


@dataclass(frozen=True)
class By:
    """Who prunes: ``check`` raises when the lease is lost; ``who`` is for people."""

    clock: Clock
    entropy: Callable[[int], bytes]
    check: Callable[[], None] = lambda: None
    who: str = ""


@dataclass(frozen=True)
class Pruned:
    """What was done to one kind: names of backups, counts of the rest. ``left`` says what stayed though it should have
    gone and is no failure (it is locked); ``failures`` what could not be done. ``evidence`` is where the intent is."""

    kind: str
    removed: tuple[str, ...] = ()
    leftovers: int = 0
    extended: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    evidence: str = ""


def prune(found: Survey, places: Sequence[Place], by: By) -> Pruned:
    """Do it. A destination that refuses does not keep the rest from being done; it is a failure of the result.

    Raises Fenced when the lease was lost, Permanent when no destination took the intent: nothing was removed then.
    """
    failures: list[str] = []
    extended = [
        f"{_name(one.prefix)} at {one.destination}, until {moment(one.until)}"
        for one in found.extensions
        if _done(partial(_extend, one, found, places, by), failures)
    ]
    extended += _relock(found, places, by, failures)
    if not found.going and not found.leftovers:
        return Pruned(found.kind, extended=tuple(extended), failures=tuple(failures))
    evidence = _write_down(found, places, by)
    removed, left = list[str](), list[str]()
    for one in found.going:
        before = len(failures) + len(left)
        left += _remove(one, found, places, by, failures)
        if len(failures) + len(left) == before:
            removed.append(one.backup.name)
    pruners = {place.name: place.pruner for place in places}
    gone = _remove_all([(pruners[one.destination], one.version) for one in found.leftovers], by, failures)
    return Pruned(found.kind, tuple(removed), gone, tuple(extended), tuple(left), tuple(failures), evidence)


def _done(action: Callable[[], object], failures: list[str]) -> bool:
    """Whether it could be done; why not is added to ``failures``."""
    try:
        action()
    except Fenced:
        raise
    except OnlyVipsError as error:
        failures.append(str(error))
        return False
    return True


def _name(prefix: str) -> str:
    return prefix.rstrip("/").rpartition("/")[2]


# --- intent ----------------------------------------------------------------------------------------------------------


def _write_down(found: Survey, places: Sequence[Place], by: By) -> str:
    """What will be removed and why, in every destination that takes it, before anything is. Returns its key."""
    now = moment(by.clock.now())
    key = f"{found.environment}/evidence/prune/{found.kind}/{now}-{by.entropy(4).hex()}.json"
    document = {
        "schema": _SCHEMA,
        "kind": "prune",
        "of": found.kind,
        "at": now,
        "by": by.who,
        "backups": [{"backup": one.backup.prefix, "why": list(one.reasons)} for one in found.going],
        "leftovers": [
            {"destination": one.destination, "key": one.version.key, "why": one.why} for one in found.leftovers
        ],
    }
    data, refusals = sealed(document), list[str]()
    for place in places:
        _done(partial(put_once, place.store, key, data), refusals)
    if len(refusals) == len(places):
        raise Permanent(f"Nothing was removed, for no destination took the evidence of it: {' '.join(refusals)}")
    return key


# --- removing --------------------------------------------------------------------------------------------------------


def _remove(decision: Decision, found: Survey, places: Sequence[Place], by: By, failures: list[str]) -> list[str]:
    """All of one backup, at every destination. Returns what stays because it is locked, a sentence each."""
    prefix = decision.backup.prefix
    # Those that lock first: where one refuses, nothing was taken from the others.
    ordered = sorted(places, key=lambda place: not place.locks)
    mine = [(place, one) for place in ordered for one in found.held[place.name].get(prefix, ())]
    if not _done(
        partial(_remove_manifest, [pair for pair in mine if pair[1].key == prefix + MANIFEST_KEY], by), failures
    ):
        return []
    locked = {} if decision.backup.manifest else _locked(mine, found.now)
    for objects in (False, True):
        part = [pair for pair in mine if pair not in locked and pair[1].key.startswith(f"{prefix}objects/") == objects]
        _remove_all([(place.pruner, one) for place, one in part if one.key != prefix + MANIFEST_KEY], by, failures)
    return [f"{one.key} at {place.name} is locked until {lock_told(until)}" for (place, one), until in locked.items()]


def _remove_manifest(mine: Sequence[tuple[Place, Version]], by: By) -> None:
    """The oldest version of each destination's first, so that what is seen there is the newest one or nothing."""
    for place, one in mine:
        by.check()
        place.pruner.remove(one)


def _locked(mine: Sequence[tuple[Place, Version]], now: float) -> dict[tuple[Place, Version], float]:
    """What of a backup that was never finished cannot go yet, and until when."""
    asked = [(place, one) for place, one in mine if place.locks]
    untils = each(asked, lambda pair: pair[0].pruner.locked_until(pair[1]))
    return {pair: until for pair, until in zip(asked, untils, strict=True) if until > now}


def _remove_all(found: Iterable[tuple[Pruner, Version]], by: By, failures: list[str]) -> int:
    """Several at a time; returns how many went. The versions of one key go one after the other, the oldest first."""
    keys: dict[tuple[str, str], list[tuple[Pruner, Version]]] = {}
    for pruner, one in found:
        keys.setdefault((pruner.name, one.key), []).append((pruner, one))

    def remove(versions: list[tuple[Pruner, Version]]) -> int:
        count = 0
        for pruner, one in versions:
            by.check()
            count += _done(partial(pruner.remove, one), failures)
        return count

    return sum(each(keys.values(), remove))


# --- locks -----------------------------------------------------------------------------------------------------------


def _extend(asked: Extension, found: Survey, places: Sequence[Place], by: By) -> None:
    """Lock every object of a copy for longer, its manifest last: what that one says holds of the others."""
    place = next(one for one in places if one.name == asked.destination)
    held = found.held[place.name][asked.prefix]
    wanted = [one for one in held if one.latest and one.what == "object" and "/journal/" not in one.key]
    manifest = [one for one in wanted if one.key == asked.prefix + MANIFEST_KEY]
    by.check()
    each([one for one in wanted if one not in manifest], lambda one: place.pruner.extend(one, asked.until))
    for one in manifest:
        place.pruner.extend(one, asked.until)


def _relock(found: Survey, places: Sequence[Place], by: By, failures: list[str]) -> list[str]:
    """Lock files of media for longer; returns how many at which destination."""
    pruners = {place.name: place.pruner for place in places}

    def lock(one: Relock) -> bool:
        by.check()
        return _done(partial(pruners[one.destination].extend, one.version, one.until), failures)

    done = Counter(one.destination for one, ok in zip(found.relocks, each(found.relocks, lock), strict=True) if ok)
    return [f"{count} files at {name}" for name, count in sorted(done.items())]


# --- two credentials -------------------------------------------------------------------------------------------------


def may_delete(store: ObjectStore, as_pruner: Pruner, nonce: str) -> bool:
    """Whether who writes backups to ``store`` can also delete there, tried on a few bytes of our own.

    ``as_pruner`` takes away with the writer's credential.
    """
    key = f"probes/{nonce}/{store.name}-delete"
    put_once(store, key, f"{nonce}\n".encode())
    head = store.head(key)
    try:
        as_pruner.remove(Version(key, head.version if head else "", 0.0))
    except Permanent:
        return False
    return True
