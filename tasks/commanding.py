"""The verbs of commands to a running release for Prefect: asked once, answered in a sentence."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from onlyvips.core import group as groups
from onlyvips.core import report
from onlyvips.core.record import CommandName
from onlyvips.errors import Refused
from onlyvips.wiring import approving as waiting
from onlyvips.wiring import commanding, several
from tasks import approving
from tasks.policies import rollout_task


@rollout_task(name="ask", task_run_name="{action} {service}")
def ask(
    environment: str, service: str, action: CommandName, by: str, reason: str, release: str = "", before: str = ""
) -> dict[str, Any]:
    """Write the command down, or finish an abort that nobody drives; what it answers is logged."""
    who = by or f"prefect run {flow_run.name}"
    if not service:
        return _ask_all(environment, action, who, reason, release, before)
    if action == "abort":
        record, sentence = commanding.go_back(environment, service, by=who, reason=reason)
    else:
        of = {"release": release, "before": before}
        record, sentence = commanding.ask(environment, service, action, by=who, reason=reason, **of)
    if action in ("abort", "approve") and not (record.open and waiting.rests(environment, record.id)):
        approving.wake(record.holders, action, who, reason)
    get_run_logger().info("%s", sentence)
    return {**report.summary(record), "answer": sentence}


def _ask_all(environment: str, action: CommandName, who: str, reason: str, release: str, before: str) -> dict[str, Any]:
    if action == "approve":
        group, sentence = several.approve(environment, by=who, reason=reason, release=release, before=before)
    elif action == "abort":
        group = several.abort(environment, by=who, reason=reason)
        sentence = f"{groups.headline(group)}: all of it goes back."
    else:
        raise Refused(f"{action} is asked of one service: give its name; nothing was noted.")
    if not (group.open and waiting.rests(environment, group.id)):
        approving.wake(group.holders, action, who, reason)
    get_run_logger().info("%s", sentence)
    return {**groups.summary(group), "answer": sentence}
