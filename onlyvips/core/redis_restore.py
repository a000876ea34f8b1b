"""A restore of Redis: which keys come back into which databases, what is there, and what keeps from it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from onlyvips.core.backup_report import size
from onlyvips.core.keys import KeyServer, release
from onlyvips.core.points import Point
from onlyvips.core.restored import instead_of
from onlyvips.errors import Refused

MARKED = 0
"""The database in which a restore notes what it is doing."""
_USUAL, _MOST = 16, 1024
"""Databases of a server by default, and of one that is to hold nobody knows how many."""
_LEFT_OUT = "libraries of functions, cached scripts, ACLs and how lately a key was used do not come back"


@dataclass(frozen=True)
class Begun:
    """A restore that is under way: of which backup, which databases were empty before, which are written over."""

    backup: str
    empty: tuple[int, ...] = ()
    over: tuple[int, ...] = ()

    def to_json(self) -> str:
        """As it is noted."""
        return json.dumps(asdict(self), sort_keys=True)


def begun_from_json(text: str) -> Begun | None:
    """What is noted; None for nothing, or for what nobody understands."""
    try:
        told = json.loads(text)
        return Begun(str(told["backup"]), tuple(map(int, told["empty"])), tuple(map(int, told["over"])))
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Counted:
    """Keys of one database of the backup, and how many of them expire."""

    keys: int
    expire: int


@dataclass(frozen=True)
class RedisPlan:
    """What a restore does. ``databases`` is None where the backup could not count its keys; ``used`` the bytes of
    memory that its source used, 0 where that is not known; ``begun`` what an earlier run of the same left; ``named``
    databases that may be written over, as who asks says."""

    environment: str
    point: Point
    target: KeyServer
    databases: Mapping[int, Counted] | None
    used: int
    begun: Begun | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)
    named: frozenset[str] = frozenset()

    @property
    def plain(self) -> int:
        """Bytes of the RDB."""
        return sum(one.bytes for source in self.point.sources for one in source.record.namespaces)

    @property
    def room(self) -> int:
        """How many databases a server needs that is to hold it."""
        return max(_USUAL, *(number + 1 for number in self.databases)) if self.databases else _MOST

    @property
    def keys(self) -> int:
        """Keys of the backup, 0 where they were not counted."""
        return sum(one.keys for one in (self.databases or {}).values())

    @property
    def occupied(self) -> dict[int, int]:
        """Databases of the target that have keys and would be written, with how many.

        Those that were written over by an earlier run too: who is asked now may be another, and what is there as well.
        """
        coming = self.target.databases if self.databases is None else self.databases
        there = sorted(self.target.databases.items())
        return {n: keys for n, keys in there if n in coming and keys and not self._mine(n, keys)}

    def _mine(self, number: int, keys: int) -> bool:
        """Whether they may all be an earlier run's own, as far as their number says, and nobody says otherwise."""
        if self.begun is None or number not in self.begun.empty or name_of(number) in self.named:
            return False
        return self.databases is None or keys <= self.databases[number].keys

    @property
    def overwritten(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(map(name_of, self.occupied))


def name_of(database: int) -> str:
    """``db0``."""
    return f"db{database}"


def plan_redis(environment: str, point: Point, target: KeyServer, noted: str, named: Iterable[str] = ()) -> RedisPlan:
    """``noted`` is what the target has of an earlier run, ``named`` what may be written over. Raises Refused for a
    backup that is no RDB."""
    records = [one for source in point.sources for one in source.record.namespaces]
    if [one.type for one in records] != ["rdb"]:
        raise Refused(f"{point.name} is no RDB of one Redis server. Nothing was read.")
    told = json.loads(records[0].metadata)
    counted = {one["number"]: Counted(one["keys"], one["expire"]) for one in told.get("databases", ())}
    begun = begun_from_json(noted)
    mine = begun if begun and begun.backup == point.manifest.prefix else None
    if noted:  # one key that is ours and nobody's
        there = dict(target.databases)
        there[MARKED] = there.get(MARKED, 1) - 1
        target = replace(target, databases=there)
    notes = list(point.notes)
    if begun and not mine:
        notes.append(f"another restore, of {begun.backup}, is not done there: what it left counts as what is there")
    used = int(told.get("used-mem", "0") or 0)
    databases = None if "uncounted" in told else counted
    return RedisPlan(
        environment, point, target, databases, used, mine, notes=(*notes, _LEFT_OUT), named=frozenset(named)
    )


# --- what keeps from it ----------------------------------------------------------------------------------------------


def check_target(plan: RedisPlan) -> None:
    """Raise Refused where the target cannot take what the backup has."""
    target, server = plan.target, plan.point.manifest.server
    if target.refusal:
        raise Refused(f"Nothing can be restored into the target, for {target.refusal}. Nothing was changed.")
    if target.dialect != server.dialect:
        raise Refused(
            f"The backup is of {server.dialect}, the target is {target.dialect}: nobody has tried that, so nothing was "
            "changed; give a target of the same kind."
        )
    if release(target.version) < release(server.version):
        raise Refused(
            f"The target is version {target.version}, the backup is of {server.version}: an older server does not know "
            f"all of it, so nothing was changed; give one of {_release(server.version)} or later."
        )
    check_memory(target, plan.used)


def check_memory(target: KeyServer, used: int) -> None:
    """Raise Refused where ``used`` bytes are more than the target may have."""
    if target.most and used > target.most:
        how = "it would throw keys away while they come back" if target.evicts else "it would refuse the last of them"
        raise Refused(
            f"The keys need {size(used)} of memory, the target may use {size(target.most)} (maxmemory): {how}, so "
            "nothing was changed; raise maxmemory first."
        )
    if target.memory and used > target.memory:
        raise Refused(
            f"The keys need {size(used)} of memory, the target's machine has {size(target.memory)}: nothing was "
            "changed; give a larger one."
        )


def check_source(plan: RedisPlan, live: KeyServer | None) -> None:
    """Raise Refused where a target that was not called live is it. ``live`` is None where that does not answer."""
    if live is not None and live.identity and live.identity == plan.target.identity:
        raise Refused(
            "The target is the live Redis, told by the server itself: nothing was changed. When that is meant, say "
            "--target live."
        )


def check_loader(plan: RedisPlan, dialect: str, version: str) -> None:
    """Raise Refused where the program that is to load the RDB does not know its format."""
    server = plan.point.manifest.server
    if dialect != server.dialect or release(version) < release(server.version):
        raise Refused(
            f"The program that is to load the backup is {dialect} {version}, the backup is of {server.dialect} "
            f"{server.version}: nothing was changed; name one of {server.dialect} {_release(server.version)} or later, "
            "not newer than the target, in backup.redis.server."
        )


def check_loaded(plan: RedisPlan, loaded: KeyServer) -> None:
    """Raise Refused where keys are missing that cannot have expired, or need more memory than the target has."""
    for number, told in (plan.databases or {}).items():
        missing = told.keys - loaded.databases.get(number, 0)
        if not 0 <= missing <= told.expire:
            raise Refused(
                f"{name_of(number)} of the backup has {told.keys:,} keys, of which {told.expire:,} expire; "
                f"{loaded.databases.get(number, 0):,} were loaded. Nothing was changed: restore by another backup."
            )
    if plan.databases is not None and (more := set(loaded.databases) - set(plan.databases)):
        raise Refused(f"The backup says nothing of {', '.join(map(name_of, sorted(more)))}: nothing was changed.")
    check_memory(plan.target, loaded.used)


def _release(version: str) -> str:
    return ".".join(map(str, release(version)))


# --- for people ------------------------------------------------------------------------------------------------------


def lines(plan: RedisPlan) -> Iterator[str]:
    """A plan, line by line."""
    manifest, target = plan.point.manifest, plan.target
    yield f"To between {manifest.started} and {manifest.finished}, out of the backup {plan.point.name}"
    yield f"  to be read: {size(plan.point.size)}, loaded by a redis-server here, moved into {target.dialect}"
    yield f"  {target.version} key by key, then compared"
    if plan.databases is None:
        yield "  how many keys there are is not known: the backup could not count them"
    elif not plan.keys:
        yield "  note: the backup has no keys: where it is one from after a loss, restore an earlier one by its name"
    for number, told in sorted((plan.databases or {}).items()):
        has = target.databases.get(number, 0)
        yield f"  {name_of(number)}: {told.keys:,} keys, {told.expire:,} of them expire; the target has {has:,}"
    if plan.databases is not None:
        for number, keys in sorted(target.databases.items()):
            if number not in plan.databases and keys:
                yield f"  {name_of(number)} of the target stays as it is, {keys:,} keys: the backup has none of it"
    yield f"  copies are tried in this order: {', '.join(plan.point.sources[0].destinations)}"
    yield from _overwritten(plan)
    for note in plan.notes:
        yield f"  note: {note}"


def _overwritten(plan: RedisPlan) -> Iterator[str]:
    if plan.begun:
        yield "  an earlier run of this restore is not done: it is done again to the same end"
    if not plan.occupied:
        yield "  overwritten: nothing"
        return
    told = ", ".join(f"{name_of(number)} ({keys:,} keys)" for number, keys in plan.occupied.items())
    yield f"  written over: {told}; keys that the backup does not have are removed at the end: stop who writes there"


def as_json(plan: RedisPlan) -> dict[str, Any]:
    """A plan in plain values."""
    return {
        "environment": plan.environment,
        "backup": plan.point.manifest.prefix,
        "reached": plan.point.manifest.finished,
        "databases": {
            name_of(n): {"keys": one.keys, "target": plan.target.databases.get(n, 0)}
            for n, one in (plan.databases or {}).items()
        },
        "size": plan.point.size,
        "overwritten": list(plan.overwritten),
        "resumed": plan.begun is not None,
        "notes": list(plan.notes),
    }


@dataclass(frozen=True)
class RestoredKeys:
    """What was done. ``keys`` were read back equal; ``expired`` before or meanwhile; ``removed`` the backup did not
    have; ``others`` neither, and stay, for their database was empty before; ``libraries`` of functions did not come;
    ``amid`` another restore the backup was taken."""

    backup: str
    reached: str
    databases: tuple[str, ...]
    keys: int
    expired: int
    removed: int
    others: int
    libraries: tuple[str, ...]
    amid: bool
    flaws: tuple[str, ...]
    resumed: bool
    seconds: float


def done(found: RestoredKeys) -> str:
    """What was done, in a few sentences."""
    where = ", ".join(found.databases)
    told = f"Restored {found.backup} to {found.reached}: {found.keys:,} keys of {where} read back equal, with when they"
    told += f" expire, in {found.seconds:.1f} s."
    if found.expired:
        told += f" {found.expired:,} others had expired."
    if found.removed:
        told += f" {found.removed:,} keys that the backup does not have were removed."
    if found.others:
        told += f" {found.others:,} keys were written there by somebody else meanwhile, and stay."
    if found.amid:
        told += " That backup was taken while a restore was under way, so it may have half of that."
    if found.resumed:
        told += " An earlier run had begun it."
    if found.libraries:
        told += f" Libraries of functions do not come back: load {', '.join(found.libraries)} again."
    told += instead_of(found.flaws)
    return f"{told} Take a new backup of what goes live again."


def result(found: RestoredKeys) -> dict[str, Any]:
    """The same in plain values."""
    return asdict(found)
