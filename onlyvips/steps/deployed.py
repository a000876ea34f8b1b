"""What a release of every strategy asks of the Deployment that it finds: refused by name, before anything changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onlyvips.core.images import digest_of, is_label, tag_of
from onlyvips.core.manifests import annotations_of, containers_of, image_of
from onlyvips.core.plan import ReleasePlan
from onlyvips.errors import Permanent, Refused
from onlyvips.ports import Cluster, Manifest

NOTHING = "nothing was changed"
Where = Callable[..., str]
"""``file:line: key`` of a key of the environment."""
_OTHERS = ("StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Facts:
    """What a new record starts from."""

    image: str
    release: str
    capacity: int
    template: str = ""
    judged: bool = True
    colours: tuple[str, ...] = ()


def there(cluster: Cluster, plan: ReleasePlan, kind: str, name: str) -> Manifest:
    """The live object, which no automatic manager writes to. Raises Refused."""
    found = cluster.get(kind, name)
    if found is None:
        if kind == "Deployment":
            _check_other_kinds(cluster, plan, name)
        raise Refused(
            f"{kind} {name} does not exist in namespace {plan.namespace}: {NOTHING}; correct `{kind.lower()}` of "
            f"{plan.service.name} in environment {plan.environment}, or deploy it first."
        )
    check_managers(found, plan)
    return found


def _check_other_kinds(cluster: Cluster, plan: ReleasePlan, name: str) -> None:
    for kind in _OTHERS:
        try:
            found = cluster.get(kind, name)
        except Permanent:  # not ours to read: then it is told as what does not exist
            continue
        if found is not None:
            raise Refused(
                f"{name} is a {kind}, which {plan.service.strategy} cannot release (it needs a Deployment, whose pods "
                f"are alike and replaced freely): {NOTHING}; update it by its own means."
            )


def check_managers(found: Manifest, plan: ReleasePlan) -> None:
    """Raise Refused where a manager that writes by itself owns something of the object."""
    managers = {entry.get("manager", "") for entry in found["metadata"].get("managedFields") or []}
    if foreign := sorted(managers & set(plan.automatic_managers)):
        raise Refused(
            f"{found['kind']} {found['metadata']['name']} is written by {', '.join(foreign)}, which would undo the "
            f"release: {NOTHING}; suspend it for this object first."
        )
    owner = annotations_of(found).get("meta.helm.sh/release-name", "")
    if owner and owner != plan.helm:
        raise Refused(
            f"{found['kind']} {found['metadata']['name']} belongs to the Helm release {owner}, whose next upgrade "
            f"would undo the release: {NOTHING}; name it as `platform.helm_release`, which says that what a release "
            "changed is committed to the chart before that, or release by Helm alone."
        )


def check_deployment(deployment: Manifest, plan: ReleasePlan, version: str) -> str:
    """The image that it runs, in one container, and not ``version`` already; Raises Refused, for a paused one too."""
    service, name = plan.service, deployment["metadata"]["name"]
    if deployment["spec"].get("paused"):
        raise Refused(
            f"Deployment {name} is paused, so no new version would come up: {NOTHING}; `kubectl rollout resume`."
        )
    image = image_of(deployment, service.image)
    if not image:
        raise Refused(
            f"No container of Deployment {name} runs an image of {service.image}: {NOTHING}; "
            "correct `image` in the environment."
        )
    if len(several := containers_of(deployment, service.image)) > 1:
        raise Refused(
            f"Containers {', '.join(several)} of Deployment {name} all run {service.image}, so which one is released "
            f"cannot be told: {NOTHING}; give the others an image of their own."
        )
    _check_label(deployment, tag_of(version))
    if tag_of(image) == f"{service.image}:{tag_of(version)}":
        if plan.digest in ("", digest_of(image)):
            raise Refused(f"{service.name} runs {tag_of(version)} already: {NOTHING}.")
        raise Refused(
            f"{service.name} runs {image}, whose tag is the one of {plan.digest}, and versions are told apart by their "
            f"tags: {NOTHING}; give the new build a tag of its own."
        )
    return image


def _check_label(deployment: Manifest, tag: str) -> None:
    """Pods that have the label ``version`` get it with the tag, where it is not what the Deployment selects by."""
    selected = deployment["spec"]["selector"].get("matchLabels") or {}
    labels = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    if "version" in labels and "version" not in selected and not is_label(tag):
        raise Refused(
            f"{tag} cannot be the label `version` of pods (at most 63 letters, digits, -, _ and ., with a letter or a "
            f"digit at both ends): {NOTHING}; give the build another tag."
        )


def healthy(deployment: Manifest, plan: ReleasePlan) -> int:
    """How many pods it has, all of them ready. Raises Refused where not, or where it has none."""
    name, capacity = plan.service.deployment, int(deployment["spec"]["replicas"])
    status = deployment.get("status") or {}
    ready = int(status.get("readyReplicas", 0))
    if capacity < 1:
        raise Refused(
            f"Deployment {name} is scaled to 0, so there is nothing to release: {NOTHING}; scale it up first."
        )
    if ready < capacity:
        raise Refused(
            f"{ready} of {capacity} pods of {name} are ready, so there is no healthy stable to go "
            f"back to: {NOTHING}; repair stable first."
        )
    return capacity
