"""The one composition root: from an environment's name to adapters, and the releases that this process drives."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from onlyvips import environment as environments
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.adapters.lease_kubernetes import KubernetesCell
from onlyvips.adapters.metrics_prometheus import PrometheusMetrics
from onlyvips.adapters.prober_http import HttpProber
from onlyvips.core import approvals, windows
from onlyvips.core.phases import AWAITING
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Command, Driver, Record
from onlyvips.environment import Environment
from onlyvips.errors import Misuse, Permanent, Refused
from onlyvips.ports import Cluster, Lease, Metrics
from onlyvips.steps import group_records, opening, preflight, records, targets
from onlyvips.steps.backup import probe_stores
from onlyvips.steps.deployed import Facts
from onlyvips.steps.fence import Fence, highest_epoch
from onlyvips.steps.lease import CellLease
from onlyvips.steps.opening import Site, Start
from onlyvips.steps.pipe import check_recipients
from onlyvips.steps.queries import check_queries
from onlyvips.steps.rollout import Rollout
from onlyvips.steps.tools import Tools
from onlyvips.wiring import backups, charting, evidence
from onlyvips.wiring.living import alive_while, lively
from onlyvips.wiring.places import database_of, kubeconfig_of, lockable_stores, stores_of
from onlyvips.wiring.telling import herald_of

_PATIENCE_LOOKS = 3
T = TypeVar("T")


@dataclass
class _Driven:
    environment: Environment
    run: str
    lease: Lease | None
    rollout: Rollout | None
    waits: bool = False


_driven: dict[str, _Driven] = {}
_runs: list[str] = []
_of_runs: dict[tuple[str, str], str] = {}


def begin(environment: str, service: str, start: Start) -> str:
    """Open a release, or go on with it, and keep it as driven by this process. Returns its id; see ``opening``."""
    loaded = environments.load(environment)
    site = site_of(loaded, service, start.version)
    if not start.override.strip():
        site = replace(site, preflight=partial(in_time, loaded, site.preflight))
    return open_here(loaded, site, start)


def open_here(loaded: Environment, site: Site, start: Start) -> str:
    """Open a release at ``site``, or go on with it, and keep it as driven by this process. Returns its id.

    Asked again by the same run, it is the same release.
    """
    _runs.append(start.run)
    if (mine := next((name for name, one in _driven.items() if start.run and one.run == start.run), None)) is not None:
        return mine
    if start.run and (closed := opening.already_closed(site.cluster, start.run)) is not None:
        _driven[closed.id] = _Driven(loaded, start.run, site.lease, None)
        return closed.id
    rollout = opening.open_release(site, start)
    try:
        waits = rollout.record().phase == AWAITING and rollout.next().kind == "wait"  # which tells people, too
    except BaseException:
        site.lease.release()
        raise
    _driven[rollout.release] = _Driven(loaded, start.run, site.lease, rollout, waits)
    return rollout.release


def driven(release: str) -> Rollout:
    """The release as this process drives it. Raises Misuse when it does not."""
    found = _driven.get(release)
    if found is None or found.rollout is None:
        raise Misuse(f"Release {release} is not driven by this process.")
    return found.rollout


def record(release: str) -> Record:
    """The record of a release that this process opened."""
    found = _driven[release]
    return records.load(cluster_of(found.environment), release)


def let_go(run: str) -> None:
    """Give up the lease of the release that ``run`` drives here, when it drives one; the release stays as it is."""
    for release in [name for name, one in _driven.items() if one.run == run]:
        found = _driven.pop(release)
        if found.lease is not None:
            found.lease.release()
        if found.rollout is not None:
            found.rollout.tools.herald.settle()


@contextmanager
def driving(loaded: Environment, run: str, rollout: Rollout) -> Iterator[None]:
    """Keep a release as driven by this process while the block runs; whose Lease it is, is the caller's business."""
    _driven[rollout.release] = _Driven(loaded, run, None, rollout)
    try:
        yield
    finally:
        _driven.pop(rollout.release, None)


def waits_for_approval(release: str) -> bool:
    """Whether a release waited for an approval before anything changes when this process opened it: then nobody is to
    hold its Lease."""
    return release in _driven and _driven[release].waits


def note_run(run: str) -> None:
    """Remember which run asked last."""
    _runs.append(run)


def run_here() -> str:
    """The run that asked last for a release in this process, whatever became of it; "" when none did."""
    return _runs[-1] if _runs else ""


