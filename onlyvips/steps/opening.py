"""Begin a release, go on with one, or finish one that nobody drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from onlyvips.core import approvals, images
from onlyvips.core.action import Action
from onlyvips.core.decide import next_action
from onlyvips.core.manifests import MANAGED, RELEASE, canary_name, fingerprint
from onlyvips.core.past import hurried
from onlyvips.core.phases import AWAITING
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.world import World
from onlyvips.errors import Refused, Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster, Lease, Manifest
from onlyvips.steps import group_records, orphans, records, targets
from onlyvips.steps.deployed import Facts
from onlyvips.steps.fence import Fence
from onlyvips.steps.rollout import Rollout
from onlyvips.steps.routers import canary_router
from onlyvips.steps.tools import Tools

T = TypeVar("T")
_PATIENCE = 120.0
"""Seconds that a reconciler, an abort or a cancellation waits for an API that is away."""


@dataclass(frozen=True)
class Target:
    """What a rollback to an earlier release brings: the ``snapshot`` that has it, its image and its version."""

    snapshot: str
    image: str
    version: str


@dataclass(frozen=True)
class Start:
    """Who asks for what. ``run`` names the run across its attempts, ``holder`` this attempt of it. ``group`` is the
    release of all services that asks, with the ``backup`` that it took; ``override``: why
    it begins outside of the release windows or in a freeze."""

    version: str
    operator: str
    run: str
    holder: str
    group: str = ""
    backup: str = ""
    override: str = ""
    target: Target | None = None


@dataclass(frozen=True)
class Site:
    """Where a release happens: enough to find it, own it and drive it."""

    cluster: Cluster
    clock: Clock
    lease: Lease
    plan: ReleasePlan
    tools: Callable[[Fence], Tools]
    preflight: Callable[[], Facts]
    suffix: Callable[[], str]


def of_run(cluster: Cluster, run: str) -> Record | None:
    """The release that this run began or went on with, the newest; None while there is none."""
    if not run:
        return None
    begun = {record.id for record in records.every(cluster, run=run)}
    found = [each for each in records.every(cluster) if each.id in begun or any(run in name for name in each.holders)]
    return found[-1] if found else None


def drives(record: Record, cluster: Cluster, run: str) -> bool:
    """True when ``run`` was the last to drive the open ``record``: nobody else went on with it since."""
    if not run or not record.open:
        return False
    if record.holders:
        return run in record.holders[-1]
    return any(each.id == record.id for each in records.every(cluster, run=run))


def already_closed(cluster: Cluster, run: str) -> Record | None:
    """The release of this run when it is closed by now: a retry must not begin another one."""
    found = of_run(cluster, run)
    return found if found is not None and not found.open else None


def open_release(site: Site, start: Start) -> Rollout:
    """Drive the service's release: a new one, or the open one of the same version whose driver is gone.

    Raises Refused, having changed nothing, when another version is on its way, when its driver lives (Driven), or when
    the preflight finds something.
    """
    service = site.plan.service.name
    _check_alone(site, start)
    _check_version(records.find_open(site.cluster, service), start)
    facts = site.preflight() if _begins(site, records.find_open(site.cluster, service)) else None
    epoch = site.lease.acquire(start.holder)
    try:
        fence = Fence(site.cluster, service, epoch, site.lease.progress)
        found = records.find_open(site.cluster, service)
        _check_alone(site, start)
        _check_version(found, start)
        if found is None:
            found = _new_record(site, start, facts or site.preflight())
            records.create(site.cluster, fence, found, start.run)
        rollout = Rollout(_tools(site, fence, found), found.id, attended=True)
        rollout.take_over(start.holder)
        if found.phase == AWAITING and facts is not None:
            rollout.still(facts, start.override)
    except BaseException:
        site.lease.release()
        raise
    return rollout


def _begins(site: Site, found: Record | None) -> bool:
    """Whether it would change something for the first time: what may refuse it is asked just before."""
    if found is None:
        return True
    seen = World(None, None, None, now=site.clock.now())
    return found.phase == AWAITING and next_action(found, seen, site.plan, attended=True).phase == "prepare"


def _tools(site: Site, fence: Fence, record: Record) -> Tools:
    """A rollback to an earlier release is not held for hours: whoever drives it goes by the same plan."""
    tools = site.tools(fence)
    return replace(tools, plan=hurried(tools.plan)) if record.target else tools


def _check_alone(site: Site, start: Start) -> None:
    """A release of all services holds them from its first moment on, before it has a record of each."""
    service, whole = site.plan.service.name, group_records.find_open(site.cluster)
    if whole is not None and not start.group and service in whole.services:
        raise _part_of(whole.id, service, whole.environment, f"{whole.decision} so far")


def _part_of(group: str, service: str, environment: str, stands: str) -> Refused:
    return Refused(
        f"{service} is part of release {group} of all services, which is open ({stands}): nothing was changed; wait "
        f"for it, or `onlyvips release abort -e {environment} --all`."
    )


def _check_version(found: Record | None, start: Start) -> None:
    if found is not None and found.group != start.group:
        what = f"release {found.group} of all services" if found.group else "a release of its own"
        raise Refused(
            f"{found.service} is part of {what}, which is open ({found.id}, phase {found.phase}): nothing was changed; "
            f"wait for it, or `onlyvips release abort -e {found.environment} -s {found.service}`."
        )
    wanted = start.target.snapshot if start.target else ""
    tag, digest = images.tag_of(start.version), images.digest_of(start.version)
    other = found is not None and (found.version != tag or digest not in ("", found.digest))
    if found is not None and (other or found.target != wanted):
        stands = f"phase {found.phase}, canary at {found.weight} %"
        where = f"-e {found.environment} -s {found.service}"
        raise still_open(f"{found.id} of {found.service} {found.asked}", stands, start.version, where)


def still_open(what: str, stands: str, version: str, where: str) -> Refused:
    """The refusal of ``version`` while another release is on its way."""
    return Refused(
        f"Release {what} is still open ({stands}), so {version} was refused and nothing was changed; wait for it, or "
        f"`onlyvips release abort {where}`, or, if its driver is dead, `onlyvips release reconcile {where}`."
    )


def _new_record(site: Site, start: Start, facts: Facts) -> Record:
    service, version = site.plan.service, images.tag_of(start.version)
    image = images.with_digest(f"{service.image}:{version}", site.plan.digest)
    now = site.clock.now()
    asked = None if start.group or start.target else site.plan.approvals
    record = Record(
        id=images.named(service.name, version, site.suffix()),
        environment=site.plan.environment,
        service=service.name,
        version=version,
        from_image=facts.image,
        to_image=start.target.image if start.target else image,
        target=start.target.snapshot if start.target else "",
        from_release=facts.release,
        from_template=facts.template,
        operator=start.operator,
        plan_hash=fingerprint(repr(site.plan)),
        capacity=facts.capacity,
        strategy=service.strategy,
        judged=facts.judged,
        colours=facts.colours,
        override=start.override,
        created=now,
        group=start.group,
        backup=start.backup,
        approvals=approvals.beginning(asked, now),
    )
    if (wanted := approvals.pending(record.approvals)) is None:
        return record
    return replace(record, phase=AWAITING).waits(approvals.WAIT, approvals.told(record, wanted, site.plan), now)


def finish(site: Site, release: str, holder: str, *, attended: bool, limit: float) -> Record:
    """Drive an open release to its end, or for ``limit`` seconds of one wait. Raises Driven while its driver lives.

    Nobody comes after this one, so it has patience with an API that is away for a moment.
    """
    rollout = resume(site, release, holder, attended=attended)
    try:
        drive(site, rollout, limit, lambda record: not record.open)
        return patiently(site, rollout.record)
    finally:
        site.lease.release()
        rollout.tools.herald.settle()


def resume(site: Site, release: str, holder: str, *, attended: bool) -> Rollout:
    """Take the lease of an open release, to drive it. Raises Driven while its driver lives."""
    epoch = patiently(site, lambda: site.lease.acquire(holder))
    try:
        fence = Fence(site.cluster, site.plan.service.name, epoch, site.lease.progress)
        found = patiently(site, lambda: records.load(site.cluster, release))
        rollout = Rollout(_tools(site, fence, found), release, attended=attended)
        patiently(site, lambda: rollout.take_over(holder))
    except BaseException:
        site.lease.release()
        raise
    return rollout


def patiently(site: Site, ask: Callable[[], T]) -> T:
    """Ask until it answers, for at most ``_PATIENCE`` seconds: every step converges from what is there."""
    until = site.clock.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except (Transient, UnknownOutcome) as error:
            if site.clock.monotonic() >= until:
                raise
            site.clock.sleep(max(site.plan.waits.poll, error.delay if isinstance(error, Transient) else 0.0))


def drive(
    site: Site,
    rollout: Rollout,
    limit: float,
    arrived: Callable[[Record], bool],
    moves: Callable[[Action], bool] = lambda _: True,
) -> None:
    """Drive it until it has ``arrived``, or one wait is longer than ``limit`` seconds, or an action is no move."""
    waiting_since = site.clock.monotonic()

    def turn() -> bool:
        nonlocal waiting_since
        if arrived(rollout.record()):
            return False
        action = rollout.next()
        if not moves(action):
            return False
        if action.kind != "wait":
            waiting_since = site.clock.monotonic()
        elif site.clock.monotonic() - waiting_since > limit:
            return False
        rollout.perform(action)
        return True

    while patiently(site, turn):
        pass


def remove_orphans(site: Site, holder: str) -> Sequence[str]:
    """Canary objects, and colours, without an open release (a driver that was taken over may have made one): removed
    and named."""
    if not _orphans(site):
        return ()
    epoch = site.lease.acquire(holder)
    try:
        found = _orphans(site)  # a release may have begun before the lease was ours
        fence = Fence(site.cluster, site.plan.service.name, epoch, site.lease.progress)
        for each in found:
            fence.delete(each["kind"], each["metadata"]["name"], orphans.unused(site.cluster, site.plan))
    finally:
        site.lease.release()
    return tuple(f"{each['kind']} {each['metadata']['name']}" for each in found)


def _orphans(site: Site) -> list[Manifest]:
    """Raises Refused while the route sends requests to them."""
    service = site.plan.service
    live = [site.cluster.get(kind, name) for kind, name in targets.passing(site.plan)]
    ours = {*MANAGED.items()}
    labelled = [(each, each["metadata"].get("labels") or {}) for each in live if each is not None]
    found = [each for each, labels in labelled if ours <= {*labels.items()} and RELEASE in labels]
    found += orphans.colours(site.cluster, site.plan)
    if not found or records.find_open(site.cluster, service.name) is not None:
        return []
    router = canary_router(site.cluster, site.plan)
    if router is not None and (share := router.read()) is not None and (share.weight or share.sticky):
        what = f"gives {share.weight} %" if share.weight else "has rules that lead"
        raise Refused(
            f"The route {what} to {canary_name(service.service)} and there is no open release: nothing was changed; "
            "look who set it, take it away, and reconcile again."
        )
    return found
