"""The record of a release: the one versioned document that lives in the cluster and says what was meant and done.

Everything that decides (the flow, the command line, the reconciler) reads it; it is written before and after each act.
Frozen values; ``to_json`` / ``from_json`` are exact inverses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from onlyvips.core.hooks import HookRun
from onlyvips.core.images import digest_of, with_digest
from onlyvips.core.kept import Kept, Witness, witness_of
from onlyvips.core.phases import Phase
from onlyvips.core.plan import Strategy
from onlyvips.core.referred import Renamed
from onlyvips.errors import Permanent

SCHEMA = 1
NOT_UP = "are up, and no more came in time: look at its pods"
"""How the reason of a release ends that went back to pods that do not come."""
_TOLD_LOOKS, _NUMBERED_LOOKS = 200, 300
_FIRST_AND_LAST = (1, 50)

Result = Literal["", "promoted", "rolled-back", "not-approved"]
CommandName = Literal["abort", "hold", "resume", "promote", "approve"]
Verdict = Literal["pass", "fail", "too-few", "no-data", "error"]


@dataclass(frozen=True)
class Against:
    """Stable beside a canary's value: its ``total`` requests and ``share``, by how much the canary is worse (within
    ``low`` and ``high`` at 95 %), ``p`` of "no worse than the margin", and how far pods differ (``spread``, 1 for no
    more than chance)."""

    total: int
    share: float
    effect: float
    low: float
    high: float
    p: float
    spread: float
    pods: int


@dataclass(frozen=True)
class Value:
    """One metric at one look: ``bad`` of ``total`` requests, the share, its lower bound and the threshold.

    Compared with stable (``against``), ``threshold`` is the margin; of latency, ``share`` is P(the canary is slower).
    """

    name: str
    bad: int
    total: int
    share: float
    lower_bound: float
    threshold: float
    alpha: float
    verdict: Verdict
    reason: str
    against: Against | None = None


@dataclass(frozen=True)
class Look:
    """One observation of the judge. ``elapsed`` is seconds of the stage it covers; ``spent`` the alpha that it spent,
    over all metrics: a look that could not ask spends none. Of an old one the ``values`` are gone."""

    at: float
    stage: int
    weight: int
    elapsed: float
    verdict: Verdict
    reason: str
    values: tuple[Value, ...] = ()
    spent: float = 0.0

    @property
    def judged(self) -> bool:
        """True when it gave a verdict on something, whether its values are still there or not."""
        return bool(self.values) or self.spent > 0


@dataclass(frozen=True)
class Step:
    """One act: the intent is written before it, ``done`` and ``observed`` after it was read back; ``intended`` is the
    first of its ``tries``."""

    action: str
    reason: str
    intended: float
    done: float | None = None
    observed: str = ""
    tries: int = 1


@dataclass(frozen=True)
class Command:
    """What a person asked of a running release. Who it was is claimed, unless an authenticating proxy proved it, which
    ``proof`` names; ``what``: what is approved."""

    name: CommandName
    by: str
    at: float
    reason: str
    what: str = ""
    proven: bool = False
    proof: str = ""


@dataclass(frozen=True)
class Approval:
    """One that was wanted, of ``what`` (see ``core.approvals``), from ``since`` to ``until``; ``outcome`` and ``ended``
    once that wait is over."""

    what: str
    since: float
    until: float
    outcome: Literal["", "approved", "expired", "overtaken"] = ""
    ended: float = 0.0


@dataclass(frozen=True)
class Told:
    """News, by its key, that ``target`` was given; ``failed`` says why it did not take it, "" when it did."""

    news: str
    target: str
    at: float
    failed: str = ""


@dataclass(frozen=True)
class Record:
    """One release of one service. Times are unix seconds, for people; ``weight`` is the canary's, in percent.

    ``weight`` was last read back; ``intended_weight`` was written before the route was asked for it. ``stage_since``
    and ``canary_since`` are moments on the metrics system's own clock. ``evidence`` is a key, ``evidence_at`` names the
    stores that have it, ``page_at`` those that have its page. ``waiting`` says for what, while it waits;
    ``waiting_for`` is that wait's short name, ``waiting_since`` its beginning. In place (rolling, recreate)
    ``canary_template`` is the new version's, ``rolled`` the most pods of it that were up for a whole propagation;
    ``judged``: the metrics know the service.
    ``target``: the ConfigMap with the Deployment whose template a rollback to an earlier release brings.
    ``group`` is the release of all services that it is a part of.
    In blue-green the "canary" is the other colour: ``colours`` names the one that users were on and the other,
    ``tested`` says what its smoke tests found.
    Where Helm owns the Deployment, ``chart_revision`` is what a rollback brings back, with fingerprints of the
    Deployment in it and of all its other objects.
    ``kept`` is what the old version's pods read by name, ``left`` what of it was not put back on the way back.
    """

    id: str
    environment: str
    service: str
    version: str
    from_image: str
    to_image: str
    from_release: str
    operator: str
    plan_hash: str
    capacity: int
    created: float
    schema: int = SCHEMA
    phase: Phase = "prepare"
    stage: int = 0
    weight: int = 0
    intended_weight: int = 0
    stage_since: float = 0.0
    canary_since: float = 0.0
    stable_replaced: bool = False
    canary_scaled: int = 0
    snapshot: str = ""
    backup: str = ""
    secrets: tuple[tuple[str, str], ...] = ()
    configs: tuple[tuple[str, str], ...] = ()
    migration: str = ""
    looks: tuple[Look, ...] = ()
    steps: tuple[Step, ...] = ()
    commands: tuple[Command, ...] = ()
    result: Result = ""
    reason: str = ""
    evidence: str = ""
    evidence_at: tuple[str, ...] = ()
    from_template: str = ""
    canary_template: str = ""
    waiting: str = ""
    strategy: Strategy = "canary"
    override: str = ""
    target: str = ""
    rolled: int = 0
    judged: bool = True
    group: str = ""
    hooks: tuple[HookRun, ...] = ()
    colours: tuple[str, ...] = ()
    tested: str = ""
    holders: tuple[str, ...] = field(default=())
    waiting_for: str = ""
    waiting_since: float = 0.0
    told: tuple[Told, ...] = ()
    page_at: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    chart_revision: int = 0
    chart_own: str = ""
    chart_others: str = ""
    kept: tuple[Kept, ...] = ()
    witness: Witness = Witness()
    left: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """True while somebody has to finish it."""
        return self.phase != "closed"

    @property
    def digest(self) -> str:
        """That of the image that it brings, "" where that is named by its tag alone."""
        return digest_of(self.to_image)

    @property
    def asked(self) -> str:
        """The version as it was asked for: with the digest, where it has one."""
        return with_digest(self.version, self.digest)

    @property
    def renamed(self) -> Renamed:
        """Names of Secrets and ConfigMaps that the new version refers to, in the place of old ones."""
        return {"Secret": dict(self.secrets), "ConfigMap": dict(self.configs)}

    def did(self, action: str) -> bool:
        """Whether the act of this title was done."""
        return any(step.action == action and step.done is not None for step in self.steps)

    @property
    def replaced(self) -> bool:
        """True once stable was seen with the new template; ``stable_replaced`` is true from the intent on."""
        return any(step.action == "replace stable" and step.done is not None for step in self.steps)

    @property
    def aborted(self) -> Command | None:
        """The first abort that was asked for."""
        return next((command for command in self.commands if command.name == "abort"), None)

    def watched(self, look: Look) -> Record:
        """With one more look. Of old ones the sentences go, of still older ones the values: a ConfigMap holds 1 MiB."""
        old, recent = self.looks[:-_TOLD_LOOKS], self.looks[-_TOLD_LOOKS:]
        waiting = "" if look.elapsed else self.waiting  # a look while it waits covers no time of a stage
        return replace(self, looks=(*_without_values([*map(_brief, old), *recent]), look), waiting=waiting)

    def driven(self, holder: str) -> Record:
        """With one more driver."""
        return replace(self, holders=with_holder(self.holders, holder))

    def waits(self, what: str, reason: str, at: float) -> Record:
        """With what it waits for; the same wait goes on from when it began."""
        since = self.waiting_since if self.waiting and self.waiting_for == what else at
        return replace(self, waiting=reason, waiting_for=what, waiting_since=since)

    def intend(self, action: str, reason: str, at: float) -> Record:
        """With the intent of ``action`` written down. One that is tried again stays one step: what is asked for hours
        must not fill the record."""
        step, before = Step(action, reason, at), self.steps
        if before and before[-1].done is None and before[-1].action == action:
            step, before = replace(before[-1], reason=reason, tries=before[-1].tries + 1), before[:-1]
        return replace(self, steps=(*before, step), waiting="")

    def finish(self, observed: str, at: float) -> Record:
        """With the last intent marked as done and what was read back."""
        *before, last = self.steps
        return replace(self, steps=(*before, replace(last, done=at, observed=observed)))


def _brief(look: Look) -> Look:
    return replace(look, reason="", values=tuple(replace(value, reason="") for value in look.values))


def _without_values(looks: Sequence[Look]) -> list[Look]:
    """The newest that have values keep them; those that saw nothing do not count: the next look is held against the
    newest values, however old."""
    valued = [number for number, look in enumerate(looks) if look.values]
    drop = set(valued[:-_NUMBERED_LOOKS])
    return [replace(look, values=()) if number in drop else look for number, look in enumerate(looks)]


def with_holder(holders: tuple[str, ...], holder: str) -> tuple[str, ...]:
    """One more driver: the first one stays, and the last ones; a release may be killed any number of times."""
    first, last = _FIRST_AND_LAST
    every = (*holders, holder)
    return (*every[:first], *every[first:][-last:])


def abort_reason(record: Record) -> str:
    """Who asked for an abort and why, in one sentence; empty when nobody did."""
    command = record.aborted
    return f"{command.by} asked for an abort: {command.reason or 'no reason given'}" if command else ""


@dataclass(frozen=True)
class Driver:
    """Who drives a release as its Lease says, and when it was renewed last (RFC 3339, by the driver's clock)."""

    holder: str
    renewed: str


def to_json(record: Record) -> str:
    """The record as compact JSON."""
    return json.dumps(vars(record), default=vars, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Record:
    """Parse what ``to_json`` wrote. Raises Permanent for another schema or a document that is not a record."""
    try:
        data = json.loads(text)
        if (found := data.get("schema")) != SCHEMA:
            raise Permanent(f"This release record has schema {found}, this program reads {SCHEMA}: use its version.")
        return _record(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Permanent(f"The release record cannot be read ({error}): look at it, do not delete it.") from error


def _value(data: dict[str, Any]) -> Value:
    against = data.get("against")
    return Value(**{**data, "against": Against(**against) if against else None})


def _record(data: dict[str, Any]) -> Record:
    known = {each.name for each in fields(Record)}
    if unknown := set(data) - known:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    looks = tuple(Look(**{**look, "values": tuple(map(_value, look["values"]))}) for look in data["looks"])
    return Record(
        **{
            **data,
            "looks": looks,
            "steps": tuple(Step(**step) for step in data["steps"]),
            "commands": tuple(Command(**command) for command in data["commands"]),
            "secrets": tuple((old, new) for old, new in data["secrets"]),
            "configs": tuple((old, new) for old, new in data.get("configs", ())),
            "hooks": tuple(HookRun(**hook) for hook in data.get("hooks", ())),
            "holders": tuple(data["holders"]),
            "evidence_at": tuple(data.get("evidence_at", ())),
            "page_at": tuple(data.get("page_at", ())),
            "told": tuple(Told(**told) for told in data.get("told", ())),
            "colours": tuple(data.get("colours", ())),
            "approvals": tuple(Approval(**one) for one in data.get("approvals", ())),
            "kept": tuple(Kept(**one) for one in data.get("kept", ())),
            "witness": witness_of(data.get("witness") or {}),
            "left": tuple(data.get("left", ())),
        }
    )
