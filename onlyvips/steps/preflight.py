"""Everything that can be refused is refused here, before anything changes: one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onlyvips.core import httproute
from onlyvips.core.manifests import fingerprint, image_of, template_release
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.world import pods_for
from onlyvips.errors import Permanent, Refused, Transient
from onlyvips.ports import Cluster, Lockable, Manifest, Metrics, SnapshotSource, SourceDatabase, SourceOplog
from onlyvips.steps.observe import canary_name

_NOTHING = "nothing was changed"


@dataclass(frozen=True)
class Facts:
    """What a new record starts from."""

    image: str
    release: str
    capacity: int
    template: str = ""


def check_platform(cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """Deployment, Service and route as a canary needs them. Raises Refused with what is wrong and what to do."""
    service = plan.service
    if service.strategy != "canary":
        raise Refused(f"{service.name} is released by {service.strategy}, which is not built yet: {_NOTHING}.")
    deployment = _there(cluster, plan, "Deployment", service.deployment)
    front = _there(cluster, plan, "Service", service.service)
    _check_tracks(deployment, front)
    _check_version_label(deployment, plan)
    image = image_of(deployment, service.image)
    if not image:
        raise Refused(
            f"No container of Deployment {service.deployment} runs an image of {service.image}: {_NOTHING}; "
            "correct `image` in the environment."
        )
    if image == f"{service.image}:{version}":
        raise Refused(f"{service.name} runs {version} already: {_NOTHING}.")
    _check_route(cluster, plan)
    _check_names(cluster, plan)
    template = fingerprint(deployment["spec"]["template"])
    return Facts(image, template_release(deployment), _healthy(deployment, plan), template)


def _there(cluster: Cluster, plan: ReleasePlan, kind: str, name: str) -> Manifest:
    found = cluster.get(kind, name)
    if found is None:
        raise Refused(
            f"{kind} {name} does not exist in namespace {plan.namespace}: {_NOTHING}; correct `{kind.lower()}` of "
            f"{plan.service.name} in environment {plan.environment}, or deploy it first."
        )
    _check_managers(found, plan)
    return found


def _check_managers(found: Manifest, plan: ReleasePlan) -> None:
    managers = {entry.get("manager", "") for entry in found["metadata"].get("managedFields") or []}
    if foreign := sorted(managers & set(plan.automatic_managers)):
        raise Refused(
            f"{found['kind']} {found['metadata']['name']} is written by {', '.join(foreign)}, which would undo the "
            f"release: {_NOTHING}; suspend it for this object first."
        )


def _check_tracks(deployment: Manifest, front: Manifest) -> None:
    name = deployment["metadata"]["name"]
    places = {
        f"the selector of Deployment {name}": deployment["spec"]["selector"].get("matchLabels") or {},
        f"the pod labels of Deployment {name}": deployment["spec"]["template"]["metadata"].get("labels") or {},
        f"the selector of Service {front['metadata']['name']}": front["spec"].get("selector") or {},
    }
    lacking = [where for where, labels in places.items() if labels.get("track") != "stable"]
    if lacking:
        raise Refused(
            f"A canary needs `track: stable` in {', '.join(lacking)}, or it would get stable's traffic: {_NOTHING}; "
            "adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_version_label(deployment: Manifest, plan: ReleasePlan) -> None:
    """The judge finds the canary's counters by ``app`` and ``version``, and the canary gets its version there."""
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    name = deployment["metadata"]["name"]
    if labels.get("app") != plan.service.name or "version" not in labels:
        raise Refused(
            f"The pods of Deployment {name} need the labels `app: {plan.service.name}` and `version`, by which the "
            f"judge finds the canary's counters: {_NOTHING}; add them, then release."
        )
    if "version" in deployment["spec"]["selector"]["matchLabels"]:
        raise Refused(
            f"The selector of Deployment {name} has `version`, so stable cannot get another one in place: {_NOTHING}; "
            "adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_route(cluster: Cluster, plan: ReleasePlan) -> None:
    service = plan.service
    if service.route is None:
        raise Refused(f"{service.name} has no `route` in environment {plan.environment}: {_NOTHING}; add one.")
    route = _there(cluster, plan, "HTTPRoute", service.route.name)
    index = httproute.rule_index(route, service.route.rule, service.service)
    if index is None:
        raise Refused(
            f"HTTPRoute {service.route.name} has no rule {service.route.rule}: {_NOTHING}; correct `route` of "
            f"{service.name}, or add the rule."
        )
    canary = canary_name(service.service)
    strangers = httproute.others(route, index, service.service, canary)
    weight = httproute.canary_weight(route, index, canary)
    if strangers or weight:
        what = f"also leads to {', '.join(strangers)}" if strangers else f"gives {weight} % to {canary} already"
        raise Refused(
            f"Rule {service.route.rule} of HTTPRoute {service.route.name} {what}: {_NOTHING}; set it to "
            f"{service.service} alone, then release."
        )


def _check_names(cluster: Cluster, plan: ReleasePlan) -> None:
    for kind, name in (("Deployment", plan.service.deployment), ("Service", plan.service.service)):
        if cluster.get(kind, canary_name(name)) is not None:
            raise Refused(
                f"{kind} {canary_name(name)} is there already, without an open release: {_NOTHING}; run `onlyvips "
                f"release reconcile -e {plan.environment} -s {plan.service.name}`, or remove it by hand if it is yours."
            )


def _healthy(deployment: Manifest, plan: ReleasePlan) -> int:
    capacity = int(deployment["spec"]["replicas"])
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0))
    if capacity < 1 or ready < capacity:
        raise Refused(
            f"{ready} of {capacity} pods of {plan.service.deployment} are ready, so there is no healthy stable to go "
            f"back to: {_NOTHING}; repair stable first."
        )
    if pods_for(plan.stages[0].weight, capacity) > capacity:
        raise Refused(f"{plan.service.deployment} has too few pods for the first stage: {_NOTHING}.")
    return capacity


