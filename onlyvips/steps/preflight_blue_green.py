"""What a blue-green release needs of the platform, looked at before anything changes: one sentence each."""

from __future__ import annotations

from onlyvips.core import httproute
from onlyvips.core.colours import colour_name, pod_labels, preview_name, selector_of, selects
from onlyvips.core.manifests import fingerprint, template_release
from onlyvips.core.plan import BlueGreen, ReleasePlan
from onlyvips.errors import Refused
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps.deployed import NOTHING, Facts, check_deployment, healthy, there


def check(cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """Two colours of which the Service selects one, healthy, and a way to preview the other. Raises Refused."""
    assert plan.blue_green is not None
    service, setting = plan.service, plan.blue_green
    if setting.beside:
        raise Refused(
            f"{service.name} stands behind Service {service.service} together with {', '.join(setting.beside)}, and "
            f"several that are switched together cannot be released yet: {NOTHING}; give each a Service of its own, in "
            f"the cluster and in environment {plan.environment}."
        )
    front = there(cluster, plan, "Service", service.service)
    old, new = _colours(front, setting, plan)
    current = there(cluster, plan, "Deployment", colour_name(service.deployment, old))
    _check_colour(current, front, setting, old, plan)
    _check_alone(cluster, front, current, plan)
    if (other := cluster.get("Deployment", colour_name(service.deployment, new))) is not None:
        _check_other(there(cluster, plan, "Deployment", other["metadata"]["name"]), setting, new, plan)
    image = check_deployment(current, plan, version)
    _check_preview(cluster, plan)
    template = fingerprint(current["spec"]["template"])
    return Facts(image, template_release(current), healthy(current, plan), template, colours=(old, new))


def _colours(front: Manifest, setting: BlueGreen, plan: ReleasePlan) -> tuple[str, str]:
    """The colour that users are on and the other one."""
    found, (first, second) = selector_of(front).get(setting.label, ""), setting.colours
    if found not in setting.colours:
        raise Refused(
            f"The selector of Service {plan.service.service} says `{setting.label}: {found}`, and blue-green needs "
            f"{first} or {second} there: {NOTHING}; see docs/runbooks/release.md, Blue-green."
        )
    return (first, second) if found == first else (second, first)


def _check_colour(deployment: Manifest, front: Manifest, setting: BlueGreen, colour: str, plan: ReleasePlan) -> None:
    name, wanted = deployment["metadata"]["name"], {setting.label: colour}
    if not wanted.items() <= deployment["spec"]["selector"].get("matchLabels", {}).items():
        raise Refused(
            f"The selector of Deployment {name} has no `{setting.label}: {colour}`, so its pods would be the other "
            f"colour's too: {NOTHING}; see docs/runbooks/release.md, Blue-green."
        )
    if not selects(front, deployment):
        raise Refused(
            f"Service {front['metadata']['name']} does not select the pods of Deployment {name}: {NOTHING}; correct "
            "one of them."
        )
    if pod_labels(deployment).get("app") != plan.service.name:
        raise Refused(
            f"The pods of Deployment {name} need the label `app: {plan.service.name}`, by which the judge finds their "
            f"counters: {NOTHING}; add it, then release."
        )


def _check_alone(cluster: Cluster, front: Manifest, current: Manifest, plan: ReleasePlan) -> None:
    """Several that stand behind one Service would be switched together, and only one of them would be new."""
    own = current["metadata"]["name"]
    others = [each["metadata"]["name"] for each in cluster.list("Deployment", {}) if selects(front, each)]
    if others := [name for name in others if name != own]:
        raise Refused(
            f"Service {plan.service.service} also selects the pods of {', '.join(others)}, which a switch for "
            f"{plan.service.name} would take away from users: {NOTHING}; give each of them a Service of its own."
        )


def _check_other(other: Manifest, setting: BlueGreen, colour: str, plan: ReleasePlan) -> None:
    name, wanted = other["metadata"]["name"], {setting.label: colour}
    if other["spec"]["replicas"]:
        raise Refused(
            f"Deployment {name} has {other['spec']['replicas']} pods that no user reaches: {NOTHING}; run `onlyvips "
            f"release reconcile -e {plan.environment} -s {plan.service.name}`, then, if nobody needs them, scale it "
            "to 0."
        )
    if not wanted.items() <= other["spec"]["selector"].get("matchLabels", {}).items():
        raise Refused(
            f"The selector of Deployment {name} has no `{setting.label}: {colour}`: {NOTHING}; delete it, it has no "
            "pods, and the release makes it anew."
        )


def _check_preview(cluster: Cluster, plan: ReleasePlan) -> None:
    service = plan.service
    if service.route is None:
        raise Refused(
            f"{service.name} has no `route` in environment {plan.environment}, by which the other colour is tested: "
            f"{NOTHING}; add one."
        )
    route = there(cluster, plan, "HTTPRoute", service.route.name)
    index = httproute.rule_index(route, service.route.rule, service.service)
    if index is None or service.service not in httproute.names(route, index):
        raise Refused(
            f"HTTPRoute {service.route.name} has no rule {service.route.rule} that leads to {service.service}: "
            f"{NOTHING}; correct `route` of {service.name}, or add the rule."
        )
    for kind in ("Service", "HTTPRoute"):
        if cluster.get(kind, preview_name(service.name)) is not None:
            raise Refused(
                f"{kind} {preview_name(service.name)} is there already, without an open release: {NOTHING}; run "
                f"`onlyvips release reconcile -e {plan.environment} -s {service.name}`, or remove it by hand if it is "
                "yours."
            )
