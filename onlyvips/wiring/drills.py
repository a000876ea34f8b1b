"""Drills of an environment: those that this process does, one at a time, and what they leave behind them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.memory_python import passing_by_what_is_loaded
from onlyvips.adapters.scratch_mongodb import MongoScratch
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core import drills
from onlyvips.core.drills import DrillRecord
from onlyvips.core.manifest import moment
from onlyvips.environment import Environment
from onlyvips.errors import Misuse, Refused, Transient
from onlyvips.steps import drill as steps
from onlyvips.steps.backup import TOOL
from onlyvips.steps.drill import Rehearsal, Stage, check_stage
from onlyvips.steps.drill_records import KeptRecord, keep_begun, keep_record
from onlyvips.steps.lease import CellLease, Wording
from onlyvips.steps.several import Stopped, stoppable
from onlyvips.steps.signature import Signer, signer
from onlyvips.steps.sound import Reader, Tell
from onlyvips.steps.verify import identities
from onlyvips.wiring.backups import catalog
from onlyvips.wiring.living import lively
from onlyvips.wiring.places import lease_cell, stores_of
from onlyvips.wiring.restoring import mongodb

KINDS = ("mongodb",)
"""Kinds that are rehearsed."""


@dataclass
class _Running:
    loaded: Environment
    rehearsal: Rehearsal
    signer: Signer
    stopping: threading.Event = field(default_factory=threading.Event)
    kept: KeptRecord | None = None


_running: dict[str, _Running] = {}
_begun_here: dict[str, ExitStack] = {}


def check(environment: str, kind: str, at: str) -> Environment:
    """The environment. Raises Refused for what can be refused without asking anybody."""
    loaded = environments.load(environment)
    if kind not in KINDS:
        raise Refused(f"Restores of kind `{kind}` are not rehearsed yet ({', '.join(KINDS)} is): nothing was done.")
    drills.check_at(at)
    if loaded.recovery.drill.target is None:
        raise Refused(
            f"{environment} names no scratch target (recovery.drill.target): nothing was done; docs/runbooks/drill.md "
            "says how to set drills up."
        )
    return loaded


@contextmanager
def rehearsing(environment: str, kind: str, at: str, holder: str, tell: Tell) -> Iterator[str]:
    """Hold the lease of the environment's drills while the block does one, whose id is the value."""
    loaded = check(environment, kind, at)
    key = _signer(loaded)
    identities(environments.identities(loaded))
    stopping = threading.Event()
    with _lease(loaded, holder) as lease, lively(lease.progress) as alive:

        def living() -> None:
            if stopping.is_set():
                raise Stopped("It was told to stop.")
            alive()

        def told(doing: str, size: int) -> None:
            living()
            tell(doing, size)

        stage = _stage(loaded, told)
        if stage.live is not None:
            _early(stage)
        began = SystemClock().now()
        rehearsal = Rehearsal(replace(stage, alive=living), _record(loaded, kind, at, holder, began), began)
        keep_begun(rehearsal.begun, key, stores_of(loaded))
        id = rehearsal.record.id
        _running[id] = _Running(loaded, rehearsal, key, stopping)
        try:
            with steps.lifetime(rehearsal, lambda _: keep(id)):
                yield id
        finally:
            del _running[id]


def begin(environment: str, kind: str, at: str, holder: str, tell: Tell) -> str:
    """As ``rehearsing``, until ``end``."""
    with ExitStack() as stack:
        id = stack.enter_context(rehearsing(environment, kind, at, holder, tell))
        _begun_here[id] = stack.pop_all()
    return id


def end(id: str, error: BaseException | None = None) -> None:
    """The end of what ``begin`` began, where ``error`` is what ended it: as if it had been raised in the block."""
    _begun_here.pop(id).__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def clear(id: str) -> tuple[str, ...]:
    """Remove what drills that died have left; returns the names of it."""
    found = _one(id)
    stoppable(found.rehearsal.clear, found.stopping)
    return found.rehearsal.record.removed


