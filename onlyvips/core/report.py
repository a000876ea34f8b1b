"""A release told to people: lines for a terminal, Markdown for the Prefect UI, a summary for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from onlyvips.core import approvals, commands
from onlyvips.core.images import short
from onlyvips.core.phases import AWAITING, BEFORE_TRAFFIC, forward_of, phases_of
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import NOT_UP, Approval, Command, Driver, Look, Record, Step

_ENDS = {"promoted": "was promoted", "rolled-back": "was rolled back", "not-approved": "was not approved"}


def clock_time(at: float) -> str:
    """Hours, minutes and seconds of a moment, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def headline(record: Record) -> str:
    """One sentence: which release, where it stands, why."""
    version = f"{record.version}{short(record.digest)}"
    name = f"Release {record.id}: {record.service} {version} in {record.environment}"
    if record.result:
        why = f": {record.reason.rstrip('.')}" if record.result != "promoted" else ""
        return f"{name} {_ENDS[record.result]}{why}"
    if not record.open:
        return f"{name} was closed by hand"
    if record.phase == AWAITING:
        return f"{name} waits for an approval, nothing was changed yet"
    at = f", canary at {record.weight} %" if record.strategy == "canary" else ""
    return f"{name} is in phase {record.phase}{at}" + (
        f", going back: {record.reason.rstrip('.')}" if record.phase == "rollback" else ""
    )


def advice(record: Record) -> str:
    """What a person does next."""
    if record.result == "promoted" or not (record.open or record.result):
        return "Nothing to do."
    if record.result == "rolled-back":
        return f"{_serves(record)} Put the cause right, then release again."
    where = f"-e {record.environment} -s {record.service}"
    if record.result == "not-approved":
        return f"Nothing was changed: {record.service} serves on {record.from_image}. To have it, start it again."
    if (wanted := approvals.pending(record.approvals)) is not None and record.open and record.phase != "rollback":
        yes = approvals.command_of(record.environment, record.id, f"-s {record.service}", wanted)
        besides = approvals.so_far(wanted, record.commands, record.environment, f"-s {record.service}", record.asked)
        until = approvals.moment(wanted.until)
        return f"`{yes}` lets it go on, until {until}; `onlyvips release abort {where}` ends it.{besides}"
    if commands.standing(record).held is not None and record.phase not in ("rollback", "evidence"):
        return f"`onlyvips release resume {where}` lets it go on, `onlyvips release abort {where}` takes it back."
    return (
        f"Wait, or `onlyvips release abort {where}`; if its driver is dead, `onlyvips release reconcile {where}` "
        "finishes it (a living one is left alone)."
    )


def _serves(record: Record) -> str:
    if NOT_UP in record.reason:
        return f"{record.service} has {record.from_image} again, and not all of its pods are up: look at them."
    changed = "stable" in record.reason or "the Deployment" in record.reason
    if changed and "somebody" in record.reason and not record.aborted:
        return f"What {record.service} serves on was changed by somebody: look at its Deployment."
    return f"{record.service} serves on {record.from_image}."


def driver(record: Record, found: Driver) -> str:
    """Who drives an open release, as far as its Lease can say: one that was killed stands there too."""
    if record.phase == AWAITING and not found.holder:
        return "Driver: none, and none is needed while it waits for an approval."
    if not found.holder:
        return "Driver: none: nobody drives it."
    moment = found.renewed.replace("T", " ").partition(".")[0].removesuffix("Z")
    return (
        f"Driver: {found.holder}, its Lease last renewed {moment.rpartition(' ')[2] or 'never'} UTC. If that is long "
        f"ago, `onlyvips release reconcile -e {record.environment}` watches the Lease to be sure that it is dead, and "
        "leaves a living driver alone."
    )


def progress(record: Record, plan: ReleasePlan) -> float:
    """How far the release is, in percent, by phases and stages; for a progress bar."""
    if not record.open:
        return 100.0
    if record.phase in ("rollback", "evidence"):
        return 95.0
    if record.phase == "canary":
        return 25.0 + 50.0 * record.stage / len(plan.stages)
    if record.phase in (AWAITING, *BEFORE_TRAFFIC):
        return {"awaiting-approval": 1.0, "prepare": 2.0, "backup": 5.0, "secrets": 15.0}.get(record.phase, 20.0)
    forward = (*forward_of(record.strategy), "together")
    return 25.0 + 70.0 * forward.index(record.phase) / len(forward)


