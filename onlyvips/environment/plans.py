"""From the environment to core's plans: plain frozen values, with references in the place of secrets."""

from __future__ import annotations

import re

from onlyvips.core import plan
from onlyvips.core.audit import AuditPlan, Place
from onlyvips.core.drills import DrillPlan
from onlyvips.core.images import tag_of
from onlyvips.core.locking import LockPlan
from onlyvips.core.retention import Policy
from onlyvips.core.windows import Calendar
from onlyvips.environment.calendar_of import calendar
from onlyvips.environment.delivery import Hook, Release
from onlyvips.environment.images import digest_for
from onlyvips.environment.model import Environment
from onlyvips.environment.problems import nearest
from onlyvips.environment.protection import Protected
from onlyvips.environment.rules import broken
from onlyvips.errors import Refused

_DAY = 86400.0
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def release_plan(
    environment: Environment, service: str, version: str, strategy: plan.Strategy | None = None
) -> plan.ReleasePlan:
    """All that a rollout of ``service`` to ``version`` needs to know; by another ``strategy`` than the environment's,
    where one is asked for and the service can be released by it.

    The migration and the secrets are those of ``release.version``; a variant of it (``v0.9.0-rc1``) has them too, any
    other version is a change of image alone. A digest may follow the version.
    """
    check_service(environment, service)
    if strategy is not None:
        environment = by_strategy(environment, service, strategy)
    digest = digest_for(environment, service, version)
    ours = is_the_release(environment.release, tag_of(version))
    strategy = environment.services[service].strategy
    return plan.ReleasePlan(
        environment=environment.name,
        namespace=environment.platform.namespace,
        service=_service(service, environment),
        stages=_stages(environment, strategy),
        waits=waits_of(environment),
        guardrails=guardrails(environment),
        alpha=environment.analysis.alpha,
        lease_duration=environment.waits.lease,
        migration=migration_of(environment) if ours else None,
        secrets=_secrets(environment.release, service) if ours else (),
        automatic_managers=environment.platform.automatic_managers,
        margins=_margins(environment) if strategy == "canary" else None,  # else stable has no traffic to compare with
        blue_green=_blue_green(environment, service) if strategy == "blue-green" else None,
        helm=_helm(environment, service),
        chart=_chart(environment, service),
        before=tuple(map(hook, environment.release.hooks.before)) if ours else (),
        after=tuple(map(hook, environment.release.hooks.after)) if ours else (),
        digest=digest,
        metrics=_metrics(environment),
        approvals=approvals_of(environment),
        configs=_configs(environment.release, service) if ours else (),
    )


def check_service(environment: Environment, service: str) -> None:
    """Raise Refused, with the nearest name and where services are named, for one that the environment has not."""
    if service not in environment.services:
        known = nearest(service, environment.services)
        raise Refused(f"{environment.name} has no service `{service}`{known} ({environment.where('services')})")


def approvals_of(environment: Environment) -> plan.Approvals | None:
    """Where people have to approve, of any version."""
    asked = environment.release.approvals
    if asked is None:
        return None
    points = (asked.before_traffic, asked.stages, asked.before_switch)
    return plan.Approvals(*points, asked.within, asked.at_least, asked.by, asked.four_eyes)


def release_calendar(environment: Environment) -> Calendar:
    """When a release may begin."""
    return calendar(environment.release.windows, environment.release.freezes)


def by_strategy(environment: Environment, service: str, strategy: plan.Strategy) -> Environment:
    """The environment as if its file said so. Raises Refused with the key and what speaks against it."""
    canary_alone = {} if strategy == "canary" else {"affinity": "none", "embedded": False, "testers": None}
    asked = environment.services[service].model_copy(update={"strategy": strategy, **canary_alone})
    changed = environment.model_copy(update={"services": {**environment.services, service: asked}})
    here = ("services", service)
    flaws = [f"{environment.where(*path)}: {told}" for path, told in broken(changed) if path[:2] == here]
    if flaws:
        raise Refused(f"{service} cannot be released by {strategy} in {environment.name}: {'; '.join(flaws)}.")
    return changed


