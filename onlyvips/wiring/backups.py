"""Backups of an environment: taken, read back, audited, repaired. Sessions are those that this process takes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.gauges_textfile import write_gauges
from onlyvips.adapters.memory_glibc import give_back_large_blocks
from onlyvips.core.audit import CLOCKS_APART, AuditPlan, Finding, Report, audit
from onlyvips.core.backup_metrics import gauges
from onlyvips.core.catalog import Backup, Shelf, find, newest, read_catalog, with_verifications
from onlyvips.core.manifest import seconds
from onlyvips.core.oplog import Broken, breaks
from onlyvips.core.plan import BackupPlan, Scheduled
from onlyvips.core.verification import Verification
from onlyvips.environment import Environment
from onlyvips.errors import Driven, Misuse, Occupied, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.steps.backup import Run, Session, Taken, probe_stores, take
from onlyvips.steps.journal import find_begun, find_of_run
from onlyvips.steps.lease import CellLease, Wording
from onlyvips.steps.locks import locks_of
from onlyvips.steps.media_copies import PlainCopies
from onlyvips.steps.pipe import Progress, check_recipients
from onlyvips.steps.preflight import check_lock
from onlyvips.steps.repair import Repair, Repaired, repair
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.verify import Reading, Tell, identities, verify
from onlyvips.wiring import drill_records
from onlyvips.wiring.kinds import BUILT
from onlyvips.wiring.kinds.kind import Taking
from onlyvips.wiring.living import lively
from onlyvips.wiring.places import lease_cell, lockable_stores, stores_of, trees_of

Read = Literal["newest", "all", "nothing"]
"""Which backups an audit reads back itself: the newest of each kind, all, or none (it believes what was verified)."""

_sessions: dict[str, Session] = {}
_begun_here: dict[str, ExitStack] = {}


# --- taking ----------------------------------------------------------------------------------------------------------


def check_kind(environment: str, kind: str) -> Environment:
    """The environment. Raises Refused for a kind that it does not ask for, or that cannot be taken yet."""
    loaded = environments.load(environment)
    asked = environments.kinds(loaded)
    if kind not in asked:
        raise Refused(f"{environment} has nothing of kind `{kind}` to back up{environments.nearest(kind, asked)}")
    if kind not in BUILT:
        raise Refused(f"Backups of kind `{kind}` cannot be taken yet; nothing was read. There is {', '.join(BUILT)}.")
    return loaded


def schedules(loaded: Environment) -> list[Scheduled]:
    """What Prefect is to start by itself, of the kinds that can be taken."""
    return [one for one in environments.schedules(loaded) if dict(one.parameters).get("kind", "mongodb") in BUILT]


def preflight_of(loaded: Environment, kind: str) -> None:
    """All that can be refused before anything is read. A destination that fails is not: the backup is degraded."""
    check_recipients(environments.recipients(loaded))
    check_lease(loaded, kind)
    BUILT[kind].check(loaded)
    check_lock(lockable_stores(loaded))
    probe_stores(stores_of(loaded), all_needed=False)


def unchanged(environment: str, kind: str) -> str:
    """Why a backup taken now would hold nothing new, in words; "" when it would, or when nobody should rely on the
    newest: it is not whole in every destination, it is old, or it is for other recipients."""
    loaded = check_kind(environment, kind)
    changed = BUILT[kind].changed
    if changed is None:
        raise Refused(f"Nobody can tell whether {kind} changed since its last backup: ask for one without a condition.")
    plan, last = environments.audit_plan(loaded), newest(_catalog_of(loaded, (kind,)).backups, kind)
    if last is None or last.manifest is None or set(last.complete) < {place.name for place in plan.places}:
        return ""
    age = SystemClock().now() - seconds(last.manifest.started)
    if not -CLOCKS_APART <= age < plan.every[kind] or last.manifest.recipients != environments.recipients(loaded):
        return ""
    return (
        "" if changed(loaded, last.manifest) else f"Nothing of {kind} changed since {last.name}: it is not taken again."
    )


@contextmanager
def taking(environment: str, kind: str, holder: str, tell: Progress, run: str = "") -> Iterator[str]:
    """Hold the kind's lease while the block takes a backup, whose name is the value; nothing goes on after it.

    With a ``run``, a later attempt of the same one goes on with what this one wrote.
    """
    loaded = check_kind(environment, kind)
    give_back_large_blocks()
    preflight_of(loaded, kind)
    with _session(loaded, kind, holder, tell, run) as session:
        session.begin()
        _sessions[session.id] = session
        try:
            yield session.id
        finally:
            session.stop()
            del _sessions[session.id]


def begin(environment: str, kind: str, holder: str, tell: Progress, run: str) -> str:
    """As ``taking``, until ``end``. Raises Transient for a source, a store or a lease that only did not answer now."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(taking(environment, kind, holder, tell, run))
        except Refused as error:
            if isinstance(error.__cause__, Transient):
                raise Transient(str(error), delay=error.__cause__.delay) from error
            raise
        _begun_here[session] = stack.pop_all()
    return session


