"""Everything that can be refused is refused here, before anything changes: one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onlyvips.core import httproute
from onlyvips.core.affinity import obstacle
from onlyvips.core.manifests import canary_name, fingerprint, template_release
from onlyvips.core.plan import ReleasePlan, Strategy
from onlyvips.core.world import pods_for
from onlyvips.errors import OnlyVipsError, Permanent, Refused, Transient
from onlyvips.ports import Cluster, Lockable, Manifest, Metrics, SnapshotSource, SourceDatabase, SourceOplog
from onlyvips.steps import preflight_blue_green, preflight_in_place, preflight_ratio, preflight_references
from onlyvips.steps.deployed import NOTHING, Facts, Where, check_deployment, healthy, there
from onlyvips.steps.preflight_references import key
from onlyvips.steps.several import at_once

_RECENT = 300.0


def check_platform(cluster: Cluster, plan: ReleasePlan, version: str, where: Where = key) -> Facts:
    """What the service's strategy needs of the platform. Raises Refused with what is wrong and what to do."""
    strategy = plan.service.strategy
    if strategy not in _BY_STRATEGY:
        raise Refused(f"{plan.service.name} is released by {strategy}, which is not built yet: {NOTHING}.")
    facts = _BY_STRATEGY[strategy](cluster, plan, version)
    preflight_references.check(cluster, plan, facts, where)
    return facts


def _canary(cluster: Cluster, plan: ReleasePlan, version: str) -> Facts:
    """Deployment, Service and route as a canary needs them."""
    service = plan.service
    deployment = there(cluster, plan, "Deployment", service.deployment)
    front = there(cluster, plan, "Service", service.service)
    if not service.by_pods:
        _check_tracks(deployment, front)
    _check_version_label(deployment, plan)
    image = check_deployment(deployment, plan, version)
    if service.by_pods:
        preflight_ratio.check(cluster, deployment, front, plan)
    else:
        _check_route(cluster, plan)
    _check_names(cluster, plan)
    template = fingerprint(deployment["spec"]["template"])
    return Facts(image, template_release(deployment), _enough(deployment, plan), template)


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
            f"A canary needs `track: stable` in {', '.join(lacking)}, or it would get stable's traffic: {NOTHING}; "
            "adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_version_label(deployment: Manifest, plan: ReleasePlan) -> None:
    """The judge finds the canary's counters by ``app`` and ``version``, and the canary gets its version there."""
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    name = deployment["metadata"]["name"]
    if labels.get("app") != plan.service.name or "version" not in labels:
        raise Refused(
            f"The pods of Deployment {name} need the labels `app: {plan.service.name}` and `version`, by which the "
            f"judge finds the canary's counters: {NOTHING}; add them, then release."
        )
    if "version" in deployment["spec"]["selector"]["matchLabels"]:
        raise Refused(
            f"The selector of Deployment {name} has `version`, so stable cannot get another one in place: {NOTHING}; "
            "adopt the Deployment once (docs/runbooks/release.md, Adoption), then release."
        )


def _check_route(cluster: Cluster, plan: ReleasePlan) -> None:
    service = plan.service
    if service.route is None:
        raise Refused(f"{service.name} has no `route` in environment {plan.environment}: {NOTHING}; add one.")
    route = there(cluster, plan, "HTTPRoute", service.route.name)
    index = httproute.rule_index(route, service.route.rule, service.service)
    if index is None:
        raise Refused(
            f"HTTPRoute {service.route.name} has no rule {service.route.rule}: {NOTHING}; correct `route` of "
            f"{service.name}, or add the rule."
        )
    if service.service not in (found := httproute.names(route, index)):
        to = ", ".join(found) or "nobody"
        raise Refused(
            f"Rule {service.route.rule} of HTTPRoute {service.route.name} leads to {to} and not to {service.service}: "
            f"{NOTHING}; correct `service` or `route` of {service.name}, or the rule."
        )
    canary = canary_name(service.service)
    strangers = httproute.others(route, index, service.service, canary)
    weight = httproute.canary_weight(route, index, canary)
    if strangers or weight:
        what = f"also leads to {', '.join(strangers)}" if strangers else f"gives {weight} % to {canary} already"
        raise Refused(
            f"Rule {service.route.rule} of HTTPRoute {service.route.name} {what}: {NOTHING}; set it to "
            f"{service.service} alone, then release."
        )
    if why := obstacle(route, index, service.service, canary, service):
        raise Refused(
            f"HTTPRoute {service.route.name} {why}: {NOTHING}; correct the route, or `affinity` and `testers` of "
            f"{service.name} in environment {plan.environment}."
        )


def _check_names(cluster: Cluster, plan: ReleasePlan) -> None:
    for kind, name in (("Deployment", plan.service.deployment), ("Service", plan.service.service)):
        if cluster.get(kind, canary_name(name)) is not None:
            raise Refused(
                f"{kind} {canary_name(name)} is there already, without an open release: {NOTHING}; run `onlyvips "
                f"release reconcile -e {plan.environment} -s {plan.service.name}`, or remove it by hand if it is yours."
            )


def _enough(deployment: Manifest, plan: ReleasePlan) -> int:
    capacity = healthy(deployment, plan)
    if pods_for(plan.stages[0].weight, capacity) > capacity:
        raise Refused(f"{plan.service.deployment} has too few pods for the first stage: {NOTHING}.")
    return capacity


_BY_STRATEGY: Mapping[Strategy, Callable[[Cluster, ReleasePlan, str], Facts]] = {
    "canary": _canary,
    "blue-green": preflight_blue_green.check,
    "rolling": preflight_in_place.rolling,
    "recreate": preflight_in_place.recreate,
}


def check_all(checks: Sequence[Callable[[], object]]) -> None:
    """All at once. Raises Refused with the sentences of all that refuse; else what one that did not answer raised."""
    failed = [found for found in at_once(checks) if isinstance(found, Exception)]
    refused = [error for error in failed if isinstance(error, Refused)]
    bugs = [error for error in failed if not isinstance(error, OnlyVipsError)]
    if len(refused) > 1 and not bugs:
        raise Refused(" ".join(dict.fromkeys(map(str, refused)))) from refused[0]
    for error in [*bugs, *refused, *failed]:
        raise error


def check_metrics(metrics: Metrics) -> None:
    """The judge must be able to see. Raises Refused when the metrics system does not answer."""
    try:
        metrics.now()
    except Transient as error:
        raise Refused(f"{error} Without it nobody can judge a release: {NOTHING}; bring it back first.") from error


def seen(metrics: Metrics, plan: ReleasePlan, facts: Facts) -> Facts:
    """The facts, with whether the metrics know the service: in place one that they do not is released unjudged."""
    if plan.service.strategy not in ("rolling", "recreate"):
        return facts
    now = metrics.now()
    found = metrics.samples(plan.metrics.requests, {"app": plan.service.name}, now - _RECENT, now)
    return replace(facts, judged=facts.judged and bool(found))


def check_source(database: SourceDatabase, name: str) -> None:
    """What the backup would be refused for later is refused now: no server, a mongos, a collection it cannot keep."""
    try:
        database.server()
        database.namespaces(name)
    except (Permanent, Transient) as error:
        raise Refused(f"{name} cannot be backed up: {error} {NOTHING.capitalize()}.") from error


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
            raise Refused(f"The migration's unique index cannot be checked: {error} {NOTHING.capitalize()}.") from error
        if found:
            raise Refused(
                f"{plan.migration.database}.{index.collection} has several documents with the same {', '.join(keys)} "
                f"({', '.join(found)} …), so the migration's unique index would fail: {NOTHING}; merge them first."
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
