"""What rolling and recreate ask of a Deployment, so that the one loses no request and the other never runs twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from onlyvips.core.adoption import KEPT, twin_of
from onlyvips.core.manifests import Manifest, annotations_of, container_of, fingerprint, template_release
from onlyvips.core.plan import ReleasePlan
from onlyvips.errors import Refused
from onlyvips.ports import Cluster
from onlyvips.steps.deployed import NOTHING, Facts, check_deployment, healthy, there
from onlyvips.steps.observe import scaler_of

_DEFAULT_GRACE = 30


def rolling(cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """A Deployment whose own update loses no request. Raises Refused with all that it lacks."""
    deployment = there(cluster, plan, "Deployment", plan.service.deployment)
    image = check_deployment(deployment, plan, version)
    _check_adoption(cluster, plan)
    _check_selector(deployment)
    _check_front(cluster, deployment, plan)
    if lacking := list(_lacks(deployment, plan)):
        raise Refused(
            f"A rolling update of Deployment {plan.service.deployment} would lose requests: {NOTHING}; it needs "
            f"{'; '.join(lacking)}. Add that, let it roll out, then release."
        )
    _check_settled(deployment)
    return _facts(deployment, image, healthy(deployment, plan), plan)


def recreate(cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """A Deployment of one pod that nothing else scales. Raises Refused."""
    name = plan.service.deployment
    deployment = there(cluster, plan, "Deployment", name)
    image = check_deployment(deployment, plan, version)
    _check_adoption(cluster, plan)
    _check_selector(deployment)
    capacity = healthy(deployment, plan)
    if capacity > 1:
        raise Refused(
            f"Deployment {name} has {capacity} pods, and recreate is for what never runs twice: {NOTHING}; scale it to "
            "1, or use strategy rolling."
        )
    if (scaler := scaler_of(cluster, name)) is not None:
        raise Refused(
            f"HorizontalPodAutoscaler {scaler['metadata']['name']} scales Deployment {name}, which never runs twice: "
            f"{NOTHING}; remove it."
        )
    _check_settled(deployment)
    return _facts(deployment, image, capacity, plan)


def _facts(deployment: Manifest, image: str, capacity: int, plan: ReleasePlan) -> Facts:
    """``judged``: the judge tells versions apart by these labels; whether it has counters is seen later."""
    template = deployment["spec"]["template"]
    labels = template["metadata"].get("labels") or {}
    judged = labels.get("app") == plan.service.name and "version" in labels
    return Facts(image, template_release(deployment), capacity, fingerprint(template), judged)


def _check_adoption(cluster: Cluster, plan: ReleasePlan) -> None:
    """While a twin stands there, users may be on it, and the Deployment may be about to go."""
    twin = cluster.get("Deployment", twin_of(plan.service.deployment))
    if twin is not None and KEPT in annotations_of(twin):
        raise Refused(
            f"Deployment {twin['metadata']['name']} is there, so an adoption is on its way: {NOTHING}; run `onlyvips "
            f"release adopt -e {plan.environment} -s {plan.service.name}` again first, then release."
        )


def _check_front(cluster: Cluster, deployment: Manifest, plan: ReleasePlan) -> None:
    """Users have to be on the pods that are released, and stay on them when their version changes."""
    if not plan.service.service or (front := cluster.get("Service", plan.service.service)) is None:
        return
    selector = front["spec"].get("selector") or {}
    labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    if not selector or not selector.items() <= labels.items():
        raise Refused(
            f"Service {plan.service.service} does not select the pods of Deployment {plan.service.deployment}, so "
            f"users are elsewhere: {NOTHING}; correct its selector, or `service` in the environment."
        )
    if "version" in selector:
        raise Refused(
            f"The selector of Service {plan.service.service} has `version`, so it would lose the pods of the next one: "
            f"{NOTHING}; take it out, or adopt the Deployment once (docs/runbooks/release.md, Adoption)."
        )


def _check_selector(deployment: Manifest) -> None:
    if "version" in deployment["spec"]["selector"]["matchLabels"]:
        name = deployment["metadata"]["name"]
        raise Refused(
            f"The selector of Deployment {name} has `version`, so it cannot get another one in place: {NOTHING}; "
            "adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_settled(deployment: Manifest) -> None:
    """An update that is under way (by hand, say) is nobody's state to go back to."""
    status, name = deployment.get("status") or {}, deployment["metadata"]["name"]
    wanted = int(deployment["spec"]["replicas"])
    behind = int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0))
    if behind or int(status.get("updatedReplicas", 0)) < wanted or int(status.get("replicas", 0)) > wanted:
        raise Refused(
            f"Deployment {name} is in the middle of an update: {NOTHING}; wait until it is done, then release."
        )


def _lacks(deployment: Manifest, plan: ReleasePlan) -> Iterator[str]:
    """What it has to have, so that users see nothing of an update: each with its value."""
    spec, needed = deployment["spec"], ceil(plan.waits.propagation)
    strategy = spec.get("strategy") or {}
    unavailable = str((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"))
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        yield f"`strategy.type: RollingUpdate` (it is {strategy['type']})"
    elif unavailable not in ("0", "0%"):
        yield f"`strategy.rollingUpdate.maxUnavailable: 0` (it is {unavailable})"
    if int(spec.get("minReadySeconds", 0)) < needed:
        yield f"`minReadySeconds: {needed}`, so that the router sees a new pod before an old one goes"
    yield from pod_lacks(spec["template"]["spec"], container_of(deployment, plan.service.image), needed)


def pod_lacks(pod: Manifest, container: Manifest, needed: int) -> Iterator[str]:
    """What pods have to have that come and go under traffic: each with its value."""
    if "readinessProbe" not in container:
        yield f"a `readinessProbe` of container {container['name']}, for without one a pod is ready before it serves"
    pause = _pause((container.get("lifecycle") or {}).get("preStop") or {})
    if pause < needed:
        yield (
            f"`lifecycle.preStop.sleep.seconds: {needed}` of container {container['name']}, so that an old pod serves "
            "until the router has forgotten it"
        )
    grace = int(pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE))
    if grace <= (least := max(pause, needed)):
        yield f"`terminationGracePeriodSeconds` above {least:g} (it is {grace}), for the sleep is part of it"


def _pause(hook: Manifest) -> float:
    """Seconds that a preStop hook sleeps, as its own action or as a command; 0 where it does not, or cannot be told."""
    if "sleep" in hook:
        return float(hook["sleep"].get("seconds", 0))
    return _slept((hook.get("exec") or {}).get("command") or ())


def _slept(command: Sequence[str]) -> float:
    words = command[-1].split() if len(command) == 3 and command[1] == "-c" else list(command)
    if len(words) == 2 and words[0].rpartition("/")[2] == "sleep":
        try:
            return float(words[1].removesuffix("s"))
        except ValueError:
            return 0.0
    return 0.0