def site_of(loaded: Environment, service: str, version: str) -> Site:
    """Where a release of ``service`` happens, with everything that it needs."""
    plan = environments.release_plan(loaded, service, version)
    cluster, clock = cluster_of(loaded), SystemClock()
    patience = max(_PATIENCE_LOOKS * plan.waits.look, 4 * plan.lease_duration)
    floor = partial(highest_epoch, cluster, service, targets.lasting(plan))
    cell = KubernetesCell(cluster, _lease_name(service))
    lease = CellLease(cell, clock, plan.lease_duration, patience, floor=floor)
    return Site(
        cluster=cluster,
        clock=clock,
        lease=lease,
        plan=plan,
        tools=lambda fence: _tools(loaded, plan, cluster, fence),
        preflight=lambda: _preflight(loaded, plan, cluster, version),
        suffix=lambda: secrets.token_hex(3),
    )


def cluster_of(loaded: Environment) -> KubernetesCluster:
    """The environment's cluster, by one client that keeps its connections for as long as its kubeconfig is the same."""
    path = kubeconfig_of(loaded)
    written = path.stat().st_mtime_ns if path is not None and path.is_file() else 0
    return _cluster(path, written, loaded.platform.namespace)


@lru_cache(maxsize=8)
def _cluster(kubeconfig: Path | None, written: int, namespace: str) -> KubernetesCluster:
    return KubernetesCluster(kubeconfig, namespace)


def _tools(loaded: Environment, plan: ReleasePlan, cluster: KubernetesCluster, fence: Fence) -> Tools:
    return Tools(
        cluster=cluster,
        metrics=metrics_of(loaded),
        clock=SystemClock(),
        fence=fence,
        plan=plan,
        back_up=partial(_back_up, loaded),
        resolve=lambda reference: environments.resolve(loaded, reference).get_secret_value(),
        config=lambda config: environments.config_values(loaded, plan.service.name, config.name),
        prober=_prober(loaded, plan),
        keep_evidence=lambda record: alive_while(fence.progress, lambda: evidence.keep(loaded, plan, record)),
        herald=herald_of(loaded, plan, cluster),
        charts=charting.charts_of(loaded, plan),
    )


def _prober(loaded: Environment, plan: ReleasePlan) -> HttpProber | None:
    """Where smoke tests come in: like users, where the environment says."""
    at = loaded.strategies.blue_green.smoke_test.at or loaded.endpoints.api
    return HttpProber(environments.endpoint(loaded, at)) if plan.blue_green else None


def metrics_of(loaded: Environment) -> Metrics:
    """The counters that the judge reads."""
    return PrometheusMetrics(environments.endpoint(loaded, loaded.endpoints.prometheus))


def _preflight(loaded: Environment, plan: ReleasePlan, cluster: KubernetesCluster, version: str) -> Facts:
    """All that can be refused before anything changes, the cheapest first."""
    environments.check_digest(loaded, plan, version)
    facts = charting.check_platform(loaded, cluster, plan, version)
    check_configs(loaded, plan)
    check_secrets(loaded, plan)
    preflight.check_all(checks_of(loaded, plan))
    return preflight.seen(metrics_of(loaded), plan, facts)


def check_configs(loaded: Environment, plan: ReleasePlan) -> None:
    """Read what every ConfigMap of the release will hold. Raises Refused with file, line and key."""
    for config in plan.configs:
        environments.config_values(loaded, plan.service.name, config.name)


def check_secrets(loaded: Environment, plan: ReleasePlan) -> None:
    """That every Secret of the release can be made. Raises Refused with file, line and key, and shows no value."""
    for number, secret in enumerate(plan.secrets):
        for key, reference in secret.values:
            if why := environments.unresolved(loaded, reference):
                where = loaded.where("release", "secrets", plan.service.name, number, "values", key)
                raise Refused(f"{where}: {why} Nothing was changed.")


def check_calendar(loaded: Environment) -> None:
    """Raise Refused outside of the release windows and in a freeze, with the next time at which one may begin."""
    if why := windows.closed(environments.release_calendar(loaded), SystemClock().now()):
        raise Refused(
            f"No release of {loaded.name} may begin: {why}. Nothing was changed; wait, or `--override REASON`, which "
            "stands in the record and the evidence. Abort, reconcile and rollback are never frozen."
        )


def in_time(loaded: Environment, others: Callable[[], T]) -> T:
    """``others``, once the calendar lets a release begin."""
    check_calendar(loaded)
    return others()


def checks_of(loaded: Environment, plan: ReleasePlan) -> list[Callable[[], object]]:
    """What is asked of everything but the cluster before a release; each raises Refused by itself."""
    return [
        lambda: check_queries(metrics_of(loaded), plan, loaded.where),
        lambda: check_recipients(environments.recipients(loaded)),
        lambda: preflight.check_source(database_of(loaded), environments.backup_plan(loaded).database),
        lambda: preflight.check_lock(lockable_stores(loaded)),
        lambda: probe_stores(stores_of(loaded)),
        lambda: backups.check_lease(loaded, "mongodb"),
        lambda: preflight.check_duplicates(database_of(loaded), plan),
    ]


def _back_up(loaded: Environment, record: Record, progress: Callable[[], None]) -> str:
    return back_up(loaded, record.id, progress)


