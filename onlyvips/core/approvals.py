"""Approvals: what waits for one, who gave it, and what becomes of a wait that nobody answers. Pure.

The driver writes down that one is wanted, for what and until when; people answer by commands that name the same
release and the same point. Who approved is claimed, unless an authenticating proxy proved it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from onlyvips.core.action import Action, enter, wait
from onlyvips.core.answer import Answer
from onlyvips.core.plan import Approvals, ReleasePlan
from onlyvips.core.record import Approval, Command, Record, abort_reason
from onlyvips.core.spans import span
from onlyvips.core.world import World

TRAFFIC, SWITCH, PROMOTION = "traffic", "switch", "promotion"
WAIT = "approval"
"""The short name of the wait."""
_ANYBODY = Approvals()


@dataclass(frozen=True)
class Answerer:
    """Who approves and when; ``release`` and ``point``, where given, are what is meant and nothing else."""

    by: str
    now: float
    release: str = ""
    point: str = ""


def point_of(weight: int) -> str:
    """The point before a stage of ``weight`` percent."""
    return PROMOTION if weight == 100 else str(weight)


def before(point: str) -> str:
    """For people."""
    if point.isdigit():
        return f"before {point} % of requests"
    return {TRAFFIC: "before anything changes", SWITCH: "before the switch"}.get(point, f"before the {point}")


def wanted(plan: ReleasePlan, point: str) -> bool:
    """Whether the environment wants an approval at ``point``."""
    asked = plan.approvals
    if asked is None:
        return False
    if point in (TRAFFIC, SWITCH):
        return asked.before_traffic if point == TRAFFIC else asked.before_switch
    return any(point_of(weight) == point for weight in asked.stages)


def points(plan: ReleasePlan) -> list[str]:
    """Where this release will want approvals, in order."""
    by_strategy = {
        "canary": [*(point_of(stage.weight) for stage in plan.stages), PROMOTION],
        "blue-green": [SWITCH],
    }
    return [one for one in (TRAFFIC, *by_strategy.get(plan.service.strategy, [])) if wanted(plan, one)]


def ahead(record: Record, plan: ReleasePlan) -> str:
    """The next point of a canary that wants an approval and has none, "" where there is none."""
    left = [point_of(stage.weight) for stage in plan.stages[record.stage :]]
    missing = [one for one in (*left, PROMOTION) if wanted(plan, one) and not _has(record, one)]
    return missing[0] if missing else ""


def _has(record: Record, point: str) -> bool:
    return any(one.what == point and one.outcome == "approved" for one in record.approvals)


def pending(approvals: Sequence[Approval]) -> Approval | None:
    """What waits for an approval."""
    return approvals[-1] if approvals and not approvals[-1].outcome else None


def beginning(plan_approvals: Approvals | None, now: float) -> tuple[Approval, ...]:
    """What a new release begins with: the wait before anything changes, where the environment wants one."""
    if plan_approvals is None or not plan_approvals.before_traffic:
        return ()
    return (Approval(TRAFFIC, now, now + plan_approvals.within),)


def given(one: Approval, commands: Sequence[Command], asked: Approvals | None, operator: str) -> tuple[Command, ...]:
    """The approvals that count, one a person: in time, of this very point, by somebody who may."""
    asked = asked or _ANYBODY
    found = dict[str, Command]()
    for command in commands:
        fits = command.name == "approve" and command.what == one.what and command.at <= one.until
        if fits and not _may_not(asked, command.by, operator):
            found.setdefault(_who(command.by), command)
    return tuple(found.values())


def _who(by: str) -> str:
    return by.strip().casefold()


def _may_not(asked: Approvals, by: str, operator: str) -> str:
    """Why ``by`` may not approve, "" where that is fine."""
    if asked.by and _who(by) not in map(_who, asked.by):
        return f"{by} is not among those who may approve ({', '.join(asked.by)})"
    if asked.four_eyes and _who(by) == _who(operator):
        return f"{by} started it, and another person has to approve"
    return ""


def granted(one: Approval, commands: Sequence[Command], asked: Approvals | None, operator: str) -> bool:
    """Whether enough people approved."""
    return len(given(one, commands, asked, operator)) >= (asked or _ANYBODY).at_least


def names(commands: Sequence[Command]) -> str:
    """``Ada (claimed): looks good; Bob (proven by …): …``."""
    return "; ".join(f"{who(one.by, one.proven, one.proof)}: {one.reason or 'no reason given'}" for one in commands)


def who(by: str, proven: bool, proof: str) -> str:
    """Who asked for something, and how that is known."""
    known = (f" (proven by {proof})" if proof else "") if proven else " (claimed)"
    return f"{by}{known}"


def moment(at: float) -> str:
    """A moment for people, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def command_of(environment: str, release: str, whose: str, one: Approval) -> str:
    """What a person types; ``whose`` is ``-s SERVICE`` or ``--all``."""
    return f"onlyvips release approve -e {environment} {whose} --release {release} --before {one.what}"


def so_far(one: Approval, commands: Sequence[Command], environment: str, whose: str, version: str) -> str:
    """What a person has to know besides, of one before anything changes that somebody approved already; else ""."""
    found = [each for each in commands if (each.name, each.what) == ("approve", one.what)]
    if one.what != TRAFFIC or not found:
        return ""
    again = f"`onlyvips release start -e {environment} {whose} --version {version}`"
    return f" Approved by {names(found)}: if that is enough and no run goes on with it, {again} does."


