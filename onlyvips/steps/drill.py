"""A drill: the newest base with slices into a scratch database, read back against what the objects say, timed.

Nothing of it goes on in another process: what a drill that died left is removed by the next one, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from onlyvips.core.audit import whole
from onlyvips.core.catalog import Backup, by_kind
from onlyvips.core.drills import FAILED, PASSED, Begun, Compared, DrillPlan, DrillRecord, Used, is_scratch, scratch_name
from onlyvips.core.manifest import OPLOG, moment
from onlyvips.core.oplog_chain import best_chain
from onlyvips.core.redaction import hidden
from onlyvips.core.restore import RestorePlan, Wanted, check_server, plan_restore
from onlyvips.errors import OnlyVipsError, Refused
from onlyvips.ports import Clock
from onlyvips.ports.live import LiveDatabase
from onlyvips.ports.scratch import Scratch
from onlyvips.steps.expectation import Expectation, Sums, read_back
from onlyvips.steps.restore import restore
from onlyvips.steps.sound import Reader

_AT_MOST = 500
"""Characters of a foreign error in a record."""


@dataclass(frozen=True)
class Stage:
    """Where a drill happens. ``database`` is what the backups are of; ``live`` says who the live server is, None where
    it does not answer; ``alive`` is called between steps, what it raises ends the drill."""

    plan: DrillPlan
    database: str
    target: LiveDatabase
    scratch: Scratch
    reader: Reader
    clock: Clock
    live: dict[str, str] | None
    beside_live: bool
    alive: Callable[[], None] = lambda: None


def check_stage(stage: Stage) -> None:
    """Raise Refused where the scratch target is the live server and nobody said that this is meant."""
    live = stage.live
    if live is not None and stage.target.describe()["identity"] == live["identity"] and not stage.beside_live:
        raise Refused(
            "recovery.drill.target is the live server: nothing was changed; give another one, or write "
            "recovery.drill.beside_live: true where a database beside the live one is meant."
        )


@dataclass
class Rehearsal:
    """One drill, step by step: ``clear``, ``restore``, ``verify``, ``clean``; then ``record``. Each may be called again
    after it failed. What failed for good is told to ``fail``."""

    stage: Stage
    record: DrillRecord
    began: float
    plan: RestorePlan | None = None
    _reasons: list[str] = field(default_factory=list)
    _ended: DrillRecord | None = None

    @property
    def name(self) -> str:
        """Its scratch database."""
        return scratch_name(self.stage.plan.environment, self.record.id)

    @property
    def begun(self) -> Begun:
        """What is stored before it does anything."""
        one = self.record
        return Begun(one.id, one.environment, one.kind, one.operator, one.tool, one.at, one.started, self.name)

    def fail(self, why: str) -> None:
        """It did not pass, for this reason."""
        self._reasons.append(why)

    def clear(self) -> None:
        """Remove what drills that died have left: nobody else is at work, for one holds the lease."""
        check_stage(self.stage)
        environment, scratch = self.stage.plan.environment, self.stage.scratch
        for name in [one for one in scratch.databases() if is_scratch(environment, one) and one != self.name]:
            self.stage.alive()
            self._remove(name)
            self.record = replace(self.record, removed=(*self.record.removed, name))

    def _remove(self, name: str) -> None:
        """Drop a database, and see that it is gone; that it could not be is in the record."""
        others = tuple(one for one in self.record.left if one.partition(" ")[0] != name)
        self.record = replace(self.record, left=(*others, f"{name} (it was being removed)"))
        try:
            self.stage.scratch.drop(name)
            if name in self.stage.scratch.databases():
                raise Refused(f"{name} is still there after it was dropped.")
        except Exception as error:
            self.record = replace(self.record, left=(*others, f"{name} ({error_in_words(error)})"))
            raise
        self.record = replace(self.record, left=others)

    def restore(self, backups: Sequence[Backup], away: dict[str, str]) -> None:
        """Plan and restore, timed together; what an earlier attempt left is removed first."""
        self.stage.scratch.drop(self.name)
        self._measure_point(backups)
        began = self.stage.clock.monotonic()
        plan = self._planned(backups, away)
        check_server(plan, self.stage.target.describe(), self.stage.live)
        self.stage.alive()
        done = restore(plan, self.stage.target, self.stage.reader, self.stage.clock)
        took = self.stage.clock.monotonic() - began
        self.record = replace(
            self.record,
            documents=done.documents,
            entries=done.entries,
            recovery_time_ms=round(took * 1000),
            flaws=done.flaws,
        )
        self.plan = plan

    def _measure_point(self, backups: Sequence[Backup]) -> None:
        """How long before the beginning the newest moment is that the backups lead to."""
        kinds = by_kind(backups)
        best = best_chain(whole(kinds.get("mongodb", [])), whole(kinds.get(OPLOG, [])))
        if best is not None:
            ago = max(0.0, self.began - best.until)
            self.record = replace(self.record, recovery_point_ms=round(ago * 1000))

    def _planned(self, backups: Sequence[Backup], away: dict[str, str]) -> RestorePlan:
        """The plan, of a base and slices; a drill of a base alone would rehearse half of a restore."""
        names = (f"{self.stage.database}.*={self.name}.*",)
        plan = plan_restore(self.stage.plan.environment, backups, away, Wanted(self.record.at, names, sliced=True))
        slices = dict.fromkeys(one.manifest.prefix for one in plan.logs if one.manifest.kind == OPLOG)
        self.record = replace(
            self.record, base=plan.base.prefix, slices=tuple(slices), reached=plan.reached, size=plan.size
        )
        if not slices:
            raise Refused(
                f"No slice of the oplog leads on from the base {plan.base.id}-e{plan.base.epoch}, and a drill always "
                f"includes slices, and no older base has any that lead there: take one (onlyvips backup run -e "
                f"{plan.environment} --kind oplog), then run the drill again."
            )
        return plan

    def verify(self) -> None:
        """Read the scratch database again, and compare it with what the objects themselves say must be there."""
        assert self.plan is not None
        began = self.stage.clock.monotonic()
        expectation = Expectation(self.plan, self.stage.reader)
        expected = expectation.compute()
        self.stage.alive()
        found = read_back(self.plan, self.stage.target)
        took = self.stage.clock.monotonic() - began
        used = tuple(Used(name, count) for name, count in sorted(expectation.used.items()))
        compared = tuple(_compared(self.plan, expected, found))
        self.record = replace(self.record, compared=compared, used=used, verification_ms=round(took * 1000))
        if wrong := [one for one in compared if not one.equal]:
            told = "; ".join(
                f"{one.target} has {one.read_documents:,} documents with hash {one.read_hash}, and {one.documents:,} "
                f"with {one.hash} must be there"
                for one in wrong
            )
            self.fail(f"What was restored is not what the backups hold: {told}.")

    def clean(self) -> None:
        """Remove the scratch database, and see that it is gone; that it could not be is in its record."""
        with suppress(OnlyVipsError):
            self._remove(self.name)

    def ended(self) -> DrillRecord:
        """The record, as it is to be stored; asked for again it is the same."""
        if self._ended is None:
            reasons = tuple(self._reasons)
            if not reasons and (self.record.verification_ms is None or not self.record.compared):
                reasons = ("It ended before anything was compared.",)
            verdict, ended = FAILED if reasons else PASSED, moment(self.stage.clock.now())
            self._ended = self.record = replace(self.record, verdict=verdict, reasons=reasons, ended=ended)
        return self._ended


class Catalog(Protocol):
    """Every backup there is, and the destinations that could not be asked."""

    @property
    def backups(self) -> Sequence[Backup]: ...

    @property
    def away(self) -> dict[str, str]: ...


@contextmanager
def lifetime(drill: Rehearsal, keep: Callable[[DrillRecord], object]) -> Iterator[None]:
    """Whatever ends the block, Ctrl-C and a cancelled run too: the drill is cleaned up, its record kept with the
    reason, and it is raised again. ``keep`` does nothing for a record that is kept already."""
    try:
        yield
    except BaseException as error:
        drill.fail(error_in_words(error))
        try:
            with suppress(Exception):  # that it could not be removed is in the record
                drill.clean()
        finally:
            _keep(drill, keep, error)
        raise


def _keep(drill: Rehearsal, keep: Callable[[DrillRecord], object], error: BaseException) -> None:
    """Its record; what becomes of it, and what was left behind, is said with the error."""
    record = drill.ended()
    for name in record.left:
        error.add_note(f"It could not be removed from the scratch server: {name}")
    try:
        keep(record)
    except OnlyVipsError as also:
        error.add_note(f"The record of drill {record.id} could not be kept: {also}")
    else:
        error.add_note(
            f"Drill {record.id} is kept as one that {record.verdict}: {' '.join(record.reasons)}".rstrip(": ")
        )


def error_in_words(error: BaseException) -> str:
    """A sentence for the record; of what is no error of ours without what looks secret in it."""
    if isinstance(error, OnlyVipsError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "It was interrupted by a person (Ctrl-C)."
    told = hidden(" ".join(str(error).split())[:_AT_MOST], "", "")
    return f"It was ended by {type(error).__name__}{f': {told}' if told else ''}."


def rehearse(drill: Rehearsal, catalog: Callable[[], Catalog]) -> None:
    """All of one drill until it is cleaned up; what fails is told to it. What is no error of ours is raised."""
    try:
        drill.clear()
        found = catalog()
        drill.restore(found.backups, found.away)
        drill.verify()
    except OnlyVipsError as error:
        drill.fail(str(error))
    drill.clean()


def _compared(plan: RestorePlan, expected: Sums, found: Sums) -> list[Compared]:
    """Each collection that must be there or is there; what is not there has no documents and no hash."""
    sources = {one.target: one.source for one in plan.coming}
    nothing = (0, "")
    return [
        Compared(sources.get(name, ""), name, *expected.get(name, nothing), *found.get(name, nothing))
        for name in sorted({*expected, *found})
    ]
