"""What people ask of a running release, and what it means: derived from the ordered commands alone. Pure.

An abort beats every other command. A later hold ends an earlier "promote now" and the other way round; a resume ends a
hold. A command that comes too early, too late or twice is answered, not obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onlyvips.core import approvals
from onlyvips.core.action import Action, enter, wait
from onlyvips.core.answer import Answer
from onlyvips.core.approvals import Answerer
from onlyvips.core.phases import AWAITING, BEFORE_TRAFFIC, Phase
from onlyvips.core.plan import ReleasePlan, Strategy
from onlyvips.core.record import Command, CommandName, Record
from onlyvips.core.spans import span
from onlyvips.core.world import World

_HOLDS: Mapping[Strategy, tuple[Phase, ...]] = {
    "canary": (*BEFORE_TRAFFIC, "canary", "promote"),
    "blue-green": (*BEFORE_TRAFFIC, "preview", "switch", "warm"),
}
_HURRIES: Mapping[Strategy, tuple[Phase, ...]] = {"canary": ("canary",), "blue-green": ("warm",)}


_NOBODY = Answerer("", 0.0)


@dataclass(frozen=True)
class Standing:
    """What stands of all that was asked: the command that aborts, holds, or wants the promotion now."""

    aborted: Command | None = None
    held: Command | None = None
    promoting: Command | None = None


def standing(record: Record) -> Standing:
    """What stands, in the order in which it was asked. Nothing but the abort stands beside an abort."""
    if record.aborted:
        return Standing(aborted=record.aborted)
    held: Command | None = None
    promoting: Command | None = None
    for command in record.commands:
        if command.name == "hold":
            held, promoting = held or command, None
        elif command.name == "resume":
            held = None
        elif command.name == "promote":
            held, promoting = None, promoting or command
    return Standing(None, held, promoting)


def told(command: Command) -> str:
    """``Ada: looks odd``."""
    return f"{command.by}: {command.reason or 'no reason given'}"


def held(record: Record, world: World, plan: ReleasePlan) -> Action | None:
    """The wait of a release that a person holds, or its way back once the hold outlasted its limit; None when nobody
    does. A strategy asks this before each step forward; looks go on while it waits."""
    command = standing(record).held
    if command is None:
        return None
    limit = plan.waits.hold_limit or plan.waits.maximum_hold
    if world.waiting == "held" and world.waited >= limit:
        return enter("rollback", f"held by {told(command)}; nobody resumed it within {span(limit)}")
    return wait("held", f"held by {told(command)}")


def hurried(record: Record) -> str:
    """Why the remaining holds are skipped, empty when nobody asked for it."""
    command = standing(record).promoting
    return f"promote now was asked for by {told(command)}" if command else ""


def answer(record: Record, plan: ReleasePlan, name: CommandName, who: Answerer = _NOBODY) -> Answer:
    """What becomes of ``name`` as the release stands now, in one sentence for who asks; ``who`` matters to an approval
    alone."""
    if not record.open or record.phase == "evidence":
        return Answer("refuse", f"Release {record.id} is over: there is nothing to {name}.")
    if name != "abort" and (record.phase == "rollback" or record.aborted):
        return Answer("refuse", f"Release {record.id} is going back, and nothing stops that: {name} was not noted.")
    if name == "approve":
        waits = approvals.pending(record.approvals)
        return approvals.answer(record.id, waits, record.commands, plan.approvals, record.operator, who)
    if record.phase == AWAITING and name != "abort":
        told = f"Release {record.id} waits for an approval, and nothing of it has begun"
        return Answer("refuse", f"{told}: {name} was not noted; approve it, or abort it.")
    return _ANSWERS[name](record, plan)


def _abort(record: Record, _: ReleasePlan) -> Answer:
    if record.aborted:
        return Answer("nothing", f"Release {record.id} was aborted already by {told(record.aborted)}.")
    return Answer("do", f"Release {record.id} goes back.")


def _hold(record: Record, plan: ReleasePlan) -> Answer:
    if record.phase not in _HOLDS.get(record.strategy, ()):
        why = f"a release by {record.strategy} cannot be held in phase {record.phase}"
        return Answer("refuse", f"{_capital(why)}: nothing was noted; `onlyvips release abort` takes it back.")
    if record.stable_replaced:
        return Answer(
            "refuse",
            f"Release {record.id} is past its last hold, stable gets the new version: nothing was noted; `onlyvips "
            "release abort` takes it back.",
        )
    if (command := standing(record).held) is not None:
        return Answer("nothing", f"Release {record.id} is held already by {told(command)}.")
    limit = span(plan.waits.hold_limit or plan.waits.maximum_hold)
    where = "before it gets any traffic" if record.phase in BEFORE_TRAFFIC else f"at {record.weight} %"
    return Answer(
        "do",
        f"Release {record.id} is held {where}: looks go on and a failing one still rolls back; not resumed within "
        f"{limit}, it goes back.",
    )


def _resume(record: Record, _: ReleasePlan) -> Answer:
    if standing(record).held is None:
        return Answer("nothing", f"Release {record.id} is not held by anybody: there is nothing to resume.")
    return Answer("do", f"Release {record.id} goes on.")


def _promote(record: Record, plan: ReleasePlan) -> Answer:
    if record.phase in BEFORE_TRAFFIC:
        return Answer(
            "refuse",
            f"Release {record.id} has no traffic yet (phase {record.phase}), so nobody has looked at the new version: "
            "nothing was noted; ask again once its first stage has begun.",
        )
    if record.phase == "promote" and record.strategy == "canary":
        return Answer("nothing", f"Release {record.id} is being promoted already.")
    if record.phase not in _HURRIES.get(record.strategy, ()):
        why = f"a release by {record.strategy} has nothing to skip in phase {record.phase}"
        return Answer("refuse", f"{_capital(why)}: nothing was noted.")
    if (command := standing(record).promoting) is not None:
        return Answer("nothing", f"Promotion of release {record.id} was asked for already by {told(command)}.")
    stops = approvals.ahead(record, plan) if record.strategy == "canary" else ""
    approval = f" It still waits for the approval {approvals.before(stops)}." if stops else ""
    return Answer(
        "do",
        f"Release {record.id} skips its remaining holds once a look at the stage that it is in passes: a failing look "
        f"still rolls back, and no pod gets traffic before it is ready.{approval}",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_ANSWERS: Mapping[CommandName, Callable[[Record, ReleasePlan], Answer]] = {
    "abort": _abort,
    "hold": _hold,
    "resume": _resume,
    "promote": _promote,
}
