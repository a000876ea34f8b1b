"""The record of a release of several services: what is shared by all of them, and what was decided about them.

Each service has a release of its own (``core.record``) that names this one; it lives in a ConfigMap beside them. Frozen
values; ``to_json`` / ``from_json`` are exact inverses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from onlyvips.core import approvals
from onlyvips.core.hooks import HookRun
from onlyvips.core.images import named
from onlyvips.core.kept import Witness, witness_of
from onlyvips.core.record import Approval, Command, Result, Step, Told
from onlyvips.core.world import Together
from onlyvips.errors import Permanent

SCHEMA = 1


@dataclass(frozen=True)
class Group:
    """One release of ``services``, in the order in which they go forward. Times are unix seconds, for people.

    ``decision`` is about all of them at once; ``reason`` says why. ``contract``: the Job that later code cannot be
    taken back across, from the intent on. ``stuck``: members that cannot go back now, and why. ``witness``: what its
    hooks did to what pods read; ``left``: what of that was not put back. ``override``: why it begins outside of the
    release windows or in a freeze. ``waiting``: for what its driver waits.
    """

    id: str
    environment: str
    version: str
    operator: str
    plan_hash: str
    created: float
    services: tuple[str, ...]
    schema: int = SCHEMA
    decision: Together = "undecided"
    reason: str = ""
    backup: str = ""
    migration: str = ""
    contract: Literal["", "begun", "complete"] = ""
    hooks: tuple[HookRun, ...] = ()
    steps: tuple[Step, ...] = ()
    commands: tuple[Command, ...] = ()
    holders: tuple[str, ...] = ()
    evidence: str = ""
    evidence_at: tuple[str, ...] = ()
    closed: bool = False
    stuck: tuple[tuple[str, str], ...] = ()
    told: tuple[Told, ...] = ()
    witness: Witness = Witness()
    left: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    override: str = ""
    waiting: str = ""

    @property
    def open(self) -> bool:
        """True while somebody has to finish it."""
        return not self.closed

    @property
    def result(self) -> Result:
        """What became of it, once that is decided."""
        if self.decision == "failed" and self.approvals and self.approvals[-1].outcome != "approved":
            return "not-approved"
        return {"promoted": "promoted", "failed": "rolled-back"}.get(self.decision, "")  # type: ignore[return-value]

    @property
    def aborted(self) -> Command | None:
        """The first abort that was asked for."""
        return next((command for command in self.commands if command.name == "abort"), None)

    def member(self, service: str) -> str:
        """The id of the release of ``service`` in it: known before that is made, so that it is found after a death."""
        return f"{service}{self.id.removeprefix(PREFIX)}"

    @property
    def suffix(self) -> str:
        """What the ids of its members end with."""
        return self.id.rpartition("-")[2]

    def with_stuck(self, stuck: tuple[tuple[str, str], ...]) -> Group:
        """With the members that cannot go back now, and why."""
        return replace(self, stuck=stuck)

    def step(self, action: str, reason: str, at: float, observed: str) -> Group:
        """With one more act that was done."""
        return replace(self, steps=(*self.steps, Step(action, reason, at, at, observed)))


PREFIX = "all"
"""How the id of every release of several services begins."""


def identity(version: str, suffix: str) -> str:
    """The id of a new one."""
    return named(PREFIX, version, suffix)


def going_back(group: Group) -> Command | None:
    """What its members hear as an abort: a person's, or that one of them failed."""
    if group.decision == "promoted":
        return None
    if group.decision == "failed":
        return Command("abort", f"The release of all services {group.id}", group.created, group.reason)
    return group.aborted


