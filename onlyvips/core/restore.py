"""What a restore brings back: which base, which slices, up to where, under which names, from which copies. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onlyvips.core.audit import whole
from onlyvips.core.capped import capped_note
from onlyvips.core.catalog import NO_MANIFEST, Backup, Copy
from onlyvips.core.chosen import Chosen, choose, newer
from onlyvips.core.manifest import ACCOUNTS, OPLOG, Manifest, NamespaceRecord, ObjectRecord
from onlyvips.core.oplog_entry import Position, position
from onlyvips.core.replay import OURS, Names
from onlyvips.errors import Refused

MARKER = OURS
"""The collection, in the target, in which a restore notes how far it is; gone when it is done."""
NOWHERE = Position(0, 0)
VIEW = "view"
"""The type of a namespace that has no documents of its own."""
_PAIR = re.compile(r"([^.*=\s]+)\.(\*|[^*=\s]+)=([^.*=\s]+)\.(\*|[^*=\s]+)")


@dataclass(frozen=True)
class Wanted:
    """What a person asked for: ``at`` is latest, a moment in UTC, SECONDS:ORDINAL, or the name of a base; ``names``
    are pairs ``DB.COLLECTION=DB.COLLECTION``, none for everything under its own name. ``sliced``: a base with slices is
    wanted, where there is one, though a newer base alone may lead further. ``base``: the id of the only one that may be
    chosen, "" for any."""

    at: str
    names: tuple[str, ...] = ()
    sliced: bool = False
    base: str = ""


@dataclass(frozen=True)
class Source:
    """One object to be read: in which backup it is, and the destinations that may have it, the most trusted first."""

    manifest: Manifest
    record: ObjectRecord
    destinations: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its whole key."""
        return self.manifest.prefix + self.record.key


@dataclass(frozen=True)
class Coming:
    """One namespace of the base that comes back, and as what; ``documents`` of all its objects, ``record`` of one."""

    record: NamespaceRecord
    target: str
    documents: int

    @property
    def source(self) -> str:
        return f"{self.record.database}.{self.record.collection}"


@dataclass(frozen=True)
class RestorePlan:
    """What a restore does. ``logs`` are replayed on the ``archives``, entries up to ``until``, both inclusive; ``None``
    where nothing is. ``reached`` says in words up to when the state is, ``notes`` what else a person must know.

    ``over`` are collections that may be replaced, by names or as ``DB.*``; None where nothing may (``core.swap``).
    ``stays`` are collections and views of a live database that the base does not have, ``otherwise`` views of the base
    that are there with another definition. ``people`` is the object of users and roles where they come back too
    (``core.restore_accounts``)."""

    environment: str
    base: Manifest
    archives: tuple[Source, ...]
    logs: tuple[Source, ...]
    until: Position | None
    reached: str
    names: Names
    coming: tuple[Coming, ...]
    notes: tuple[str, ...]
    over: tuple[str, ...] | None = None
    people: Source | None = None
    stays: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()

    @property
    def start(self) -> Position:
        """Where the base's window begins: entries before it are in the base."""
        return position(self.base.window.start) if self.base.window else NOWHERE

    @property
    def fuzzy_until(self) -> Position:
        """Where the base's window ends: up to there an entry may be about what is not in the base."""
        return position(self.base.window.end) if self.base.window else NOWHERE

    @property
    def identity(self) -> str:
        """What tells this restore from others: the same base, moment and names give the same state."""
        return hashlib.sha256(repr((self.base.prefix, self.until, self.names.pairs)).encode()).hexdigest()

    @property
    def databases(self) -> tuple[str, ...]:
        """Databases of the target that are written."""
        return tuple(sorted({target.partition(".")[0] for _, target in self.names.pairs}))

    @property
    def size(self) -> int:
        """Stored bytes to be read."""
        return sum(one.record.size for one in (*self.archives, *self.logs))


