"""What people are told of a release: derived from its record alone, so that whoever reads it next tells the same.

Each piece of news has a key that stays the same however often the record is read. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from onlyvips.core import approval_news, approvals, report
from onlyvips.core.approval_news import Ask
from onlyvips.core.bulletin import News, outside
from onlyvips.core.phases import AWAITING
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Look, Record, Told

_HOLDS = ("drift", "gone", "held")
"""Waits that only a person ends. The others end by themselves, however long they are meant to be; on the way back one
that lasts is told all the same."""
_NO_DATA = "no-data"
_BLIND = 2
"""Looks in a row without data that are worth a message: one may be a late scrape."""


@dataclass(frozen=True)
class Pause:
    """Something that a person has to answer: ``what`` in short, since when, why, and how they answer."""

    what: str
    since: float
    why: str
    answer: str


def news(record: Record, plan: ReleasePlan, now: float, escalate_after: float) -> tuple[News, ...]:
    """All that the record has to tell now, in order; ``escalate_after`` seconds make an unanswered pause one more.

    What was overtaken is left out: a pause that is over, a way back that is done.
    """
    return tuple(_all(record, plan, now, escalate_after))


class Telling(Protocol):
    """A record that says what was told."""

    @property
    def told(self) -> tuple[Told, ...]: ...


def untold(found: Iterable[News], record: Telling, target: str) -> list[News]:
    """Those that ``target`` was not given yet, as the record knows."""
    given = {one.news for one in record.told if one.target == target and not one.failed}
    return [one for one in found if one.key not in given]


def _all(record: Record, plan: ReleasePlan, now: float, escalate_after: float) -> Iterator[News]:
    yield _started(record)
    yield from (_passed(record, plan, number) for number in range(_stages_passed(record, plan)))
    ask = _ask(record, plan)
    for each in record.approvals:
        yield from approval_news.settled(ask, each, record.result == "not-approved", record.reason)
    if record.result:
        yield from () if _expired_before_all(record) else (_over(record),)
        return
    if record.phase == "rollback":
        yield _going_back(record)
    elif not record.aborted and (one := approvals.pending(record.approvals)) is not None:
        yield from approval_news.waiting(ask, one, now, escalate_after)
    for pause in _pauses(record):
        answered = pause.what in (*_HOLDS, _NO_DATA)
        if answered:
            yield _paused(record, pause)
        if (answered or record.phase == "rollback") and now - pause.since >= escalate_after:
            yield _escalated(record, pause, now)


def _name(record: Record) -> str:
    return f"{record.service} {record.version} in {record.environment}"


def _where(record: Record) -> str:
    return f"-e {record.environment} -s {record.service}"


def _exposed(record: Record) -> str:
    """Who sees the new version."""
    if record.strategy == "canary":
        return f"The canary has {record.weight} % of requests"
    return f"By {record.strategy}, some or all requests may reach {record.to_image}"


def _ask(record: Record, plan: ReleasePlan) -> Ask:
    first = record.phase == AWAITING
    return Ask(
        name=_name(record),
        environment=record.environment,
        release=record.id,
        version=record.asked,
        whose=f"-s {record.service}",
        commands=record.commands,
        rule=plan.approvals,
        operator=record.operator,
        meanwhile="Nothing was changed yet" if first else _exposed(record),
        otherwise="it is closed with nothing changed" if first else "it goes back by itself",
        patience=plan.waits.maximum_hold if first else None,
    )


def _started(record: Record) -> News:
    return News(
        "started",
        "started",
        "info",
        f"Release of {_name(record)} started",
        f"{record.operator} asked for {record.to_image}; {record.from_image} serves on {record.capacity} pods."
        f"{outside(record.override)}",
        f"It checked what could be refused, and drives release {record.id}: nothing reached users yet.",
        f"Nothing. To stop it: onlyvips release abort {_where(record)}",
    )


def _stages_passed(record: Record, plan: ReleasePlan) -> int:
    return len(plan.stages) if record.phase == "promote" or record.result == "promoted" else record.stage


def _passed(record: Record, plan: ReleasePlan, number: int) -> News:
    stage, total = plan.stages[min(number, len(plan.stages) - 1)], len(plan.stages)
    looks = [look for look in record.looks if look.stage == number and look.verdict == "pass"]
    seen = looks[-1].reason if looks and looks[-1].reason else f"{len(looks)} looks passed"
    following = "it is promoted next" if number + 1 >= total else f"next is {plan.stages[number + 1].weight} %"
    return News(
        "stage-passed",
        f"stage-{number + 1}-passed",
        "good",
        f"Stage {number + 1} of {total} passed: {_name(record)}",
        f"{stage.weight} % of requests for {stage.hold:g} s: {seen}.",
        f"It goes on: {following}.",
        f"Nothing. To stop it: onlyvips release abort {_where(record)}",
    )


def _expired_before_all(record: Record) -> bool:
    """Then that it expired says all."""
    return record.result == "not-approved" and record.approvals[-1].outcome == "expired"


def _over(record: Record) -> News:
    good = record.result == "promoted"
    return News(
        "promoted" if good else "rolled-back",
        record.result,
        "good" if good else "bad",
        f"{_ENDS[record.result]}: {_name(record)}",
        f"{report.headline(record)}.",
        f"{record.service} runs {record.to_image if good else 'what it ran before'}; what only the release needed is "
        "gone, and the evidence is written next.",
        report.advice(record),
    )


_ENDS = {"promoted": "Promoted", "rolled-back": "Rolled back", "not-approved": "Ended before anything changed"}


def _going_back(record: Record) -> News:
    return News(
        "going-back",
        "going-back",
        "bad",
        f"Going back: {_name(record)}",
        f"{record.reason.rstrip('.')}.",
        f"{_exposed(record)}; it goes back to what is healthy, as its pods can carry the requests.",
        f"Wait for the message that it is rolled back; onlyvips release status {_where(record)} shows how far it is.",
    )


def _pauses(record: Record) -> Iterator[Pause]:
    if record.waiting and record.waiting_since and record.waiting_for != approvals.WAIT:
        verb = {"held": "resume"}.get(record.waiting_for, "status")
        answer = f"onlyvips release {verb} {_where(record)}"
        yield Pause(record.waiting_for, record.waiting_since, record.waiting.rstrip("."), answer)
    blind = _blind(record.looks)
    if record.phase not in ("rollback", "evidence", "closed") and len(blind) >= _BLIND:
        why = f"{len(blind)} looks in a row saw nothing to judge by: {blind[-1].reason or blind[-1].verdict}"
        todo = "bring the metrics back"
        yield Pause(_NO_DATA, blind[0].at, why.rstrip("."), todo)


def _blind(looks: Sequence[Look]) -> list[Look]:
    """The newest looks in a row of one stage that saw no data, oldest first."""
    found: list[Look] = []
    for look in reversed(looks):
        if look.verdict not in ("no-data", "error") or (found and look.stage != found[-1].stage):
            break
        found.append(look)
    return found[::-1]


def _paused(record: Record, pause: Pause) -> News:
    return News(
        "held",
        f"held:{pause.what}:{pause.since:.0f}",
        "warning",
        f"Held: {_name(record)}",
        f"{pause.why}.",
        f"It waits, and changes nothing. {_exposed(record)}. Without an answer it goes back by itself.",
        f"Put it right: {pause.answer}; to go back: onlyvips release abort {_where(record)}",
    )


def _escalated(record: Record, pause: Pause, now: float) -> News:
    return News(
        "escalation",
        f"escalation:{pause.what}:{pause.since:.0f}",
        "bad",
        f"Nobody answers: {_name(record)}",
        f"For {max(1, round((now - pause.since) / 60))} min: {pause.why}.",
        f"It waits, in phase {record.phase}. {_exposed(record)}.",
        f"Find somebody who acts on it: {pause.answer}; to go back: onlyvips release abort {_where(record)}",
    )
