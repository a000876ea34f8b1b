"""What people are told of approvals, of one service or of all: wanted, given, not given in time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onlyvips.core import approvals
from onlyvips.core.bulletin import News
from onlyvips.core.plan import Approvals
from onlyvips.core.record import Approval, Command


@dataclass(frozen=True)
class Ask:
    """Who asks for approvals, in people's words. ``whose`` is ``-s SERVICE`` or ``--all``, ``prefix`` that of keys;
    ``meanwhile``: who sees the new version now; ``otherwise``: what becomes of it without an answer; ``patience``: how
    many seconds after its deadline what was approved may still be gone on with, None while it has a driver."""

    name: str
    environment: str
    release: str
    version: str
    whose: str
    commands: Sequence[Command]
    rule: Approvals | None
    operator: str
    meanwhile: str
    otherwise: str
    prefix: str = ""
    patience: float | None = None

    @property
    def abort(self) -> str:
        """How it is ended."""
        return f"onlyvips release abort -e {self.environment} {self.whose}"


def waiting(ask: Ask, one: Approval, now: float, escalate_after: float) -> Iterator[News]:
    """That ``one`` is wanted, and that nobody answers; or that it was given, and nobody goes on with it."""
    counted = approvals.given(one, ask.commands, ask.rule, ask.operator)
    if approvals.granted(one, ask.commands, ask.rule, ask.operator):
        if ask.patience is not None and now - counted[-1].at >= escalate_after:
            yield _left_alone(ask, one, counted, ask.patience)
        return
    yield _wanted(ask, one, counted)
    if now - one.since >= escalate_after:
        yield _unanswered(ask, one, counted, now)


def _type_this(ask: Ask, one: Approval) -> str:
    return approvals.command_of(ask.environment, ask.release, ask.whose, one)


def _why(ask: Ask, one: Approval, counted: Sequence[Command]) -> str:
    return approvals.sentence(one, counted, ask.rule, _type_this(ask, one), ask.operator)


def _wanted(ask: Ask, one: Approval, counted: Sequence[Command]) -> News:
    return News(
        "approval-wanted",
        f"{ask.prefix}approval-wanted:approval:{one.since:.0f}",
        "warning",
        f"Approval wanted: {ask.name}",
        f"{_why(ask, one, counted)}.",
        f"It waits, and changes nothing. {ask.meanwhile}. Not approved until {approvals.moment(one.until)}, "
        f"{ask.otherwise}.",
        f"Decide: {_type_this(ask, one)} --reason WHY; to end it: {ask.abort}",
    )


def _unanswered(ask: Ask, one: Approval, counted: Sequence[Command], now: float) -> News:
    return News(
        "escalation",
        f"{ask.prefix}escalation:approval:{one.since:.0f}",
        "bad",
        f"Nobody answers: {ask.name}",
        f"For {max(1, round((now - one.since) / 60))} min: {_why(ask, one, counted)}.",
        f"It waits. {ask.meanwhile}. Not approved until {approvals.moment(one.until)}, {ask.otherwise}.",
        f"Find somebody who decides: {_type_this(ask, one)} --reason WHY; to end it: {ask.abort}",
    )


def _left_alone(ask: Ask, one: Approval, counted: Sequence[Command], patience: float) -> News:
    again = f"onlyvips release start -e {ask.environment} {ask.whose} --version {ask.version}"
    return News(
        "escalation",
        f"{ask.prefix}escalation:approved:{one.since:.0f}",
        "bad",
        f"Approved, and nobody goes on with it: {ask.name}",
        f"{approvals.names(counted)}; its run is gone, or was never resumed.",
        f"It waits, nothing was changed; at {approvals.moment(one.until + patience)} it is closed.",
        f"Start it again, or resume its run in Prefect: {again}; to end it: {ask.abort}",
    )


def settled(ask: Ask, one: Approval, closed: bool, why: str) -> Iterator[News]:
    """What came of ``one`` in the end; ``closed``: the release ended by it, with nothing changed."""
    before = approvals.before(one.what)
    if one.outcome == "approved":
        counted = [each for each in ask.commands if (each.name, each.what) == ("approve", one.what)]
        yield News(
            "approved",
            f"{ask.prefix}approved:{one.what}",
            "good",
            f"Approved {before}: {ask.name}",
            f"{approvals.names(counted) or 'Enough people approved'}.",
            "It goes on.",
            f"Nothing. To stop it: {ask.abort}",
        )
    elif one.outcome == "expired":
        status = f"onlyvips release status -e {ask.environment}"
        status += f" {ask.whose}" if ask.whose.startswith("-s") else ""
        yield News(
            "approval-expired",
            f"{ask.prefix}approval-expired:{one.what}",
            "bad",
            f"Not approved {before}: {ask.name}",
            f"Until {approvals.moment(one.until)} it was not approved: {why.rstrip('.')}.",
            "It was closed, nothing was changed." if closed else "It goes back.",
            f"To have it all the same, start it again; {status} shows where it is.",
        )