def plan_restore(environment: str, backups: Sequence[Backup], away: Mapping[str, str], wanted: Wanted) -> RestorePlan:
    """The plan. Raises Refused for what cannot be had, and says what can.

    Backups of which a complete copy is known come first; where they do not lead there, those of which every object may
    still be found somewhere.
    """
    names = names_of(wanted.names)
    known = [one for one in backups if one.manifest and _somewhere(one) and _may_be(one, wanted.base)]
    chosen = _chosen(known, wanted, names is None or _every(names))
    base, until = chosen.chain.base, chosen.until
    named = names or everything(base)
    prefixes = {one.prefix: one for one in backups}
    logs = _logs(chosen, prefixes)
    coming = _coming(base, named)
    notes = [
        *filter(None, (capped_note(one.record) for one in coming)),
        *chosen.notes,
        accounts(base),
        *(f"{name} was not read: {why}" for name, why in away.items()),
    ]
    return RestorePlan(
        environment=environment,
        base=base,
        archives=tuple(one for one in _sources(prefixes[base.prefix]) if _brings(one.record, named)),
        logs=logs,
        until=until if logs else None,
        reached=chosen.reached,
        names=named,
        coming=coming,
        notes=tuple(notes),
    )


def _may_be(backup: Backup, base: str) -> bool:
    return not base or backup.kind != "mongodb" or (backup.manifest is not None and backup.manifest.id == base)


def _chosen(known: Sequence[Backup], wanted: Wanted, all_of_it: bool) -> Chosen:
    every, at, sliced = [one.manifest for one in known if one.manifest], wanted.at, wanted.sliced
    try:
        chosen = choose(whole(known), at, all_of_it, sliced)
    except Refused as refusal:
        try:
            return choose(every, at, all_of_it, sliced)
        except Refused:
            raise refusal from None
    return newer(chosen, whole(known), every, all_of_it, sliced) if at == "latest" else chosen


def names_of(pairs: Sequence[str]) -> Names | None:
    """Which namespaces, as what. Raises Refused for what is not ``a.b=c.d`` or ``a.*=c.*``, or meets itself."""
    found: dict[str, str] = {}
    for pair in pairs:
        said = _PAIR.fullmatch(pair)
        if said is None or (said[2] == "*") != (said[4] == "*"):
            raise Refused(f"`{pair}` says no namespaces: write DB.COLLECTION=DB.COLLECTION, or DB.*=DB.*.")
        found[f"{said[1]}.{said[2]}"] = f"{said[3]}.{said[4]}"
    if len(set(found.values())) != len(found) or len(found) != len(pairs):
        raise Refused("Two of the namespaces would become one: give each a name of its own. Nothing was read.")
    every = [one for one in (*found, *found.values()) if one.endswith(".*")]
    if every and len(found) > 1:
        raise Refused(f"`{every[0]}` is a whole database, and with others it cannot be exact: restore it alone.")
    return Names(tuple(found.items())) if found else None


# --- from which copies -----------------------------------------------------------------------------------------------


def trusted(copies: Iterable[Copy]) -> tuple[str, ...]:
    """Destinations that may have it, the most trusted first: complete and lately read back, complete, any other."""
    here = [one for one in copies if not one.away]
    ranked = sorted(here, key=lambda one: (one.complete, one.verified), reverse=True)
    return tuple(one.destination for one in ranked)


def _sources(backup: Backup) -> list[Source]:
    assert backup.manifest is not None
    destinations = trusted(backup.copies)
    return [Source(backup.manifest, record, destinations) for record in backup.manifest.objects]


def _logs(chosen: Chosen, backups: Mapping[str, Backup]) -> tuple[Source, ...]:
    found = chosen.chain
    if found.base.window is None:
        return ()
    slices = [one for one in found.slices if one.window and position(one.window.start) <= chosen.until]
    whole_window = any(position(one.window.start) <= position(found.base.window.start) for one in slices if one.window)
    manifests = slices if whole_window else [found.base, *slices]
    return tuple(one for each in manifests for one in _sources(backups[each.prefix]) if _is_log(one.record))


