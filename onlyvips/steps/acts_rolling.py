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
from onlyvips.steps.acting import hold_minimum, metrics_time, scale_stable, template_for
from onlyvips.steps.records import snapshot_of
from onlyvips.steps.tools import Done, Tools

Check = Callable[[Manifest], None]
"""Raises where a Deployment must not be written to now."""


def give_new_template(tools: Tools, record: Record, check: Check) -> Done:
    """The Deployment gets the new version, where it still has the template that this release found."""
    service = tools.plan.service

    def change(now: Manifest) -> Sequence[Manifest]:
        if manifests.template_release(now) == record.id:
            return ()
        if record.from_template not in ("", fingerprint(now["spec"]["template"])):
            raise Transient(f"{service.deployment} was changed by somebody else: nothing was written, decided anew.")
        check(now)
        template = template_for(tools, record, now)
        return ({"op": "replace", "path": "/spec/template", "value": template},)

    since = record.stage_since or metrics_time(tools)
    made = tools.fence.patch("Deployment", service.deployment, change)
    seen = fingerprint(made["spec"]["template"])
    after = replace(record, canary_template=seen, stage_since=since, canary_since=record.canary_since or since)
    return after, f"{service.deployment} has the template of release {record.id}"


def give_old_template(tools: Tools, record: Record, check: Check) -> Done:
    """The Deployment gets the recorded template, where it still has the one of this release."""
    template = snapshot_of(tools.cluster, record, "Deployment")["spec"]["template"]

    def change(now: Manifest) -> Sequence[Manifest]:
        if manifests.template_release(now) != record.id:
            return ()
        check(now)
        return ({"op": "replace", "path": "/spec/template", "value": template},)

    tools.fence.patch("Deployment", tools.plan.service.deployment, change)
    return replace(record, stable_replaced=True), f"{tools.plan.service.deployment} has the template it had before"


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
