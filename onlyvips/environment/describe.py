"""An environment in plain English: what a release of it will do, for the engineer on call."""

from __future__ import annotations

from collections.abc import Mapping

from onlyvips.core.retention import policy_told
from onlyvips.environment.delivery import Service
from onlyvips.environment.model import Environment
from onlyvips.environment.operations import Alert, Notifications, Signal
from onlyvips.environment.plans import retention_policies
from onlyvips.environment.protection import Destination, Drill, Protected
from onlyvips.environment.quantities import show_duration as d
from onlyvips.environment.quantities import show_share, show_size
from onlyvips.environment.values import all_references, unresolved

Chapter = tuple[str, list[str]]
_ORDER = {
    "backup": "take a complete backup, and read its copies back",
    "secrets": "create the new secrets under new names",
    "migration": "run the database migration",
    "deploy": "deploy each service by its strategy",
}
_SIGNALS: dict[Signal, str] = {
    "latency": "the response time",
    "errors": "the error rate",
    "database-pool": "the share of database connections in use",
    "disk": "disk usage",
    "payments": "the share of payments that fail",
    "cpu": "CPU usage",
    "memory": "memory usage",
    "cache": "the cache's hit rate",
    "queue": "the backlog of the queue",
}
_KEPT = {"vault": "in Vault", "cluster": "in the cluster", "ssm": "in SSM", "offline": "offline", "file": "in a file"}


def describe(environment: Environment) -> list[Chapter]:
    """Chapters of sentences. Shows references, never values."""
    return [
        (f"Release {environment.release.version} in {environment.name}", _release(environment)),
        ("Services, in this order; back in reverse", _services(environment)),
        ("A canary", _canary(environment)),
        ("What guards it", _guards(environment)),
        ("Waits", _waits(environment)),
        ("Backups", _backups(environment)),
        ("If the worst happens", _recovery(environment)),
        ("Alerts", [_alert(name, alert) for name, alert in environment.monitoring.alerts.items()]),
        ("Go or no-go", _decision(environment)),
        ("Who is called", _people(environment)),
        ("Secrets and addresses, seen from this machine", _references(environment)),
    ]


def _release(environment: Environment) -> list[str]:
    release = environment.release
    lines = [f"{number}. {_ORDER[step]}." for number, step in enumerate(release.order, start=1)]
    for service, secrets in release.secrets.items():
        for one in secrets:
            keys = ", ".join(f"{key} from {reference}" for key, reference in one.values.items())
            lines.append(f"Secret {one.name} of {service} takes the place of {one.replaces}: {keys}.")
    for service, configs in release.configs.items():
        for config in configs:
            keys = ", ".join([*config.values, *([f"each file of {config.folder}"] if config.folder else [])])
            lines.append(f"ConfigMap {config.name} of {service} takes the place of {config.replaces}: {keys}.")
    if release.migration is not None:
        indexes = ", ".join(_index(i.collection, i.keys, i.unique) for i in environment.performance.indexes)
        lines.append(f"Job {release.migration.job} runs {release.migration.image} and makes the indexes {indexes}.")
    lines.append(
        f"Rollback is {release.rollback}; by hand, one mechanism for each Deployment: "
        f"{'; '.join(release.rollback_by_hand)}."
    )
    lines.append("Any other version is a change of image alone: no new secrets, no ConfigMaps, no migration.")
    if release.require_digest:
        lines.append("A version is refused without its digest, its own or that of release.digests.")
    return lines


def _index(collection: str, keys: Mapping[str, int], unique: bool) -> str:
    return f"{collection}({', '.join(f'{k}:{v}' for k, v in keys.items())}){' unique' if unique else ''}"


def _services(environment: Environment) -> list[str]:
    released = environment.release.services
    lines = [_service(name, environment.services[name], environment) for name in released]
    others = [name for name in environment.services if name not in released]
    return lines + ([f"Not part of this release: {', '.join(others)}."] if others else [])


def _service(name: str, service: Service, environment: Environment) -> str:
    switch = environment.strategies.blue_green
    how = {
        "canary": _split(service, environment),
        "blue-green": f"blue-green ({', '.join(switch.colours)}), smoke tests, then Service {switch.service} switches, "
        f"and the old colour is kept for {d(switch.keep_warm)}",
        "rolling": "rolling update, undone when it fails",
        "recreate": "stopped, then started anew, for it may never run twice",
    }[service.strategy]
    return f"{name} ({service.kind}, Deployment {service.deployment}, {service.image}): {how}."


