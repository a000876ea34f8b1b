"""A release as its driver sees it: observe, decide, write the intent, act, read back, record.

``Rollout`` is Prefect-free: the flow's tasks, the command line and the reconciler all drive it.
"""

from __future__ import annotations

from dataclasses import replace

from onlyvips.core.action import Action
from onlyvips.core.decide import next_action
from onlyvips.core.phases import AWAITING
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Look, Record
from onlyvips.errors import Fenced, Permanent, Refused
from onlyvips.steps import acting, acts, charted, group_records, records, targets
from onlyvips.steps.deployed import Facts
from onlyvips.steps.looks import take_look
from onlyvips.steps.observe import SCALER, Observer, scaler_of
from onlyvips.steps.observe_blue_green import BlueGreenObserver
from onlyvips.steps.tools import Tools

_WITH_USERS = ("canary", "promote", "switch", "warm")
_UNRECORDED = ("enter", "next-stage", "close", "wait", "look")


class Rollout:
    """One release of one service, driven under one epoch. ``attended``: by its own driver, not by the reconciler."""

    def __init__(self, tools: Tools, release: str, *, attended: bool) -> None:
        self.tools, self.release, self.attended = tools, release, attended
        observer = BlueGreenObserver if tools.plan.blue_green else Observer
        self._observer = observer(tools.cluster, tools.clock, tools.plan)
        self._chart = charted.Watch()
        self._waiting, self._waiting_since = "", 0.0
        self._looked = tools.clock.monotonic()

    @property
    def plan(self) -> ReleasePlan:
        """The plan that it follows."""
        return self.tools.plan

    def record(self) -> Record:
        """The record as the cluster has it now."""
        return records.load(self.tools.cluster, self.release)

    def take_over(self, holder: str) -> None:
        """The first act of a driver: our epoch on every object that will be written, and our name in the record."""
        self.tools.fence.stamp("ConfigMap", records.config_map(self.release))
        record = self.record()
        if record.phase != AWAITING:  # nothing but the record is written until it is approved
            self._stamp()
        if record.open and holder not in record.holders:
            self._save(record.driven(holder))

    def _stamp(self) -> None:
        scalers = [scaler_of(self.tools.cluster, name) for name in targets.deployments(self.plan)]
        written = [(SCALER, found["metadata"]["name"]) for found in scalers if found is not None]
        for kind, name in (*targets.lasting(self.plan), *targets.passing(self.plan), *written):
            self.tools.fence.stamp(kind, name)

    def still(self, facts: Facts, override: str) -> None:
        """After a wait for an approval: what was approved is what would be replaced. Raises Refused where it is not."""
        record = self.record()
        if record.phase != AWAITING:
            return
        known = (record.from_image, record.from_release, record.from_template, record.colours)
        if (facts.image, facts.release, facts.template, facts.colours) != known:
            raise Refused(
                f"Release {self.release} was approved to replace {record.from_image}, and {record.service} was changed "
                f"meanwhile ({facts.image} now): nothing was changed; `onlyvips release abort -e {record.environment} "
                f"-s {record.service}`, then start it again, to be approved anew."
            )
        self._save(replace(record, capacity=facts.capacity, judged=facts.judged, override=override or record.override))

    def next(self) -> Action:
        """Look at the world and decide. Raises Fenced when this process no longer drives."""
        self.tools.fence.progress()
        record = self.record()
        self.tools.herald.look(record)
        waited = self._now() - self._waiting_since if self._waiting else 0.0
        world = self._observer.world(record, self._waiting, waited)
        together = group_records.decision(self.tools.cluster, record)
        world = replace(world, together=together, now=self.tools.clock.now())
        world = self._chart.add(world, self.tools, record, attended=self.attended)
        action = next_action(record, world, self.plan, attended=self.attended)
        if action.kind == "wait" and action.what != self._waiting:
            self._waiting, self._waiting_since = action.what, self._now()
        return action

    def perform(self, action: Action) -> str:
        """Do ``action``, return what was observed. What cannot be done before stable changes becomes a rollback."""
        if action.kind == "wait":
            return self._wait(action)
        self._waiting = ""  # only an act ends a wait: to have decided on one does not
        if action.kind == "look":
            return self._look()
        record = self.record()
        if record.aborted and record.phase not in ("rollback", "evidence") and not _goes_back(record, action):
            return "an abort was asked for: decided anew"
        try:
            return self._act(record, action)
        except Fenced:
            raise
        except Permanent as error:
            if record.phase == "together" and not self.attended:
                raise  # who lacks a right to see a hook knows nothing against the version that serves
            if (record.stable_replaced and record.phase != "roll") or record.phase in ("rollback", "evidence"):
                raise
            self._save(replace(self.record(), phase="rollback", reason=str(error), waiting=""))
            return f"going back: {error}"

    def _act(self, record: Record, action: Action) -> str:
        if record.phase == AWAITING and action.phase == "prepare":
            self._stamp()
        if action.kind not in _UNRECORDED:
            record = _with_intent(record, action, self.tools.clock.now())
            self._save(record)
        record, observed = acts.perform(self.tools, record, action)
        if action.kind not in _UNRECORDED:
            record = record.finish(observed, self.tools.clock.now())
        self._save(record)
        return observed

    def _save(self, record: Record) -> None:
        records.save(self.tools.fence, record)

    def _now(self) -> float:
        return self.tools.clock.monotonic()

    def _wait(self, action: Action) -> str:
        """Poll until the decision changes, for at most some 20 polls, so that a person sees it go on."""
        if (record := self.record()).waiting != action.reason:
            self._save(record.waits(action.what, action.reason, self.tools.clock.now()))
        for _ in range(20):
            self.tools.clock.sleep(self.plan.waits.poll)
            following = self.next()
            if (following.kind, following.what) != (action.kind, action.what):
                return f"over: {following.reason}"
            self._look_meanwhile()
        return f"still waiting: {following.reason}"

    def _look_meanwhile(self) -> None:
        """A canary that has traffic is judged while something is waited for, too; that time counts for no stage."""
        if self._now() - self._looked < self.plan.waits.look:
            return
        self._looked, record = self._now(), self.record()
        shown = (
            record.phase in _WITH_USERS
            and (record.weight > 0 or (self.plan.service.by_pods and record.canary_scaled > 0))
            and not record.stable_replaced
        )
        if shown or (record.phase == "roll" and record.replaced and record.judged):
            self._judge(self._with_window(record), elapsed=0.0)

    def _judge(self, record: Record, elapsed: float) -> Look:
        look = take_look(self.tools.metrics, self.plan, record, at=self.tools.clock.now(), elapsed=elapsed)
        self._save(record.watched(look))
        return look

    def _look(self) -> str:
        """Watch for one interval, then judge; whatever else is due by then (an abort, dead pods) ends the watching."""
        began = self._now()
        while (elapsed := self._now() - began) < self.plan.waits.look:
            if (following := self.next()).kind != "look":
                return following.reason if _asked(following) else self._broken_off(following.reason, elapsed)
            self.tools.clock.sleep(min(self.plan.waits.poll, self.plan.waits.look - elapsed))
        self._looked = self._now()
        look = self._judge(self._with_window(self.record()), elapsed=self._looked - began)
        return f"{look.verdict}: {look.reason}"

    def _broken_off(self, why: str, elapsed: float) -> str:
        """A look that saw nothing counts as one, so that a canary whose pods come and go is not held for ever."""
        record, reason = self.record(), f"broken off: {why}"
        look = Look(self.tools.clock.now(), record.stage, record.weight, elapsed, "error", reason)
        self._save(record.watched(look))
        return reason

    def _with_window(self, record: Record) -> Record:
        """A stage that began while the metrics system was away is counted from the first look that reaches it."""
        if record.stage_since:
            return record
        return replace(record, stage_since=acting.metrics_time(self.tools))


def _goes_back(record: Record, action: Action) -> bool:
    """Of a release that waits for an approval nothing is there that had to go back."""
    return action.phase == "rollback" or (record.phase == AWAITING and action.phase == "evidence")


def _asked(action: Action) -> bool:
    """A person's hold or "promote now" ends a look; that speaks neither for the canary nor against it."""
    return action.what == "held" or action.phase == "promote"


def _with_intent(record: Record, action: Action, at: float) -> Record:
    record = record.intend(action.title, action.reason, at)
    if action.kind in ("set-weight", "switch"):
        record = replace(record, intended_weight=action.number)
    if action.kind in ("replace-stable", "retire"):
        record = replace(record, stable_replaced=True)
    return record