def to_json(group: Group) -> str:
    """The record as compact JSON."""
    return json.dumps(vars(group), default=vars, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Group:
    """Parse what ``to_json`` wrote. Raises Permanent for another schema or a document that is not such a record."""
    try:
        data = json.loads(text)
        if (found := data.get("schema")) != SCHEMA:
            raise Permanent(f"This record has schema {found}, this program reads {SCHEMA}: use its version.")
        if unknown := set(data) - {each.name for each in fields(Group)}:
            raise ValueError(f"unknown keys {sorted(unknown)}")
        return Group(**{**data, **_parsed(data)})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Permanent(
            f"The record of a release of all services cannot be read ({error}): look at it, do not delete it."
        ) from error


def _parsed(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "services": tuple(data["services"]),
        "hooks": tuple(HookRun(**hook) for hook in data.get("hooks", ())),
        "steps": tuple(Step(**step) for step in data.get("steps", ())),
        "commands": tuple(Command(**command) for command in data.get("commands", ())),
        "holders": tuple(data.get("holders", ())),
        "evidence_at": tuple(data.get("evidence_at", ())),
        "told": (),  # kept beside the record, by who told it
        "stuck": tuple((service, why) for service, why in data.get("stuck", ())),
        "witness": witness_of(data.get("witness") or {}),
        "left": tuple(data.get("left", ())),
        "approvals": tuple(Approval(**one) for one in data.get("approvals", ())),
    }


def headline(group: Group) -> str:
    """One sentence: which release, where it stands, why."""
    name = f"Release {group.id}: {', '.join(group.services)} {group.version} in {group.environment}"
    if group.result == "not-approved":
        return f"{name} was not approved, and nothing of it was begun: {group.reason.rstrip('.')}"
    if group.decision == "undecided" and approvals.pending(group.approvals) is not None:
        return f"{name} waits for an approval, nothing was changed yet"
    if group.decision == "failed":
        kept = "".join(f"; {service} cannot yet: {why.rstrip('.')}" for service, why in group.stuck)
        kept += f"; not as before, for somebody changed it since: {_names(group.left)}" if group.left else ""
        return f"{name} {'is going' if group.open else 'went'} back as one: {group.reason.rstrip('.')}{kept}"
    if group.decision == "promoted":
        return f"{name} was promoted" if group.closed else f"{name} is promoted and not closed yet"
    waits = f": {group.waiting.rstrip('.')}" if group.waiting else ""
    return f"{name} is on its way, nothing is decided yet{waits}"


def _names(left: Sequence[str]) -> str:
    return ", ".join(key.replace("/", " ") for key in left)


def advice(group: Group) -> str:
    """What a person does next."""
    if group.closed and group.decision == "promoted":
        return "Nothing to do."
    if group.decision == "undecided" and (one := approvals.pending(group.approvals)) is not None:
        yes = approvals.command_of(group.environment, group.id, "--all", one)
        ends = f"`onlyvips release abort -e {group.environment} --all`"
        besides = approvals.so_far(one, group.commands, group.environment, "--all", group.version)
        return f"`{yes}` lets it go on, until {approvals.moment(one.until)}; {ends} ends it.{besides}"
    if group.closed and group.result == "not-approved":
        return "Nothing was changed: every service serves on what it served before. To have it, start it again."
    if group.closed:
        but = f", but for {_names(group.left)}: see the evidence of each" if group.left else ""
        return f"Every service serves on what it served before{but}. Put the cause right, then release again."
    if group.decision == "promoted":
        return (
            f"If nobody drives it: `onlyvips release start -e {group.environment} --all --version {group.version}` "
            f"goes on with it{', from the contract migration; nothing goes back any more' if group.contract else ''}."
        )
    return (
        f"Wait, or `onlyvips release abort -e {group.environment} --all`; if its driver is dead, `onlyvips release "
        f"reconcile -e {group.environment}` finishes it (a living one is left alone)."
    )


def summary(group: Group) -> dict[str, Any]:
    """The record for machines, with its sentences."""
    told = {"open": group.open, "result": group.result, "headline": headline(group), "advice": advice(group)}
    return {**asdict(group), **told}


def markdown(group: Group) -> str:
    """The living report of a release of all services."""
    rows = [f"| {one.action} | {one.reason} | {one.observed} |".replace("\n", " ") for one in group.steps]
    members = ", ".join(f"`{group.member(service)}`" for service in group.services)
    head = f"# All services {group.version} on {group.environment}\n\n{headline(group)}.\n\n{advice(group)}"
    if group.override:
        head += f"\n\nBegun outside of the release windows: {group.override}."
    return "\n".join([f"{head}\n\nIn order: {members}.\n", "| step | why | read back |", "| --- | --- | --- |", *rows])