def end(session: str) -> None:
    """Give up the lease of what ``begin`` began; nothing of it goes on."""
    _begun_here.pop(session).close()


def keys(session: str) -> list[str]:
    """The objects of a backup that this process takes."""
    return _taken_here(session).keys


def expected(session: str) -> int:
    """Plain bytes that it reads, about; 0 where nobody knows, or before it began."""
    return _sessions[session].expected if session in _sessions else 0


def resumed(session: str) -> bool:
    """Whether it goes on with what an earlier attempt of the run wrote."""
    return _taken_here(session).resumed


def write(session: str, key: str) -> tuple[int, int]:
    """One object of it. Returns the bytes stored in each destination, and the documents in them."""
    record = _taken_here(session).write(key)
    return record.size, sum(namespace.documents for namespace in record.namespaces)


def take_all(session: str) -> Taken:
    """Every object of it, several at a time, and then publish."""
    return take(_taken_here(session))


def wait(seconds: float) -> None:
    """Return after so long."""
    SystemClock().sleep(seconds)


def publish(session: str) -> Taken:
    """Make the backup exist, once every object is written."""
    return _taken_here(session).publish()


def _taken_here(session: str) -> Session:
    if session not in _sessions:
        raise Misuse(f"Backup {session} is not taken by this process.")
    return _sessions[session]


def take_one(loaded: Environment, kind: str, holder: str, tell: Progress) -> Taken:
    """A whole backup at once, for a release. Raises Occupied while somebody else writes one of this kind."""
    give_back_large_blocks()
    try:
        with _session(loaded, kind, holder, tell) as session:
            return take(session)
    except Driven as error:
        raise Occupied(f"{error} A run of Prefect waits for that; a command is run again then.", delay=10.0) from error


@contextmanager
def _session(loaded: Environment, kind: str, holder: str, tell: Progress, run: str = "") -> Iterator[Session]:
    plan = replace(environments.backup_plan(loaded), kind=kind, recipients=environments.recipients(loaded))
    with writing(loaded, kind, holder) as lease, lively(lease.progress) as alive:

        def progress(size: int, documents: int) -> None:
            alive()
            tell(size, documents)

        yield _begun(loaded, plan, Run(lease.acquire(holder), SystemClock(), secrets.token_bytes, progress, run))


def _begun(loaded: Environment, plan: BackupPlan, run: Run) -> Session:
    stores = stores_of(loaded)
    before = find_begun(stores, plan.environment, plan.kind, run.key) if run.key else None
    return BUILT[plan.kind].begin(loaded, Taking(stores, plan, run, before))


@contextmanager
def writing(loaded: Environment, kind: str, holder: str) -> Iterator[CellLease]:
    """The right to write backups of ``kind``. Raises Driven while somebody else has it."""
    plan = environments.lease_plan(loaded)
    what = f"the {kind} backups of {loaded.name}"
    wording = Wording(
        does=f"writes {what}",
        thing=what,
        lost=f"This run may no longer write {what}: {{why}}. It published nothing more; start it again.",
    )
    floor = partial(_highest_epoch, loaded, kind)
    cell = lease_cell(loaded, kind)
    lease = CellLease(cell, SystemClock(), plan.duration, plan.patience, wording=wording, floor=floor)
    lease.acquire(holder)
    try:
        yield lease
    finally:
        lease.release()


def check_lease(loaded: Environment, kind: str) -> None:
    """Raise Refused, with what the store says, when the lease of ``kind`` cannot be read."""
    try:
        lease_cell(loaded, kind).read()
    except (Permanent, Transient) as error:
        raise Refused(f"The lease of {kind} backups cannot be read: {error} Nothing was changed.") from error


def _highest_epoch(loaded: Environment, kind: str) -> int:
    """The highest epoch in any backup's name: a lease that was lost begins above it."""
    found = _catalog_of(loaded, (kind,))
    if away := found.away:
        raise Transient(
            f"The lease of {kind} is new, and which epochs were used is not known, for {', '.join(away)} does not "
            f"answer ({' '.join(away.values())}): nothing was written; bring it back, then try again."
        )
    return max((int(one.name.rpartition("-e")[2]) for one in found.backups), default=0)


# --- the catalog -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catalog:
    """Every backup; the destinations that could not be read, each with its reason; where the oplog's timeline broke."""

    backups: tuple[Backup, ...]
    away: dict[str, str]
    breaks: tuple[Broken, ...] = ()


def catalog(environment: str) -> Catalog:
    """What all destinations have, now. Raises Transient when none answers."""
    return _catalog_of(environments.load(environment))


def of_run(environment: str, kind: str, run: str) -> Backup | None:
    """The backup that a Prefect run took, when it is there."""
    begun = find_of_run(stores_of(environments.load(environment)), environment, kind, run)
    return next((one for one in catalog(environment).backups if begun and one.prefix == begun.place), None)


