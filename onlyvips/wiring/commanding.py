"""What people ask of a running release: answered first, then written beside its record, where its driver reads it."""

from __future__ import annotations

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.core import approvals, commands
from onlyvips.core.approvals import Answerer
from onlyvips.core.past import hurried
from onlyvips.core.phases import AWAITING
from onlyvips.core.record import Command, CommandName, Record
from onlyvips.errors import Driven, Refused
from onlyvips.steps import records

NOBODY = "Nobody drives it now: start the same version again to go on, or `onlyvips release reconcile` to finish it."

WAITER = "What waits for that hears it; where it does not (its run or its command was stopped), start it again."


def open_release(environment: str, service: str, what: str) -> Record:
    """The open release of ``service``. Raises Refused when there is none to ``what``."""
    cluster = wiring.cluster_of(wiring.check_service(environment, service))
    found = records.find_open(cluster, service)
    if found is None:
        raise Refused(f"No release of {service} is open in {environment}: there is nothing to {what}.")
    return records.load(cluster, found.id)


def ask(
    environment: str,
    service: str,
    name: CommandName,
    *,
    by: str,
    reason: str,
    release: str = "",
    before: str = "",
    proof: str = "",
) -> tuple[Record, str]:
    """Ask the open release of ``service`` for ``name``. Returns it as it is then and what becomes of it, in a sentence.
    ``proof`` says what proves who asks; "" where that is claimed.

    What would change nothing is said and not written. An approval is of what waits now; where ``release`` and
    ``before`` are given, of that alone. Raises Refused where none is open, or it cannot be done.
    """
    found = open_release(environment, service, name)
    loaded = environments.load(environment)
    who = Answerer(by, SystemClock().now(), release, before)
    plan = environments.release_plan(loaded, service, found.version)
    answer = commands.answer(found, hurried(plan) if found.target else plan, name, who)
    if answer.kind == "refuse":
        raise Refused(answer.sentence)
    if answer.kind == "nothing":
        return found, answer.sentence
    cluster = wiring.cluster_of(loaded)
    alone = "" if wiring.driver_of(cluster, found).holder else f" {NOBODY}"
    if found.phase == AWAITING:
        alone = f" {WAITER}"
    if name == "abort":  # of one of several services it is an abort of all
        return wiring.abort(environment, service, by=by, reason=reason), answer.sentence + alone
    what = waits.what if name == "approve" and (waits := approvals.pending(found.approvals)) else ""
    records.command(cluster, found.id, Command(name, by, who.now, reason, what, bool(proof), proof))
    return records.load(cluster, found.id), answer.sentence + alone


def go_back(environment: str, service: str, *, by: str, reason: str) -> tuple[Record, str]:
    """Abort the open release: by its driver where one lives, else here and now."""
    record, told = ask(environment, service, "abort", by=by, reason=reason)
    try:
        return wiring.reconcile(environment, service, holder=f"abort by {by}", attended=True)[0] or record, told
    except Driven as alive:
        return record, f"{alive} It goes back by itself."