def check_metrics(metrics: Metrics) -> None:
    """The judge must be able to see. Raises Refused when the metrics system does not answer."""
    try:
        metrics.now()
    except Transient as error:
        raise Refused(f"{error} Without it nobody can judge a canary: {_NOTHING}; bring it back first.") from error


def check_source(database: SourceDatabase, name: str) -> None:
    """What the backup would be refused for later is refused now: no server, a mongos, a collection it cannot keep."""
    try:
        database.server()
        database.namespaces(name)
    except (Permanent, Transient) as error:
        raise Refused(f"{name} cannot be backed up: {error} {_NOTHING.capitalize()}.") from error


def check_oplog(oplog: SourceOplog) -> None:
    """A database without an oplog, or one that does not answer us, is refused before anything is read."""
    try:
        oplog.describe()
        oplog.oldest()
    except (Permanent, Transient) as error:
        raise Refused(f"No slice of the oplog can be taken: {error} Nothing was read.") from error


def check_snapshot(source: SnapshotSource) -> None:
    """A system that does not answer, or not to us, is refused before anything is read."""
    try:
        source.describe()
    except (Permanent, Transient) as error:
        raise Refused(f"{error} Nothing was read.") from error


def check_duplicates(database: SourceDatabase, plan: ReleasePlan) -> None:
    """Documents that would break a unique index of the migration are found first. Raises Refused with examples."""
    if plan.migration is None:
        return
    for index in plan.migration.indexes:
        if not index.unique:
            continue
        keys = [key for key, _ in index.keys]
        try:
            found = database.duplicates(plan.migration.database, index.collection, keys, 5)
        except Permanent as error:
            raise Refused(
                f"The migration's unique index cannot be checked: {error} {_NOTHING.capitalize()}."
            ) from error
        if found:
            raise Refused(
                f"{plan.migration.database}.{index.collection} has several documents with the same {', '.join(keys)} "
                f"({', '.join(found)} …), so the migration's unique index would fail: {_NOTHING}; merge them first."
            )


def check_lock(stores: Sequence[Lockable]) -> None:
    """A destination that promises object lock and has none is refused before anything is read; one that does not
    answer is not: what becomes of it is told when it is written to."""
    for store in stores:
        try:
            why = store.cannot_lock()
        except (Permanent, Transient):
            continue
        if why:
            raise Refused(
                f"{store.name} is immutable in the environment, and {why}: nothing was read; make the bucket with "
                f"object lock, or write `immutable: false` for it (and correct backup.copies.immutable)."
            )