def step_line(step: Step) -> str:
    """One act for a terminal."""
    return (
        f"{clock_time(step.intended)}  {step.action:<28} {step.observed or 'begun'}{tried(step.tries)}  ({step.reason})"
    )


def tried(tries: int) -> str:
    """How often an act was begun, where that was more than once."""
    return f", tried {tries} times" if tries > 1 else ""


def look_line(look: Look) -> str:
    """One look for a terminal."""
    return f"{clock_time(look.at)}  look at {look.weight} %: {look.verdict:<14} {look.reason}"


def lines(record: Record, steps_told: int, looks_told: int) -> list[str]:
    """What is new in the record since that many finished steps and looks were told, in order of time."""
    finished = [step for step in record.steps if step.done is not None]
    fresh = [(step.done or 0.0, step_line(step)) for step in finished[steps_told:]]
    fresh += [(look.at, look_line(look)) for look in record.looks[looks_told:]]
    return [line for _, line in sorted(fresh)]


def command_line(command: Command) -> str:
    """What a person asked, for a terminal."""
    who = approvals.who(command.by, command.proven, command.proof)
    what = f"{command.name} {command.what}".strip()
    return f"{clock_time(command.at)}  {what:<28} asked for by {who}: {command.reason or 'no reason given'}"


def waiting(record: Record) -> str:
    """What an open release waits for, empty when it does not."""
    return f"waiting: {record.waiting}" if record.waiting and record.open else ""


def summary(record: Record) -> dict[str, Any]:
    """The record for machines, with its sentences and the alpha spent so far."""
    spent = sum(look.spent for look in record.looks)
    told = {"open": record.open, "headline": headline(record), "advice": advice(record), "alpha_spent": spent}
    return {**asdict(record), **told}


def markdown(record: Record, plan: ReleasePlan) -> str:
    """The living report of a release."""
    first = (AWAITING,) if any(one.what == approvals.TRAFFIC for one in record.approvals) else ()
    every = (*first, *phases_of(record.strategy))
    phases = " → ".join(f"**{phase}**" if phase == record.phase else phase for phase in every)
    shares = _shares(record, plan) if record.strategy == "canary" else ""
    parts = [
        f"# {record.service} {record.version} on {record.environment}\n\n{headline(record)}.\n\n{advice(record)}",
        f"{phases}\n\n{shares}{waiting(record)}".rstrip(),
        _table(("time", "weight", "verdict", "what was seen"), [_look_row(look) for look in record.looks]),
        _table(("time", "asked for", "by", "why"), [_command_row(command) for command in record.commands]),
        _table(("approval", "wanted", "until", "outcome"), [_approval_row(one) for one in record.approvals]),
        _table(("time", "step", "why", "read back"), [_step_row(step) for step in record.steps]),
        f"From `{record.from_image}` to `{record.to_image}`, by {record.operator}. "
        f"Backup: `{record.backup or 'none yet'}`. Evidence: `{record.evidence or 'at the end'}`"
        + (f" in {', '.join(record.evidence_at)}." if record.evidence_at else ".")
        + (f" Begun outside of the release windows: {record.override}." if record.override else ""),
    ]
    return "\n\n".join(part for part in parts if part)


def _shares(record: Record, plan: ReleasePlan) -> str:
    stages = ", ".join(f"{stage.weight} % for {stage.hold:g} s" for stage in plan.stages)
    return f"Stages: {stages}. Canary now at **{record.weight} %** of requests. "


def _look_row(look: Look) -> tuple[str, ...]:
    return clock_time(look.at), f"{look.weight} %", look.verdict, look.reason


def _command_row(command: Command) -> tuple[str, ...]:
    who = approvals.who(command.by, command.proven, command.proof)
    return clock_time(command.at), f"{command.name} {command.what}".strip(), who, command.reason


def _approval_row(one: Approval) -> tuple[str, ...]:
    return approvals.before(one.what), clock_time(one.since), approvals.moment(one.until), one.outcome or "waiting"


def _step_row(step: Step) -> tuple[str, ...]:
    return clock_time(step.intended), step.action, step.reason, f"{step.observed or '…'}{tried(step.tries)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in row)} |" for row in cells)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