def hook(one: Hook) -> plan.HookPlan:
    """A hook, or any Job that is run like one."""
    return plan.HookPlan(one.name, one.image, one.command, one.timeout)


def _margins(environment: Environment) -> plan.Margins:
    """What the canary may be worse by; a pod warms up for a look's length. In place nothing stands still beside it."""
    analysis = environment.analysis
    return plan.Margins(
        analysis.errors_margin, analysis.latency_margin, analysis.minimum_requests, environment.waits.look
    )


def _metrics(environment: Environment) -> plan.MetricNames:
    named = environment.monitoring.metrics
    return plan.MetricNames(named.requests, named.errors, named.latency, environment.analysis.errors_may_be_absent)


def backup_plan(environment: Environment) -> plan.BackupPlan:
    """How a base of the database is made: from where, to where, for whom, and with which limits."""
    backup, database = environment.backup, environment.platform.mongodb.database
    return plan.BackupPlan(
        environment=environment.name,
        kind="mongodb",
        database=database,
        uri=environment.endpoints.mongodb,
        destinations=tuple(_destination(name, environment) for name in backup.destinations),
        recipients=tuple(one.recipient for one in backup.recipients.values()),
        zstd_level=backup.zstd_level,
        zstd_threads=backup.zstd_threads,
        workers=backup.workers,
        stall_timeout=backup.stall_timeout,
        part_size=backup.part_size,
        object_size=backup.object_size,
        split_above=backup.split_above,
        lock=backup.lock,
    )


def lease_plan(environment: Environment) -> plan.LeasePlan:
    """Where the right to write backups is held."""
    leases, duration = environment.backup.leases, environment.waits.lease
    patience = max(4 * duration, environment.backup.stall_timeout + duration)
    return plan.LeasePlan(_destination(leases.destination, environment), leases.bucket, duration, patience)


def retention_policies(environment: Environment) -> dict[str, Policy]:
    """What is kept of each kind."""
    return {
        kind: Policy(
            keep.last,
            keep.hourly,
            keep.daily,
            keep.weekly,
            keep.monthly,
            keep.yearly,
            within=keep.within or 0.0,
            locked_for=keep.locked_for or 0.0,
        )
        for kind, keep in environment.backup.retention.items()
    }


def lock_plan(environment: Environment, destination: str) -> LockPlan | None:
    """How a destination locks what is written there; None where it does not promise to."""
    mode = environment.backup.lock
    if mode == "none" or not environment.backup.destinations[destination].immutable:
        return None
    return LockPlan(mode, {kind: one.locked_for for kind, one in retention_policies(environment).items()})


def audit_plan(environment: Environment) -> AuditPlan:
    """What an audit asks of the backups."""
    backup, asked = environment.backup, environment.backup.copies
    return AuditPlan(
        environment=environment.name,
        every=_every(environment),
        places=tuple(Place(name, one.medium, one.offsite, one.immutable) for name, one in backup.destinations.items()),
        copies=asked.at_least,
        media=asked.media,
        offsite=asked.offsite,
        immutable=asked.immutable,
        rpo=environment.recovery.targets.rpo,
        verified_within=backup.verified_within,
        oplog_limit=backup.oplog_limit,
    )


def drill_plan(environment: Environment) -> DrillPlan:
    """What is asked of drills."""
    drill, targets = environment.recovery.drill, environment.recovery.targets
    rehearsed = drill.target is not None
    return DrillPlan(environment.name, rehearsed, drill.every, drill.limit, targets.rto, targets.rpo)


def _every(environment: Environment) -> dict[str, float]:
    """Seconds between two backups of each kind that the platform has; of one that follows changes, at most."""
    asked: dict[str, Protected] = {one.kind: one for one in environment.recovery.protected}
    reader = environment.backup.configuration
    found = {}
    for kind in kinds(environment):
        one = asked[kind]
        at_most = reader.take_every if one.on_change and kind == "configuration" and reader else 0.0
        found[kind] = (asked[one.with_kind].every if one.with_kind else one.every) or at_most
    return found