def back_up(loaded: Environment, release: str, progress: Callable[[], None]) -> str:
    """One complete base. Raises Permanent when a destination lacks it: a release needs every copy."""
    with lively(progress) as alive:
        base = backups.take_one(loaded, "mongodb", f"release {release}", lambda size, documents: alive())
    if base.degraded:
        raise Permanent(
            f"The backup before release {release} is degraded ({base.lacking}): it is kept as {base.key}, the "
            "release stopped before anything changed; correct the destination, then start the release again."
        )
    return base.key


def check_service(environment: str, service: str) -> Environment:
    """The environment. Raises Refused, with the nearest name, for a service that it has not; "" is all of them."""
    loaded = environments.load(environment)
    if service:
        environments.check_service(loaded, service)
    return loaded


def status(environment: str, service: str = "") -> list[tuple[Record, Driver]]:
    """Every release in the environment with who drives it ("" when it is closed or nobody does), oldest first."""
    cluster = cluster_of(check_service(environment, service))
    found = records.every(cluster, service)
    return [(record, driver_of(cluster, record) if record.open else Driver("", "")) for record in found]


def driver_of(cluster: Cluster, record: Record) -> Driver:
    """As the Lease says. A driver that was killed stands there too, so the moment of its last renewal is told.

    Whoever drives a release of several services has its Lease all the time, and that of a member only now and then.
    """
    lease = cluster.get("Lease", _lease_name(group_records.LEASE if record.group else record.service))
    spec = lease["spec"] if lease else {}
    return Driver(str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or ""))


def _lease_name(service: str) -> str:
    return f"onlyvips-release-{service}"


def release_of_run(environment: str, run: str) -> Record | None:
    """The release that a run began or went on with, None while there is none. Once found, it is read by its name."""
    cluster, key = cluster_of(environments.load(environment)), (environment, run)
    known = records.find(cluster, _of_runs[key]) if key in _of_runs else None
    if (found := known or opening.of_run(cluster, run)) is not None:
        _of_runs[key] = found.id
    return found


def driven_by(environment: str, service: str, run: str) -> Record | None:
    """The open release of ``service`` when ``run`` was the last to drive it, else None."""
    cluster = cluster_of(environments.load(environment))
    found = records.find_open(cluster, service)
    return found if found is not None and opening.drives(found, cluster, run) else None


def load_record(environment: str, release: str) -> Record:
    """One release's record."""
    return records.load(cluster_of(environments.load(environment)), release)


def abort(environment: str, service: str, *, by: str, reason: str) -> Record:
    """Ask the open release of ``service`` to go back. Raises Refused when none is open."""
    from onlyvips.wiring import several

    cluster = cluster_of(check_service(environment, service))
    found = records.find_open(cluster, service)
    if found is None:
        raise Refused(f"No release of {service} is open in {environment}: there is nothing to abort.")
    command = Command("abort", by, SystemClock().now(), reason)
    if found.group:  # one goes back, all go back: in reverse order, so the driver of all has to hear it
        several.ask_to_go_back(cluster, group_records.load(cluster, found.group), command)
    else:
        records.command(cluster, found.id, command)
    return records.load(cluster, found.id)


def reconcile(
    environment: str, service: str, *, holder: str, attended: bool = False
) -> tuple[Record | None, tuple[str, ...]]:
    """Finish the open release of ``service`` when its driver is dead, and remove orphans.

    Returns the release as it is now (None when none was open) and the orphans that were removed. Raises Driven while
    its driver lives.
    """
    from onlyvips.wiring import several

    loaded = environments.load(environment)
    cluster = cluster_of(loaded)
    found = records.find_open(cluster, service)
    if found is None or found.group:
        whole = group_records.find_open(cluster)
        if whole is not None and service in whole.services and (found is None or found.group == whole.id):
            return several.reconcile_member(environment, whole, service, holder=holder, attended=attended)
    site = site_of(loaded, service, found.version if found else loaded.release.version)
    if found is not None and found.phase == AWAITING and approvals.rests(found, site.plan, site.clock.now()):
        herald = herald_of(loaded, site.plan, cluster)
        herald.look(found)  # who is asked for an approval for long is told again
        herald.settle()
        return found, ()
    if found is not None:
        limit = 2 * (site.plan.waits.ready + site.plan.waits.propagation)
        finished = opening.finish(site, found.id, holder, attended=attended, limit=limit)
        return finished, ()
    return None, tuple(opening.remove_orphans(site, holder))


def check(environment: str, service: str, version: str, *, override: str = "") -> Facts:
    """The preflight of a release alone: everything that can be refused, and nothing changed. With an ``override``
    windows and freezes are not asked, as they are not at its start."""
    loaded = environments.load(environment)
    look = site_of(loaded, service, version).preflight
    return look() if override.strip() else in_time(loaded, look)