def sentence(one: Approval, counted: Sequence[Command], asked: Approvals | None, type_this: str, operator: str) -> str:
    """What waits, from whom, since when, until when, and the command to type. It stays the same while nothing
    happens."""
    asked = asked or _ANYBODY
    so_far = f" ({len(counted)} of {asked.at_least} given)" if asked.at_least > 1 else ""
    who = f" by {' or '.join(asked.by)}" if asked.by else ""
    who += f" (not by {operator}, who started it)" if asked.four_eyes else ""
    return (
        f"an approval{who} {before(one.what)} is wanted{so_far}, since {moment(one.since)}, until {moment(one.until)}: "
        f"`{type_this} --reason WHY`"
    )


def expired(one: Approval, counted: Sequence[Command], asked: Approvals | None) -> str:
    """Why it ended."""
    asked, within = asked or _ANYBODY, span(one.until - one.since)
    if len(counted) >= asked.at_least:
        return f"approved by {names(counted)}, and nobody went on with it in time"
    if counted:
        return f"only {len(counted)} of {asked.at_least} approvals {before(one.what)} were given within {within}"
    return f"nobody approved it {before(one.what)} within {within}"


def _mine(record: Record, one: Approval, plan: ReleasePlan) -> tuple[Command, ...]:
    return given(one, record.commands, plan.approvals, record.operator)


def told(record: Record, one: Approval, plan: ReleasePlan) -> str:
    """The sentence of a release of one service."""
    type_this = command_of(record.environment, record.id, f"-s {record.service}", one)
    return sentence(one, _mine(record, one, plan), plan.approvals, type_this, record.operator)


def gate(record: Record, world: World, plan: ReleasePlan, point: str) -> Action | None:
    """What comes before a step that wants an approval; None when it may be done."""
    if not wanted(plan, point) or _has(record, point):
        return None
    one = pending(record.approvals)
    if one is None or one.what != point:
        return Action("ask-approval", f"the environment wants one {before(point)}", what=point)
    counted = _mine(record, one, plan)
    if granted(one, record.commands, plan.approvals, record.operator):
        return Action("note-approval", names(counted), what=point)
    if world.now >= one.until:
        return enter("rollback", expired(one, counted, plan.approvals))
    return wait(WAIT, told(record, one, plan))


def before_anything(record: Record, world: World, plan: ReleasePlan, attended: bool) -> Action:
    """The next act of a release that waits for an approval before anything changes: nothing has to go back."""
    if record.aborted:
        return enter("evidence", abort_reason(record))
    one = pending(record.approvals)
    if one is None:
        return enter("prepare", "no approval is wanted any more")
    counted = _mine(record, one, plan)
    if granted(one, record.commands, plan.approvals, record.operator):
        if attended:
            return enter("prepare", f"approved by {names(counted)}")
        if world.now < one.until + plan.waits.maximum_hold:
            return wait(WAIT, f"approved by {names(counted)}: who starts it again goes on with it")
        return enter("evidence", expired(one, counted, plan.approvals))
    if world.now >= one.until:
        return enter("evidence", expired(one, counted, plan.approvals))
    return wait(WAIT, told(record, one, plan))


def rests(record: Record, plan: ReleasePlan, now: float) -> bool:
    """Whether a reconciler has nothing to do for it: it waits for people, by right without a driver."""
    if record.phase != "awaiting-approval":
        return False
    return before_anything(record, World(None, None, None, now=now), plan, attended=False).kind == "wait"


def asked(record: Record, point: str, now: float, within: float) -> Record:
    """With one more approval that is wanted."""
    return replace(record, approvals=(*record.approvals, Approval(point, now, now + within)))


def settled(approvals: tuple[Approval, ...], now: float, *, approved: bool) -> tuple[Approval, ...]:
    """With the wait that is over: approved, or expired, or overtaken by something else before its time."""
    one = pending(approvals)
    if one is None:
        return approvals
    if approved:
        return (*approvals[:-1], replace(one, outcome="approved", ended=now))
    return (*approvals[:-1], replace(one, outcome="expired" if now >= one.until else "overtaken", ended=now))


def answer(
    name: str, one: Approval | None, commands: Sequence[Command], plan: Approvals | None, operator: str, who: Answerer
) -> Answer:
    """What becomes of an approval by ``who`` of the release ``name``."""
    if who.release and who.release != name:
        return Answer("refuse", f"The approval is for release {who.release}, and {name} waits: nothing was noted.")
    if one is None:
        return Answer("refuse", f"Release {name} waits for no approval: nothing was noted.")
    if who.point and who.point != one.what:
        told = f"The approval is for {before(who.point)}, and release {name} wants one {before(one.what)}"
        return Answer("refuse", f"{told}: nothing was noted.")
    counted = given(one, commands, plan, operator)
    mine = [command for command in counted if _who(command.by) == _who(who.by)]
    if mine or granted(one, commands, plan, operator):
        return Answer("nothing", f"Release {name} was approved {before(one.what)} already by {names(mine or counted)}.")
    if who.now >= one.until:
        return Answer("refuse", f"The time to approve release {name} ended at {moment(one.until)}: nothing was noted.")
    if why := _may_not(plan or _ANYBODY, who.by, operator):
        return Answer("refuse", f"{why[:1].upper()}{why[1:]}: nothing was noted.")
    more = (plan or _ANYBODY).at_least - len(counted) - 1
    left = f"; it wants {more} more, by other people, until {moment(one.until)}" if more > 0 else " and goes on"
    return Answer("do", f"Release {name} is approved {before(one.what)}{left}.")