def _is_log(record: ObjectRecord) -> bool:
    return any(one.type == OPLOG for one in record.namespaces)


def _is_data(record: ObjectRecord) -> bool:
    return not any(one.type in (OPLOG, ACCOUNTS) for one in record.namespaces)


def _somewhere(backup: Backup) -> bool:
    return any(not one.away and NO_MANIFEST not in one.flaws for one in backup.copies)


# --- what, under which names -----------------------------------------------------------------------------------------


def everything(base: Manifest) -> Names:
    """All of a base, under its own names."""
    return Names(tuple((f"{one}.*", f"{one}.*") for one in _databases(base)))


def _databases(base: Manifest) -> list[str]:
    return sorted({one.database for record in base.objects if _is_data(record) for one in record.namespaces})


def _brings(record: ObjectRecord, names: Names) -> bool:
    return _is_data(record) and any(names.target(f"{one.database}.{one.collection}") for one in record.namespaces)


def _coming(base: Manifest, names: Names) -> tuple[Coming, ...]:
    found: dict[str, Coming] = {}
    for record in (one for each in base.objects if _is_data(each) for one in each.namespaces):
        name = f"{record.database}.{record.collection}"
        if target := names.target(name):
            before = found[name].documents if name in found else 0
            found[name] = Coming(record, target, before + record.documents)
    _check_names(base, names, found)
    return tuple(found.values())


def _check_names(base: Manifest, names: Names, found: Mapping[str, Coming]) -> None:
    absent = [
        source
        for source, _ in names.pairs
        if source not in found and not (source.endswith(".*") and any(one.startswith(source[:-1]) for one in found))
    ]
    if absent:
        data = filter(_is_data, base.objects)
        has = ", ".join(sorted({f"{one.database}.{one.collection}" for each in data for one in each.namespaces}))
        raise Refused(
            f"{', '.join(absent)}: the base {base.id} has no such thing, it has {has}. What was made after it comes "
            "back with the whole database alone: --namespace 'DB.*=OTHER.*'. Nothing was read."
        )
    if views := [one.source for one in found.values() if one.record.type != "collection" and not _every(names)]:
        raise Refused(f"{', '.join(views)}: no plain collection, and alone it cannot be exact: restore the database.")


def _every(names: Names) -> bool:
    return any(source.endswith(".*") for source, _ in names.pairs)


def accounts(base: Manifest) -> str:
    """What becomes of users and roles that nobody asked for, in words."""
    told = base.fact("users_and_roles", "not kept")
    how = ": this leaves them alone, --users-and-roles brings them back with the data"
    return f"users and roles: {told}{how if told.startswith('kept') else ''}"


# --- into which server -----------------------------------------------------------------------------------------------


def check_server(plan: RestorePlan, target: Mapping[str, str], source: Mapping[str, str] | None) -> None:
    """Raise Refused where the target is the live source, or cannot hold what the backup has. ``source`` is None where
    the live source does not answer."""
    live = source is not None and target["identity"] == source["identity"]
    if meeting := [one for one in plan.databases if live and one in _databases(plan.base)]:
        raise Refused(
            f"The target is the live source, and database {', '.join(meeting)} is what the backups are of: nothing was "
            "changed. Give another server by --target, or another database by --namespace 'DB.*=OTHER.*'."
        )
    server = plan.base.server
    if server.dialect != target["dialect"]:
        raise Refused(
            f"The backup is of {server.dialect}, the target is {target['dialect']}: what it would make of it nobody "
            "knows, so nothing was changed; give a target of the same kind."
        )
    if _release(target["version"]) < _release(server.version):
        raise Refused(
            f"The target is version {target['version']}, the backup is of {server.version}: an older server may not "
            f"hold it, so nothing was changed; give one of {'.'.join(map(str, _release(server.version)))} or later."
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
