"""The acts of a rolling update: the template, what is told of its progress, and the recorded template back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onlyvips.core import manifests
from onlyvips.core.action import Action
from onlyvips.core.manifests import fingerprint
from onlyvips.core.record import Record
from onlyvips.errors import Transient
from onlyvips.ports import Manifest
from onlyvips.steps import charted
from onlyvips.steps.acting import hold_minimum, metrics_time, scale_stable, template_for
from onlyvips.steps.records import snapshot_of
from onlyvips.steps.tools import Done, Tools

Check = Callable[[Manifest], None]
"""Raises where a Deployment must not be written to now."""


def give_new(tools: Tools, record: Record, check: Check) -> tuple[Record, Manifest, str]:
    """Give the Deployment the new version, where it still has the template that this release found, by Helm where a
    chart owns it. Returns the record, the live Deployment, and what was read back."""
    service = tools.plan.service

    def may(now: Manifest) -> bool:
        if manifests.template_release(now) == record.id:
            return False
        if record.from_template not in ("", fingerprint(now["spec"]["template"])):
            raise Transient(f"{service.deployment} was changed by somebody else: nothing was written, decided anew.")
        check(now)
        return True

    def change(now: Manifest) -> Sequence[Manifest]:
        if not may(now):
            return ()
        return ({"op": "replace", "path": "/spec/template", "value": template_for(tools, record, now)},)

    observed = f"{service.deployment} has the template of release {record.id}"
    if tools.plan.chart is None:
        return record, tools.fence.patch("Deployment", service.deployment, change), observed
    record, made = charted.bring_new(tools, record, may)
    return record, _held_again(tools, record, made), observed + charted.told(tools)


def _held_again(tools: Tools, record: Record, made: Manifest) -> Manifest:
    """Helm gave the autoscaler of the same chart its own minimum back."""
    if tools.plan.service.strategy != "recreate":
        hold_minimum(tools, record)
    return made


def give_new_template(tools: Tools, record: Record, check: Check) -> Done:
    """The same in place: the new version serves from here on."""
    since = record.stage_since or metrics_time(tools)
    record, made, observed = give_new(tools, record, check)
    seen = fingerprint(made["spec"]["template"])
    after = replace(record, canary_template=seen, stage_since=since, canary_since=record.canary_since or since)
    return after, observed


def old_template(tools: Tools, record: Record) -> Manifest:
    """The pod template that was there before this release."""
    template: Manifest = snapshot_of(tools.cluster, record, "Deployment")["spec"]["template"]
    return template


def give_old_template(tools: Tools, record: Record, check: Check) -> Done:
    """The Deployment gets the recorded template, where it still has the one of this release; by Helm the recorded
    revision."""
    name = tools.plan.service.deployment

    def may(now: Manifest) -> bool:
        if manifests.template_release(now) != record.id:
            return False
        check(now)
        return True

    after, observed = replace(record, stable_replaced=True), f"{name} has the template it had before"
    if tools.plan.chart is not None:
        _held_again(tools, record, charted.bring_back(tools, record, may))
        return after, observed + charted.told(tools)
    template = old_template(tools, record)
    operation = {"op": "replace", "path": "/spec/template", "value": template}
    tools.fence.patch("Deployment", name, lambda now: (operation,) if may(now) else ())
    return after, observed


def _replace(tools: Tools, record: Record, _: Action) -> Done:
    hold_minimum(tools, record)
    return give_new_template(tools, record, lambda _: None)


def _restore(tools: Tools, record: Record, _: Action) -> Done:
    hold_minimum(tools, record)
    return give_old_template(tools, record, lambda _: None)


def _note(_tools: Tools, record: Record, action: Action) -> Done:
    return replace(record, rolled=action.number), f"{action.what} run {record.version}"


ACTS: Mapping[str, Callable[[Tools, Record, Action], Done]] = {
    "replace-stable": _replace,
    "note-progress": _note,
    "scale-stable": scale_stable,
    "restore-stable": _restore,
}
"""What each action does in a rolling update."""
