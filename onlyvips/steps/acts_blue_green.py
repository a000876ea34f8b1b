"""The acts of blue-green: the other colour and its preview, its smoke tests, the switch, and who goes to sleep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onlyvips.core import colours, httproute, manifests
from onlyvips.core.action import Action
from onlyvips.core.colours import HEADER, colour_name, preview_name, selector_of
from onlyvips.core.manifests import RELEASE, fingerprint, own_metadata, template_release
from onlyvips.core.plan import BlueGreen, SmokeTest
from onlyvips.core.record import Record
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import Manifest
from onlyvips.steps.acting import delete_own, hold_minimum, metrics_time, pods, replicas
from onlyvips.steps.observe import SCALER, scaler_of
from onlyvips.steps.records import kept, snapshot_of
from onlyvips.steps.routers import colour_router
from onlyvips.steps.tools import Done, Tools, live

PREVIOUS = "Deployment.other"
"""Where the snapshot keeps the other colour as it was."""


def _colours(tools: Tools) -> BlueGreen:
    assert tools.plan.blue_green is not None
    return tools.plan.blue_green


def _name(tools: Tools, colour: str) -> str:
    return colour_name(tools.plan.service.deployment, colour)


def _bring_up(tools: Tools, record: Record, action: Action) -> Done:
    """The other colour with the new template and all pods, then what leads to it: nothing of a user's way changes."""
    label, (old, new) = _colours(tools).label, record.colours
    current = live(tools, "Deployment", _name(tools, old))
    record = replace(record, capacity=max(record.capacity, replicas(current)))
    hold_minimum(tools, record, _name(tools, old))
    image = tools.plan.service.image
    template = manifests.new_template(current, image, record.asked, record.id, record.renamed)
    template = colours.painted(template, label, new)
    own = own_metadata(record.id, record.service, tools.fence.epoch)
    if tools.cluster.get("Deployment", _name(tools, new)) is None:
        colour = {"label": {label: new}, "own": own}
        made = colours.colour_deployment(current, template, _name(tools, new), action.number, colour)
        tools.fence.create(made)
    up = tools.fence.patch("Deployment", _name(tools, new), lambda now: _raised(now, record, template, action.number))
    _preview(tools, record, own)
    seen = fingerprint(up["spec"]["template"])
    since = record.canary_since or metrics_time(tools)
    after = replace(record, canary_scaled=action.number, canary_since=since, canary_template=seen)
    return (
        after,
        f"{_name(tools, new)} runs {record.version}, {pods(up)} asked for; {preview_name(record.service)} leads to it",
    )


def _raised(now: Manifest, record: Record, template: Manifest, number: int) -> Sequence[Manifest]:
    """Another template only where no user is: a colour that runs this release has it already."""
    operations: list[Manifest] = []
    if template_release(now) != record.id:
        operations.append({"op": "replace", "path": "/spec/template", "value": template})
    if replicas(now) < number:
        operations.append({"op": "replace", "path": "/spec/replicas", "value": number})
    return operations


def _preview(tools: Tools, record: Record, own: Manifest) -> None:
    service, name = tools.plan.service, preview_name(record.service)
    assert service.route is not None
    front = live(tools, "Service", service.service)
    tools.fence.create(colours.preview_service(front, name, _colours(tools).label, record.colours[1], own))
    route = live(tools, "HTTPRoute", service.route.name)
    index = httproute.rule_index(route, service.route.rule, service.service)
    if index is None or service.service not in httproute.names(route, index):
        raise Permanent(f"HTTPRoute {service.route.name} has no rule {service.route.rule} any more: put it back.")
    tools.fence.create(colours.preview_route(route, index, service.service, name, own))


def _smoke_test(tools: Tools, record: Record, action: Action) -> Done:
    """Each request as often as there are pods, by the way that users come; the first that fails sends it back."""
    asked = 0
    for test in _colours(tools).tests:
        for _ in range(record.capacity):
            tools.fence.progress()
            _ask(tools, record, test)
            asked += 1
    told = f"{asked} smoke test{'' if asked == 1 else 's'} passed"
    return replace(record, tested=told), told


def _ask(tools: Tools, record: Record, test: SmokeTest) -> None:
    assert tools.prober is not None
    answer, what = (
        tools.prober.get(test.path, {HEADER: record.id}),
        f"Smoke test of {record.colours[1]}: GET {test.path}",
    )
    if answer.headers.get(HEADER.lower()) != record.id:
        raise Permanent(
            f"{what} was answered {answer.status}, but not by way of HTTPRoute {preview_name(record.service)}: does "
            "the gateway know it, and keep ResponseHeaderModifier? See its status."
        )
    if answer.status != test.status:
        raise Permanent(f"{what} was answered {answer.status} and not {test.status}: {_short(answer.body)}")
    if test.contains not in answer.body:
        raise Permanent(f"{what} was answered without `{test.contains}`: {_short(answer.body)}")