def _looks(environment: Environment) -> dict[str, float]:
    """Seconds between two looks at each kind that is taken when it changed."""
    reader, asked = environment.backup.configuration, environment.recovery.protected
    return {one.kind: reader.look_every for one in asked if reader and one.on_change and one.kind == "configuration"}


def schedules(environment: Environment) -> list[plan.Scheduled]:
    """What Prefect starts by itself: each kind as often as it is due, slices of the oplog, read-backs, audits,
    drills."""
    backup, name = environment.backup, environment.name
    if not backup.scheduled:
        return []
    every = {**_every(environment), "oplog": backup.oplog_every}
    looks = _looks(environment)
    found = []
    for kind in (kind for kind in kinds(environment) if every[kind]):
        asked: tuple[tuple[str, str | float], ...] = (("environment", name), ("kind", kind))
        asked += (("if_changed", True),) if kind in looks else ()
        found.append(plan.Scheduled(f"{name}-{kind}", "backup/backup", asked, looks.get(kind, every[kind])))
    hours = backup.verified_within / 2 / 3600
    unread = (("environment", name), ("unread_hours", hours))
    found.append(plan.Scheduled(f"{name}-verify", "backup-verify/backup-verify", unread, backup.verified_within / 2))
    about = (("environment", name),)
    found.append(plan.Scheduled(f"{name}-audit", "backup-audit/backup-audit", about, every["mongodb"]))
    between = every["mongodb"] / 2 + backup.oplog_every / 2  # no writer of these kinds is at work then
    found.append(plan.Scheduled(f"{name}-prune", "backup-prune/backup-prune", about, _DAY, between))
    if environment.recovery.drill.target:
        late = every["mongodb"] * 3 / 4 + backup.oplog_every / 2  # slices are there, and prune is not at work
        found.append(plan.Scheduled(f"{name}-drill", "drill/drill", about, environment.recovery.drill.every, late))
    return found


def release_schedules(environment: Environment) -> list[plan.Scheduled]:
    """What Prefect starts by itself for releases: the reconciler, where the environment says how often."""
    every, name = environment.waits.reconcile_every, environment.name
    about = (("environment", name),)
    return [plan.Scheduled(f"{name}-reconcile", "reconcile/reconcile", about, every)] if every else []


def kinds(environment: Environment) -> list[str]:
    """The kinds of backup that the environment asks for, and whose data the platform keeps."""
    platform = environment.platform
    absent = {
        "redis": not platform.redis.persistent,
        "media": platform.media == "none",
        "secrets": platform.secret_manager == "none",
    }
    return [one.kind for one in environment.recovery.protected if not absent.get(one.kind, False)]


def guardrails(environment: Environment) -> tuple[plan.Guardrail, ...]:
    """The alerts that the judge's guardrails name, as limits on shares of requests."""
    return tuple(_guardrail(name, environment) for name in environment.analysis.guardrails)


def _guardrail(name: str, environment: Environment) -> plan.Guardrail:
    alert, minimum = environment.monitoring.alerts[name], environment.analysis.minimum_requests
    threshold, recent = alert.above.value if alert.above else 0.0, alert.during or 0.0
    if alert.signal == "errors":
        return plan.Guardrail(name, "errors", threshold, minimum_requests=minimum, recent=recent)
    slower = round(1 - (alert.quantile or 0.0), 10)
    return plan.Guardrail(name, "latency", slower, bound=threshold, minimum_requests=minimum, recent=recent)


def is_the_release(release: Release, version: str) -> bool:
    """Whether ``version`` is the one that the release is about. Raises Refused for what is no version here."""
    if not _TAG.fullmatch(version):
        raise Refused(f"`{version}` is not an image's tag: give a version such as {release.version}.")
    if _names(release, f"v{version}"):
        raise Refused(f"`{version}` is not a version here: did you mean `v{version}`?")
    return _names(release, version)


def _names(release: Release, version: str) -> bool:
    """Whether ``version`` is the release's, or a variant of it."""
    return version == release.version or version.startswith(f"{release.version}-")


