"""What each action of ``core.decide`` does to the world: fenced, idempotent, read back.

Each act may die on any line; run again it finds what is there and does the rest. It returns the record as it now is
and one sentence of what was read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from onlyvips.core import approvals, manifests
from onlyvips.core.action import Action
from onlyvips.core.colours import colour_name
from onlyvips.core.manifests import own_metadata
from onlyvips.core.phases import AWAITING
from onlyvips.core.plan import Strategy
from onlyvips.core.record import Record, Result
from onlyvips.errors import Permanent, Transient, UnknownOutcome
from onlyvips.steps import (
    acts_blue_green,
    acts_canary,
    acts_recreate,
    acts_rolling,
    charted,
    generations,
    keeping,
    pruning,
    records,
)
from onlyvips.steps.acting import delete_own, let_go
from onlyvips.steps.backing_up import in_turn
from onlyvips.steps.hooks import run_hook
from onlyvips.steps.migrate import migrate
from onlyvips.steps.observe import SCALER, scaler_of
from onlyvips.steps.tools import Done, Tools


def perform(tools: Tools, record: Record, action: Action) -> Done:
    """Do ``action``. Raises what the adapters raise; the caller decides what that means."""
    act = _COMMON.get(action.kind) or _OF[record.strategy][action.kind]
    return act(tools, record, action)


def _snapshot(tools: Tools, record: Record, _: Action) -> Done:
    """Keep what a rollback has to bring back, read once, before anything changes."""
    service, deployment = tools.plan.service, tools.plan.service.deployment
    if record.colours:
        deployment, other = (colour_name(service.deployment, colour) for colour in record.colours)
    named = {
        "Deployment": deployment,
        "Service": service.service,
        "HTTPRoute": service.route.name if service.route else "",
    }
    found = {kind: tools.cluster.get(kind, name) for kind, name in named.items() if name}
    if record.colours:
        found[acts_blue_green.PREVIOUS] = tools.cluster.get("Deployment", other)
    found[SCALER] = scaler_of(tools.cluster, deployment)
    name = f"onlyvips-release-{record.id}-snapshot"
    data = {kind: json.dumps(manifest, separators=(",", ":")) for kind, manifest in found.items() if manifest}
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    record = charted.pin(tools, record)
    tools.fence.create(manifests.object_of("ConfigMap", name, own, data=data, immutable=True))
    kept = keeping.keep(tools, record, (found["Deployment"] or {})["spec"]["template"])
    copies = "".join(f"; {one.kind} {one.name} as {one.copy}" for one in kept if one.copy != one.name)
    return replace(record, snapshot=name, kept=kept), f"kept {', '.join(data)} in ConfigMap {name}{copies}"


def _back_up(tools: Tools, record: Record, _: Action) -> Done:
    progress = _hearing(tools, record)

    def tell(why: str) -> None:
        if records.load(tools.cluster, record.id).waiting != why:
            records.save(tools.fence, record.waits("backup", why, tools.clock.now()))

    backup = in_turn(lambda: tools.back_up(record, progress), tools.clock, tools.plan.waits, progress, tell)
    return replace(record, backup=backup), f"backup {backup} is complete and was read back"


def _hearing(tools: Tools, record: Record) -> Callable[[], None]:
    """Progress that keeps the lease and hears an abort, to be called every few seconds: a backup may take hours.

    An API that is away for a moment does not cost them: nothing is written to it meanwhile.
    """

    def progress() -> None:
        with suppress(Transient, UnknownOutcome):
            tools.fence.progress()
            if (command := records.load(tools.cluster, record.id).aborted) is not None:
                raise Permanent(f"{command.by} asked for an abort: {command.reason or 'no reason given'}")

    return progress


def _remove_leftovers(tools: Tools, record: Record, action: Action) -> Done:
    for kind, name in (part.split("/") for part in action.what.split(",")):
        if kind == SCALER:
            tools.fence.patch(kind, name, let_go)
        else:
            delete_own(tools, record, kind, name)
    return record, f"gone: {action.what}"


def _write_evidence(tools: Tools, record: Record, _: Action) -> Done:
    kept = tools.keep_evidence(record)
    return replace(record, evidence=kept.key, evidence_at=kept.stores, page_at=kept.pages), kept.observed


def _enter(tools: Tools, record: Record, action: Action) -> Done:
    approved = record.phase == AWAITING and action.phase == "prepare"
    over = approvals.settled(record.approvals, tools.clock.now(), approved=approved)
    after = replace(record, phase=action.phase, reason=action.reason, approvals=over, waiting="")
    if action.phase == "evidence":
        results: dict[str, Result] = {"rollback": "rolled-back", AWAITING: "not-approved"}
        after = replace(after, result=results.get(record.phase, "promoted"))
    return after, f"phase {action.phase}"


def _ask_approval(tools: Tools, record: Record, action: Action) -> Done:
    asked = tools.plan.approvals
    assert asked is not None
    after = approvals.asked(record, action.what, tools.clock.now(), asked.within)
    return after, f"until {approvals.moment(after.approvals[-1].until)}"


def _note_approval(tools: Tools, record: Record, action: Action) -> Done:
    over = approvals.settled(record.approvals, tools.clock.now(), approved=True)
    return replace(record, approvals=over), f"approved {approvals.before(action.what)}"


def _close(_tools: Tools, record: Record, _: Action) -> Done:
    return replace(record, phase="closed"), f"closed: {record.result}"


_Acts = Mapping[str, Callable[[Tools, Record, Action], Done]]

_COMMON: _Acts = {
    "ask-approval": _ask_approval,
    "note-approval": _note_approval,
    "snapshot": _snapshot,
    "back-up": _back_up,
    "create-configs": generations.create_configs,
    "create-secrets": generations.create_secrets,
    "migrate": migrate,
    "run-hook": run_hook,
    "restore-configuration": keeping.put_back,
    "remove-leftovers": _remove_leftovers,
    "prune-configuration": pruning.prune,
    "write-evidence": _write_evidence,
    "enter": _enter,
    "close": _close,
}
_OF: Mapping[Strategy, _Acts] = {
    "canary": acts_canary.ACTS,
    "blue-green": acts_blue_green.ACTS,
    "rolling": acts_rolling.ACTS,
    "recreate": acts_recreate.ACTS,
}