def _short(body: str) -> str:
    text = " ".join(body.split())
    return f"{text[:200]}{'…' if len(text) > 200 else ''}" or "nothing"


def _switch(tools: Tools, record: Record, action: Action) -> Done:
    """The Service selects one colour; on the way back its whole selector is what it was."""
    router = colour_router(tools.cluster, tools.plan, record)
    observed = router.shift(tools.fence.patch, action.number, None if record.phase == "rollback" else 0)
    since = record.stage_since or (metrics_time(tools) if action.number else 0.0)
    return replace(record, weight=action.number, stage_since=since), observed


def _not_selected(tools: Tools, colour: str) -> None:
    """The last look before pods go: whoever switched meanwhile is not overrun."""
    front = live(tools, "Service", tools.plan.service.service)
    if selector_of(front).get(_colours(tools).label) == colour:
        raise Transient(f"The Service selects {colour} by now: nothing was written, decided anew.")


def _move_scaler(tools: Tools, record: Record, action: Action) -> Done:
    """The autoscaler, with the minimum that is held, scales the colour that users are on."""
    (other,) = (_name(tools, colour) for colour in record.colours if colour != action.what)
    target, path = _name(tools, action.what), "/spec/scaleTargetRef/name"

    def change(now: Manifest) -> Sequence[Manifest]:
        found = now["spec"]["scaleTargetRef"]["name"]
        return () if found == target else ({"op": "replace", "path": path, "value": target},)

    if (scaler := scaler_of(tools.cluster, other)) is not None:
        tools.fence.patch(SCALER, scaler["metadata"]["name"], change)
    return record, f"the autoscaler scales {target}"


def _scale_stable(tools: Tools, record: Record, action: Action) -> Done:
    """Up only: the colour that users came from, or come back to."""
    name = _name(tools, record.colours[0])
    operation = {"op": "replace", "path": "/spec/replicas", "value": action.number}
    changed = tools.fence.patch("Deployment", name, lambda now: () if replicas(now) >= action.number else (operation,))
    return record, f"{name}: {pods(changed)} asked for"


def _retire(tools: Tools, record: Record, action: Action) -> Done:
    """The old colour sleeps: its Deployment stays, for the next release."""
    _not_selected(tools, action.what)
    operation = {"op": "replace", "path": "/spec/replicas", "value": 0}
    name = _name(tools, action.what)
    tools.fence.patch("Deployment", name, lambda now: () if replicas(now) == 0 else (operation,))
    return record, f"{name} has no pods, and is the other colour now"


def _put_back(tools: Tools, record: Record, action: Action) -> Done:
    """The new colour as it was before: gone, when this release made it, else asleep with the template it had."""
    _not_selected(tools, action.what)
    name = _name(tools, action.what)
    found = live(tools, "Deployment", name)
    if (found["metadata"].get("labels") or {}).get(RELEASE) == record.id:
        delete_own(tools, record, "Deployment", name)
        return replace(record, canary_scaled=0), f"{name} is deleted"
    if template_release(found) == record.id and not kept(tools.cluster, record, PREVIOUS):
        tools.fence.delete("Deployment", name)  # a driver of an earlier release made it after this one had begun
        return replace(record, canary_scaled=0), f"{name}, which was not there before, is deleted"
    before = snapshot_of(tools.cluster, record, PREVIOUS)["spec"]["template"]

    def change(now: Manifest) -> Sequence[Manifest]:
        operations = []
        if template_release(now) == record.id:
            operations.append({"op": "replace", "path": "/spec/template", "value": before})
        if replicas(now):
            operations.append({"op": "replace", "path": "/spec/replicas", "value": 0})
        return operations

    tools.fence.patch("Deployment", name, change)
    return replace(record, canary_scaled=0), f"{name} has no pods, and the template it had before"


ACTS: Mapping[str, Callable[[Tools, Record, Action], Done]] = {
    "bring-up": _bring_up,
    "smoke-test": _smoke_test,
    "switch": _switch,
    "move-scaler": _move_scaler,
    "scale-stable": _scale_stable,
    "retire": _retire,
    "put-back": _put_back,
}
"""What each action does that only blue-green has."""
