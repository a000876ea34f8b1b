"""One restore of an environment and a kind at a time, by a lease beside those of backups and drills (ADR 48)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core.manifest import moment
from onlyvips.errors import Driven, Fenced, OnlyVipsError
from onlyvips.steps.lease import CellLease, Wording
from onlyvips.steps.sound import Tell
from onlyvips.wiring.living import lively
from onlyvips.wiring.places import lease_cell
from onlyvips.wiring.restoring import Asked

_alive: dict[tuple[str, str], Callable[[], None]] = {}
_begun_here: dict[tuple[str, str], ExitStack] = {}


@contextmanager
def alone(asked: Asked, holder: str, tell: Tell) -> Iterator[str]:
    """Hold the lease while the block restores. The value is a sentence where it cannot be held, for its place does not
    answer: that may be what was lost, and nobody's rescue waits for it. Raises Driven while another run lives."""
    key = asked.environment, asked.kind
    lease, lacking = None, ""
    try:
        lease = _acquired(asked, holder, tell)
    except Driven:
        raise
    except OnlyVipsError as error:
        lacking = (
            f"The lease of restores could not be asked ({error}), so see by yourself that nobody else restores "
            f"{asked.kind} of {asked.environment} now."
        )
    with ExitStack() as stack:
        if lease is not None:
            stack.callback(lease.release)
            _alive[key] = stack.enter_context(lively(partial(_renewed, lease, f"{asked.kind} of {asked.environment}")))
            stack.callback(_alive.pop, key)
        yield lacking


def begin(asked: Asked, holder: str, tell: Tell) -> str:
    """As ``alone``, until ``end``."""
    with ExitStack() as stack:
        told = stack.enter_context(alone(asked, holder, tell))
        _begun_here[asked.environment, asked.kind] = stack.pop_all()
    return told


def end(asked: Asked) -> None:
    """Give up what ``begin`` took."""
    _begun_here.pop((asked.environment, asked.kind)).close()


def telling(asked: Asked, tell: Tell) -> Tell:
    """``tell``, which ends a run of this process that lost its lease to another one."""
    alive = _alive.get((asked.environment, asked.kind))

    def told(doing: str, size: int) -> None:
        if alive is not None:
            alive()
        tell(doing, size)

    return told


def _acquired(asked: Asked, holder: str, tell: Tell) -> CellLease:
    loaded = environments.load(asked.environment)
    plan, what, clock = environments.lease_plan(loaded), f"{asked.kind} of {loaded.name}", SystemClock()
    cell = lease_cell(loaded, f"restore-{asked.kind}")
    if (seen := cell.read()) is not None and seen.holder:
        tell(f"looking for {seen.duration:.0f} s whether {seen.holder} lives", 0)
    wording = Wording(
        does=f"restores {what}",
        thing=f"the restore of {what}",
        lost="{why}",
    )
    lease = CellLease(cell, clock, plan.duration, plan.patience, wording=wording)
    try:
        lease.acquire(f"{holder}, since {moment(clock.now())},")
    except Driven as error:
        raise Driven(
            f"{error} Look at that run and let it end, or end it (a run of Prefect is cancelled there: Ctrl-C only "
            f"stops following it); at most {plan.duration:.0f} s after its end the same command goes on where it was."
        ) from error
    return lease


def _renewed(lease: CellLease, what: str) -> None:
    """Raises Fenced alone: a place of leases that is away for a while ends no restore, the target tells runs apart."""
    try:
        lease.progress()
    except Fenced as error:
        raise Fenced(
            f"This run may no longer restore {what}: {error}. It stops; look at the other run before this one is run "
            "again, which goes on where it was."
        ) from error
    except OnlyVipsError:
        return