def _service(name: str, environment: Environment) -> plan.ServicePlan:
    service = environment.services[name]
    router = service.router or environment.platform.router
    route = plan.RouteRef(service.route.name, service.route.rule) if service.route else None
    testers = plan.Testers(service.testers.header, service.testers.value) if service.testers else None
    return plan.ServicePlan(
        name,
        service.image,
        service.strategy,
        service.deployment,
        service.service or "",
        route,
        sticky=service.affinity == "cookie",
        embedded=service.embedded,
        testers=testers,
        router=router,
    )


def _helm(environment: Environment, service: str) -> str:
    chart = environment.services[service].chart
    return (chart.release if chart else None) or environment.platform.helm_release or ""


def _chart(environment: Environment, service: str) -> plan.ChartPlan | None:
    """How Helm changes the service's Deployment, where it owns it."""
    if (chart := environment.services[service].chart) is None:
        return None
    return plan.ChartPlan(
        release=_helm(environment, service),
        image_value=chart.image_value,
        release_value=chart.release_value,
        secret_values=tuple(chart.secret_values.items()),
        timeout=chart.timeout,
        path=chart.path or "",
        name=chart.name or "",
        version=chart.version or "",
        repository=chart.repository or "",
    )


def _stages(environment: Environment, strategy: plan.Strategy) -> tuple[plan.Stage, ...]:
    if strategy == "blue-green":
        return (plan.Stage(100, environment.strategies.blue_green.keep_warm),)
    if strategy != "canary":
        return ()
    return tuple(plan.Stage(stage.weight, stage.hold) for stage in environment.strategies.canary.stages)


def _blue_green(environment: Environment, service: str) -> plan.BlueGreen:
    setting, mine = environment.strategies.blue_green, environment.services[service]
    services = environment.services.items()
    beside = tuple(name for name, one in services if one.service == mine.service and name != service)
    asked = [one for one in setting.smoke_test.requests if one.service in (None, service)]
    tests = tuple(plan.SmokeTest(one.path, one.status, one.contains) for one in asked)
    return plan.BlueGreen(setting.label, setting.colours, tests, beside)


def waits_of(environment: Environment) -> plan.Waits:
    """How long things may take."""
    waits = environment.waits
    return plan.Waits(
        waits.propagation, waits.poll, waits.look, waits.ready, waits.job, waits.maximum_hold, waits.hold_limit or 0.0
    )


def _secrets(release: Release, service: str) -> tuple[plan.SecretPlan, ...]:
    return tuple(
        plan.SecretPlan(one.name, one.replaces, tuple(one.values.items())) for one in release.secrets.get(service, ())
    )


def _configs(release: Release, service: str) -> tuple[plan.ConfigPlan, ...]:
    return tuple(
        plan.ConfigPlan(one.name, one.replaces, tuple(one.values), one.folder or "")
        for one in release.configs.get(service, ())
    )


def migration_of(environment: Environment) -> plan.MigrationPlan | None:
    """The index migration."""
    migration = environment.release.migration
    if migration is None:
        return None
    return plan.MigrationPlan(
        job=migration.job,
        image=migration.image,
        command=migration.command,
        database=environment.platform.mongodb.database,
        uri_secret=migration.uri_secret.name,
        uri_key=migration.uri_secret.key,
        indexes=tuple(
            plan.Index(index.collection, tuple(index.keys.items()), index.unique)
            for index in environment.performance.indexes
        ),
    )


def _destination(name: str, environment: Environment) -> plan.DestinationPlan:
    place = environment.backup.destinations[name]
    return plan.DestinationPlan(
        name=name,
        kind=place.kind,
        medium=place.medium,
        offsite=place.offsite,
        immutable=place.immutable,
        url=place.url or "",
        bucket=place.bucket or "",
        region=place.region or "",
        access_key=place.access_key or "",
        secret_key=place.secret_key or "",
        path=place.path or "",
        pruner_access_key=place.pruner_access_key or "",
        pruner_secret_key=place.pruner_secret_key or "",
    )
