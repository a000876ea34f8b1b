"""What a canary by the ratio of pods asks of the Service and the Deployment behind it: each refusal says what to do."""

from __future__ import annotations

from math import ceil

from onlyvips.core.colours import selector_of, selects
from onlyvips.core.manifests import container_of
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.ratio import granularity
from onlyvips.errors import Refused
from onlyvips.ports import Cluster, Manifest
from onlyvips.steps.deployed import NOTHING
from onlyvips.steps.observe import may_run
from onlyvips.steps.preflight_in_place import pod_lacks


def check(cluster: Cluster, deployment: Manifest, front: Manifest, plan: ReleasePlan) -> None:
    """Both tracks are behind the Service, nothing else is, and pods that come and go lose no request."""
    _check_tracks(deployment)
    _check_front(deployment, front)
    _check_strangers(cluster, deployment, front)
    _check_pods(deployment, plan)
    check_granularity(int(deployment["spec"]["replicas"]), plan)


def check_granularity(capacity: int, plan: ReleasePlan) -> None:
    """Raise Refused where a stage is no whole number of ``capacity`` pods."""
    if told := granularity([stage.weight for stage in plan.stages], capacity):
        raise Refused(f"Deployment {plan.service.deployment}: {told}: {NOTHING}; scale it, or change the stages.")


def _check_tracks(deployment: Manifest) -> None:
    name = deployment["metadata"]["name"]
    places = {
        f"the selector of Deployment {name}": deployment["spec"]["selector"].get("matchLabels") or {},
        f"the pod labels of Deployment {name}": deployment["spec"]["template"]["metadata"].get("labels") or {},
    }
    lacking = [where for where, labels in places.items() if labels.get("track") != "stable"]
    if lacking:
        raise Refused(
            f"A canary needs `track: stable` in {', '.join(lacking)}, or stable and the canary could not be told "
            f"apart: {NOTHING}; adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_front(deployment: Manifest, front: Manifest) -> None:
    name, selector = front["metadata"]["name"], selector_of(front)
    if narrow := [label for label in ("track", "version") if label in selector]:
        raise Refused(
            f"The selector of Service {name} has {' and '.join(f'`{label}`' for label in narrow)}, so the canary's "
            f"pods would get no request by router: replica-ratio: {NOTHING}; take it out, or use router: gateway-api."
        )
    if not selects(front, deployment):
        raise Refused(
            f"Service {name} does not select the pods of Deployment {deployment['metadata']['name']}: {NOTHING}; "
            "correct its selector, or `service` in the environment."
        )
    if front["spec"].get("sessionAffinity", "None") != "None":
        raise Refused(
            f"Service {name} has `sessionAffinity: {front['spec']['sessionAffinity']}`, so the share of requests is "
            f"not that of pods: {NOTHING}; take it out, or use router: gateway-api."
        )


def _check_strangers(cluster: Cluster, deployment: Manifest, front: Manifest) -> None:
    ours = (deployment["spec"]["selector"].get("matchLabels") or {}).items()
    pods = [pod for pod in cluster.list("Pod", selector_of(front)) if may_run(pod)]
    strangers = [pod["metadata"]["name"] for pod in pods if not ours <= (pod["metadata"].get("labels") or {}).items()]
    if strangers:
        raise Refused(
            f"Service {front['metadata']['name']} also selects {', '.join(strangers[:3])}, no pods of Deployment "
            f"{deployment['metadata']['name']}, so shares would be wrong: {NOTHING}; narrow its selector, or remove "
            "them."
        )


def _check_pods(deployment: Manifest, plan: ReleasePlan) -> None:
    """Pods of both tracks go while users are on them, as in a rolling update."""
    needed = ceil(plan.waits.propagation)
    pod = deployment["spec"]["template"]["spec"]
    if lacking := list(pod_lacks(pod, container_of(deployment, plan.service.image), needed)):
        raise Refused(
            f"Pods of Deployment {plan.service.deployment} come and go under traffic by router: replica-ratio, and "
            f"would lose requests: {NOTHING}; they need {'; '.join(lacking)}. Add that, let it roll out, then release."
        )