def _split(service: Service, environment: Environment) -> str:
    if (service.router or environment.platform.router) == "replica-ratio":
        return f"canary by its share of the {service.replicas} pods behind Service {service.service}"
    return f"canary through rule {service.route.rule} of {service.route.name}" if service.route else "canary"


def _canary(environment: Environment) -> list[str]:
    canary = environment.strategies.canary
    stages = ", ".join(f"{stage.weight}% for {d(stage.hold)}" for stage in canary.stages)
    total = sum(stage.hold for stage in canary.stages)
    return [
        f"{stages}, then promotion to {canary.promotion}%: at least {d(total)} in all.",
        f"Each stage is looked at every {d(environment.waits.look)}; a bad look rolls back by itself.",
    ]


def _guards(environment: Environment) -> list[str]:
    analysis, alerts = environment.analysis, environment.monitoring.alerts
    lines = [
        f"{name}: rolls back {_limit(alerts[name])} beyond doubt, once {analysis.minimum_requests} requests were seen."
        for name in analysis.guardrails
    ]
    return [
        *lines,
        f"Beside stable: rolls back errors beyond doubt more than {show_share(analysis.errors_margin)} (points) worse, "
        f"and latency that is slower {show_share(analysis.latency_margin)} (points) more often than half of the time.",
        f"At most {show_share(analysis.alpha)} of good releases are rolled back by mistake.",
        f"No data for {d(environment.waits.maximum_hold)}: it holds, then rolls back as inconclusive.",
    ]


def _limit(alert: Alert) -> str:
    quantile = f" (p{alert.quantile * 100:g})" if alert.quantile is not None else ""
    what = f"{_SIGNALS[alert.signal]}{quantile}"
    return f"when {what} is {'above' if alert.above else 'below'} {alert.above or alert.below}"


def _alert(name: str, alert: Alert) -> str:
    during = f" for {d(alert.during)}" if alert.during else ""
    return f"{alert.severity}: {name}, {_limit(alert)}{during}."


def _waits(environment: Environment) -> list[str]:
    waits = environment.waits
    return [
        f"Up to {d(waits.propagation)} until the router obeys; {d(waits.ready)} until pods are ready; "
        f"{d(waits.job)} for the migration's Job.",
        f"It looks at the cluster every {d(waits.poll)}. A driver that died is noticed after {d(waits.lease)}.",
        f"Prefect runs the reconciler every {d(waits.reconcile_every)}."
        if waits.reconcile_every
        else "Prefect does not run the reconciler (waits.reconcile_every): a CronJob has to.",
    ]


def _backups(environment: Environment) -> list[str]:
    backup = environment.backup
    kept = ", ".join(f"{name} (identity kept {_KEPT[one.identity_kept_in]})" for name, one in backup.recipients.items())
    return [
        *(_destination(name, place) for name, place in backup.destinations.items()),
        f"Encrypted with age for {kept}; zstd level {backup.zstd_level}; parts of {show_size(backup.part_size)}, "
        f"{backup.workers} objects at a time, in at most {show_size(backup.memory)} of memory.",
        f"Collections above {show_size(backup.split_above)} are split by _id into objects below "
        f"{show_size(backup.object_size)} (before compression), and one for the rest.",
        f"A destination that confirms nothing for {d(backup.stall_timeout)} is dropped, and the backup is degraded.",
        *_secrets(environment),
        *_media(environment),
        *_redis(environment),
        *_configuration(environment),
        f"A copy counts in an audit when it was read back within {d(backup.verified_within)}.",
        *_retention(environment),
        f"Written down, not done yet: an oplog slice every {d(backup.oplog_every)}, {d(backup.oplog_limit)} at most.",
    ]


def _retention(environment: Environment) -> list[str]:
    backup, policies = environment.backup, retention_policies(environment)
    kept = "; ".join(f"{kind}: {policy_told(policy)}" for kind, policy in policies.items())
    locked = ", ".join(f"{kind} {d(policy.locked_for)}" for kind, policy in policies.items() if policy.locked_for)
    immutable = ", ".join(name for name, place in backup.destinations.items() if place.immutable)
    what = f"Object lock ({backup.lock}) at {immutable}, at first for: {locked}."
    return [
        f"Prune keeps of {kept}. What did not end within {d(backup.longest_run)} is dead.",
        *([what] if immutable else []),
    ]