def restore(id: str) -> DrillRecord:
    """Plan and restore into the scratch database. The record as it is by then."""
    found = _one(id)
    backups = catalog(found.loaded.name)
    with passing_by_what_is_loaded():
        stoppable(lambda: found.rehearsal.restore(backups.backups, backups.away), found.stopping)
    return found.rehearsal.record


def verify(id: str) -> DrillRecord:
    """Read the scratch database again, and compare. The record as it is by then."""
    found = _one(id)
    stoppable(found.rehearsal.verify, found.stopping)
    return found.rehearsal.record


def fail(id: str, why: str) -> None:
    """It did not pass, for this reason."""
    _one(id).rehearsal.fail(why)


def clean(id: str) -> tuple[str, ...]:
    """Remove the scratch database; returns what could not be removed."""
    found = _one(id).rehearsal
    found.clean()
    return found.record.left


def keep(id: str) -> tuple[DrillRecord, KeptRecord]:
    """Sign the record and store it at every destination, once. Raises Transient when none took it."""
    found = _one(id)
    record = found.rehearsal.ended()
    if found.kept is None:
        found.kept = keep_record(record, found.signer, stores_of(found.loaded))
    return record, found.kept


def run(id: str) -> tuple[DrillRecord, KeptRecord]:
    """All of it."""
    found = _one(id)
    with passing_by_what_is_loaded():
        stoppable(lambda: steps.rehearse(found.rehearsal, lambda: catalog(found.loaded.name)), found.stopping)
    return keep(id)


# --- how


def _one(id: str) -> _Running:
    if id not in _running:
        raise Misuse(f"Drill {id} is not done by this process.")
    return _running[id]


def _early(stage: Stage) -> None:
    """Refuse the live server before anything else; that the target does not answer now is for the drill to find out."""
    try:
        check_stage(stage)
    except Transient:
        return


def _signer(loaded: Environment) -> Signer:
    reference = loaded.recovery.drill.signing_key
    assert reference is not None
    found = signer(environments.resolve(loaded, reference).get_secret_value())
    if found.public not in environments.drill_keys(loaded):
        raise Refused(
            f"The signing key's public half, {found.public}, is not in recovery.drill.public_keys, so nobody would "
            f"believe the record: nothing was done; add it to the file of {loaded.name}."
        )
    return found


def _stage(loaded: Environment, tell: Tell) -> Stage:
    drill, plan = loaded.recovery.drill, environments.backup_plan(loaded)
    assert drill.target is not None
    database = MongoDatabase(environments.endpoint(loaded, drill.target), writes=True)
    keys = identities(environments.identities(loaded))
    return Stage(
        plan=environments.drill_plan(loaded),
        database=plan.database,
        target=MongoTarget(database),
        scratch=MongoScratch(database),
        reader=Reader({one.name: one for one in stores_of(loaded)}, keys, tell, plan.workers),
        clock=SystemClock(),
        live=mongodb.live(loaded),
        beside_live=drill.beside_live,
    )


def _record(loaded: Environment, kind: str, at: str, holder: str, began: float) -> DrillRecord:
    """What is known of it as it begins."""
    plan, when = environments.drill_plan(loaded), moment(began)
    return DrillRecord(
        id=drills.id_of(began, secrets.token_bytes(4)),
        environment=loaded.name,
        kind=kind,
        operator=holder,
        tool=TOOL,
        at=at,
        started=when,
        ended=when,
        verdict=drills.FAILED,
        reasons=("It has not ended.",),
        rto_ms=round(plan.rto * 1000),
        rpo_ms=round(plan.rpo * 1000),
    )


@contextmanager
def _lease(loaded: Environment, holder: str) -> Iterator[CellLease]:
    """One drill of an environment at a time, so that what is left of another one is of a dead one."""
    plan, what = environments.lease_plan(loaded), f"drills of {loaded.name}"
    wording = Wording(
        does=f"does {what}",
        thing=what,
        lost=f"This run may no longer do {what}: {{why}}. Start it again.",
    )
    lease = CellLease(lease_cell(loaded, "drill"), SystemClock(), plan.duration, plan.patience, wording=wording)
    lease.acquire(holder)
    try:
        yield lease
    finally:
        lease.release()
