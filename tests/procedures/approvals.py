"""Releases that wait for approvals, and the people who give them, on the platform in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onlyvips.core import approvals
from onlyvips.core.action import Action
from onlyvips.core.plan import Approvals, Stage
from onlyvips.core.record import Command, Record
from onlyvips.steps import approving, opening, records
from onlyvips.steps.opening import Start
from onlyvips.steps.rollout import Rollout
from tests.procedures.theatre import GOOD, PLAN, Process, Theatre

WITHIN = 300.0
EVERYWHERE = Approvals(before_traffic=True, stages=(50, 100), within=WITHIN)
ASKING = replace(PLAN, stages=(Stage(25, 10.0), Stage(50, 10.0)), approvals=EVERYWHERE)


class Asking(Process):
    """What the flow does besides: it gives up its lease while it waits for an approval before anything changes."""

    def _drive(self, rollout: Rollout, at_action: Callable[[Rollout, Action], None]) -> Record:
        start = Start(GOOD, "somebody", self.run, self.holder)
        while approving.waits(rollout.record(), self.site.plan, self.theatre.clock.now()):
            rollout.next()
            self.lease.release()
            approving.wait(self, self.theatre.clock, self.site.plan, rollout.release)
            rollout = self._patiently(lambda: opening.open_release(self.site, start))
        return super()._drive(rollout, at_action)


class Asked(Theatre):
    """The platform with people who may be asked."""

    def process(self, holder: str, run: str = "run-1") -> Process:
        """A new process."""
        return Asking(self, holder, run)

    def approve(self, by: str = "Ada", what: str = "") -> None:
        """A person approves what waits now, where something does."""
        found = records.find_open(self.cluster, "backend")
        one = approvals.pending(found.approvals) if found is not None else None
        if found is not None and one is not None:
            self.write(found, Command("approve", by, self.clock.now(), "looks good", what or one.what))

    def write(self, record: Record, command: Command) -> None:
        """What a person asks of the release."""
        records.command(self.cluster, record.id, command)

    def keep_approving(self, every: float = 20.0) -> None:
        """From now on somebody looks each so many seconds, and approves what waits."""

        def look() -> bool:
            record = records.find_open(self.cluster, "backend")
            one = approvals.pending(record.approvals) if record is not None else None
            known = {(command.name, command.what) for command in record.commands} if record is not None else set()
            if one is not None and ("approve", one.what) not in known:
                self.approve()
            return False

        self.clock.every(every, look)

    def assert_untouched(self) -> Record:
        """The newest release is closed as not approved, and nothing of the platform was changed."""
        record = self.record()
        assert (record.phase, record.result) == ("closed", "not-approved"), (record.phase, record.reason)
        assert record.id in self.evidence and self.backups == 0
        assert self.minimum() == 2 and self.route_writes == []
        self.assert_clean("v0.8.0")
        return record
