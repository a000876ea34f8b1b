"""The acts of a recreation. Each one that may start a process looks for others first, inside of its fenced write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onlyvips.core.action import Action
from onlyvips.core.record import Record
from onlyvips.errors import Transient
from onlyvips.ports import Manifest
from onlyvips.steps.acting import pods, replicas
from onlyvips.steps.acts_rolling import give_new_template, give_old_template
from onlyvips.steps.observe import may_run
from onlyvips.steps.tools import Done, Tools


def _nothing_runs(tools: Tools) -> Callable[[Manifest], None]:
    """Raises Transient where a pod is left, or is asked for: the write that follows must not make a second one."""

    def check(now: Manifest) -> None:
        found = tools.cluster.list("Pod", now["spec"]["selector"]["matchLabels"])
        left = [pod["metadata"]["name"] for pod in found if may_run(pod)]
        if left or replicas(now):
            what = ", ".join(left) or pods(now)
            raise Transient(f"{tools.plan.service.deployment} still has {what}: nothing was written, decided anew.")

    return check


def _stop(tools: Tools, record: Record, _: Action) -> Done:
    name = tools.plan.service.deployment
    operation = {"op": "replace", "path": "/spec/replicas", "value": 0}
    tools.fence.patch("Deployment", name, lambda now: (operation,) if replicas(now) else ())
    return record, f"{name}: no pod asked for"


def _start(tools: Tools, record: Record, action: Action) -> Done:
    name, check = tools.plan.service.deployment, _nothing_runs(tools)

    def change(now: Manifest) -> Sequence[Manifest]:
        if replicas(now):
            return ()
        check(now)
        return ({"op": "replace", "path": "/spec/replicas", "value": action.number},)

    changed = tools.fence.patch("Deployment", name, change)
    return record, f"{name}: {pods(changed)} asked for"


def _replace(tools: Tools, record: Record, _: Action) -> Done:
    return give_new_template(tools, record, _nothing_runs(tools))


def _restore(tools: Tools, record: Record, _: Action) -> Done:
    return give_old_template(tools, record, _nothing_runs(tools))


ACTS: Mapping[str, Callable[[Tools, Record, Action], Done]] = {
    "stop": _stop,
    "start": _start,
    "replace-stable": _replace,
    "restore-stable": _restore,
}
"""What each action does in a recreation."""