def _secrets(environment: Environment) -> list[str]:
    reader = environment.backup.secrets
    if reader and reader.vault:
        return [f"Secrets: the raft snapshot of Vault at {environment.endpoints.vault}."]
    if reader and reader.ssm:
        return [f"Secrets: the parameters of SSM in {reader.ssm.region} below {', '.join(reader.ssm.paths)}."]
    return []


def _media(environment: Environment) -> list[str]:
    reader = environment.backup.media
    if reader is None:
        return []
    below = f", what begins with {reader.prefix}," if reader.prefix else ""
    where = f"bucket {reader.bucket} at {reader.url}{below}" if reader.kind == "s3" else str(reader.path)
    return [f"Media: {where} as plain objects that are not encrypted; what is replaced or removed is kept."]


def _redis(environment: Environment) -> list[str]:
    if not environment.platform.redis.persistent:
        return ["Redis is not persistent, so it is not backed up."]
    reader = environment.backup.redis
    which = ", which may be a replica" if reader and reader.replica else ""
    return [f"Redis: the RDB of the server at {environment.endpoints.redis}{which}."]


def _configuration(environment: Environment) -> list[str]:
    asked = environment.backup.configuration
    if asked is None:
        return []
    source = f" and the repository at {asked.repository}" if asked.repository else ", no repository"
    return [
        f"Configuration: {', '.join(asked.kinds)} of namespace {environment.platform.namespace}{source}; looked at "
        f"every {d(asked.look_every)}, taken when it changed and every {d(asked.take_every)}."
    ]


def _destination(name: str, place: Destination) -> str:
    where = f"bucket {place.bucket} at {place.url}" if place.kind == "s3" else str(place.path)
    declared = ["off site" if place.offsite else "on site", "immutable" if place.immutable else "not immutable"]
    return f"{name}: {where}, declared {place.medium}, {', '.join(declared)}."


def _recovery(environment: Environment) -> list[str]:
    recovery, targets = environment.recovery, environment.recovery.targets
    return [
        *(_protected(one) for one in recovery.protected),
        f"Back within {d(targets.rto)} (RTO), at most {d(targets.rpo)} lost (RPO), read-only within "
        f"{d(targets.degraded)}.",
        _drill(recovery.drill),
    ]


def _drill(drill: Drill) -> str:
    if drill.target is None:
        return "No restore is rehearsed: recovery.drill names no target."
    beside = ", beside the live database" if drill.beside_live else ""
    return (
        f"A restore is rehearsed every {d(drill.every)} at {drill.target}{beside}; the last good one may be "
        f"{d(drill.limit)} old. Records are believed by {', '.join(drill.public_keys)}."
    )


def _protected(one: Protected) -> str:
    often = f"every {d(one.every)}" if one.every else f"with {one.with_kind}" if one.with_kind else "on each change"
    return f"{one.kind}, {often}: {one.how}. Recovered by: {one.recovered_by}."


def _decision(environment: Environment) -> list[str]:
    decision = environment.decision
    return [
        f"Go needs: {'; '.join(decision.go)}.",
        f"Any one stops it: {'; '.join(decision.no_go)}.",
        f"Slowdown limit {show_share(decision.slowdown_limit)}, coverage at least "
        f"{show_share(decision.coverage_minimum)}.",
    ]


def _people(environment: Environment) -> list[str]:
    people = environment.people
    leads = ", ".join(f"{team} {address}" for team, address in people.leads.items())
    return [
        f"Leads: {leads}. Escalation: {people.escalation}.",
        f"On call: {people.on_call or 'no number is given'}. War room: {people.war_room}.",
        f"Slack {people.notifications.slack_channel}; each message has {', '.join(people.notifications.says)}.",
        *_notifications(people.notifications),
    ]


def _notifications(notifications: Notifications) -> list[str]:
    """Who is told what."""
    if not notifications.targets:
        return ["Nobody is told of a release: people.notifications.targets names nobody."]
    told = []
    for name, target in notifications.targets.items():
        wants = "everything" if "all" in target.wants else ", ".join(target.wants)
        to = {"leads": ", mailed to the leads", "escalation": ", mailed to the escalation"}.get(target.to or "", "")
        told.append(f"{name} ({target.url}{to}) is told: {wants}.")
    return [*told, f"Escalation: nobody answered for {d(notifications.escalate_after)}."]


def _references(environment: Environment) -> list[str]:
    missing = [why for one in all_references(environment) if (why := unresolved(environment, one))]
    return list(dict.fromkeys(missing)) or ["Every reference has a value here."]