def one_backup(environment: str, id: str, among: Catalog | None = None) -> Backup:
    """The backup that is called ``id``, or the only one whose name begins so. Raises Refused."""
    found = find((among or catalog(environment)).backups, id)
    if not found:
        raise Refused(f"{environment} has no backup `{id}`: see `onlyvips backup list -e {environment}`.")
    if len(found) > 1:
        raise Refused(f"`{id}` is more than one backup: {', '.join(one.prefix for one in found)}. Give more of it.")
    return found[0]


def _catalog_of(loaded: Environment, kinds: Sequence[str] = ()) -> Catalog:
    shelves = read_shelves(stores_of(loaded), loaded.name, *((kinds,) if kinds else ()))
    broken = breaks(key for shelf in shelves for key in shelf.sizes)
    return Catalog(tuple(read_catalog(shelves)), _away(shelves), tuple(broken))


def _away(shelves: Sequence[Shelf]) -> dict[str, str]:
    away = {shelf.name: shelf.away for shelf in shelves if shelf.away}
    if len(away) == len(shelves):
        raise Transient(f"No destination of backups could be read: {' '.join(away.values())}")
    return away


# --- reading back ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What to read back: a ``share`` of the objects, ``decrypt`` them, only copies not read for ``unread`` seconds."""

    share: float = 1.0
    decrypt: bool = False
    unread: float = 0.0


def verify_backups(environment: str, id: str, asked: Asked, tell: Tell) -> list[Verification]:
    """Read back every copy of one backup, or of all of them when ``id`` is "". Keeps the results as evidence."""
    loaded = environments.load(environment)
    found = catalog(environment)
    chosen = [one_backup(environment, id, found)] if id else [one for one in found.backups if one.manifest]
    reading = _reading(loaded, asked, tell)
    limit = SystemClock().now() - asked.unread
    results: list[Verification] = []
    for one in chosen:
        due = [copy.destination for copy in one.copies if not copy.verified or seconds(copy.verified) <= limit]
        stores = [store for store in stores_of(loaded) if not asked.unread or store.name in due]
        results += verify(one, stores, reading)
    return results


def _reading(loaded: Environment, asked: Asked, tell: Tell) -> Reading:
    keys = identities(environments.identities(loaded)) if asked.decrypt else ()
    return Reading(SystemClock(), secrets.token_bytes, asked.share, keys, tell, _plain(loaded))


def _plain(loaded: Environment) -> PlainCopies:
    return PlainCopies({tree.name: tree for tree in trees_of(loaded)})


def audit_backups(environment: str, read: Read, tell: Tell) -> Report:
    """3-2-1-1-0 of every kind that the environment asks for, now; see ``Read`` for what is read back first."""
    loaded = environments.load(environment)
    plan, found = environments.audit_plan(loaded), catalog(environment)
    stores = [store for store in stores_of(loaded) if store.name not in found.away]
    reading = _reading(loaded, Asked(), tell)
    results = [one for backup in _to_read(found, plan, read) for one in verify(backup, stores, reading)]
    shown = with_verifications(found.backups, results)
    last = _to_read(replace(found, backups=tuple(shown)), plan, "newest")
    locks = locks_of(last, [one for one in stores if one.name in plan.immutable_places])
    return _measured(loaded, audit(shown, found.away, plan, SystemClock().now(), locks, found.breaks))


def _measured(loaded: Environment, report: Report) -> Report:
    """The report with what is found of drills, once monitoring has its numbers; with a warning more when they cannot be
    written."""
    report, of_drills = drill_records.audited(loaded, report)
    if (file := loaded.backup.metrics_file) is None:
        return report
    try:
        write_gauges(Path(environments.endpoint(loaded, file)), [*gauges(report), *of_drills])
    except Permanent as error:
        warning = Finding("warning", "", str(error).rstrip("."), "see that monitoring reads it")
        return replace(report, findings=(*report.findings, warning))
    return report


def measure(environment: str) -> str:
    """Bring the metrics of backups up to date, where the environment wants them; why not, or "". A backup that was
    taken is not lost by that."""
    if environments.load(environment).backup.metrics_file is None:
        return ""
    try:
        report = audit_backups(environment, "nothing", lambda size: None)
    except OnlyVipsError as error:
        return f"The metrics of backups were not brought up to date: {error}"
    return " ".join(one.what for one in report.findings if one.severity == "warning" and not one.kind)


def _to_read(found: Catalog, plan: AuditPlan, read: Read) -> list[Backup]:
    if read == "nothing":
        return []
    if read == "all":
        return [one for one in found.backups if one.manifest]
    return [one for kind in plan.every if (one := newest(found.backups, kind)) is not None]


def repair_backup(environment: str, id: str, holder: str) -> list[Repaired]:
    """Make every copy of one backup complete, from a good one. Raises Driven while backups of its kind are written."""
    loaded = environments.load(environment)
    found = catalog(environment)
    one = one_backup(environment, id, found)
    last = newest(found.backups, one.kind)
    with writing(loaded, one.kind, holder) as lease, lively(lease.progress) as alive:
        by = Repair(lease.acquire(holder), SystemClock(), alive, _plain(loaded), last is None or last == one)
        return repair(one, stores_of(loaded), by)
