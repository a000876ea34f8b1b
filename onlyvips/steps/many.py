"""A release of several services as its driver sees it: shared steps here, each member by its own ``Rollout``.

The driver holds the Lease of the whole for all the time, and the Lease of a member while it drives that one: a member
that waits for the others has no Lease, and whoever comes for it comes by the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from onlyvips.core import approvals
from onlyvips.core import group as groups
from onlyvips.core.action import Action
from onlyvips.core.group import Group, going_back
from onlyvips.core.manifests import fingerprint
from onlyvips.core.many import MEMBERS, Do, Members, arrived, going_back_still, next_step
from onlyvips.core.plan import ManyPlan
from onlyvips.core.record import Command, Record, with_holder
from onlyvips.errors import Driven, Fenced, Permanent, Transient, UnknownOutcome
from onlyvips.ports import Clock, Cluster, Lease
from onlyvips.steps import group_records, opening, records
from onlyvips.steps.evidence import Kept
from onlyvips.steps.fence import Fence
from onlyvips.steps.herald import SILENT, Herald
from onlyvips.steps.jobs import Jobs
from onlyvips.steps.many_acts import ACTS
from onlyvips.steps.many_back import Passing, noted
from onlyvips.steps.opening import Site, Start
from onlyvips.steps.rollout import Rollout
from onlyvips.steps.tools import Tools

Progress = Callable[[], None]


@dataclass(frozen=True)
class ManySite:
    """Where a release of several services happens. ``lease`` is that of the whole; ``member`` is the site of one."""

    cluster: Cluster
    clock: Clock
    lease: Lease
    plan: ManyPlan
    member: Callable[[str], Site]
    preflight: Progress
    back_up: Callable[[str, Progress], str]
    keep_evidence: Callable[[Group, Sequence[Record]], Kept]
    suffix: Callable[[], str]
    herald: Herald = SILENT


class Many:
    """One release of several services, driven under one epoch. ``attended``: by its own driver, or for a person;
    ``known``: what had been asked of it when a person started it again."""

    def __init__(
        self, site: ManySite, fence: Fence, group: str, holder: str, *, attended: bool, known: Sequence[Command] = ()
    ) -> None:
        self.site, self.fence, self.id, self.holder, self.attended = site, fence, group, holder, attended
        self._known = known
        self._heralds = dict[str, Herald]()
        waits = site.plan.waits
        self.passing = Passing(site.clock, waits.ready + waits.propagation)

    def group(self) -> Group:
        """The record of the whole as the cluster has it now."""
        return group_records.load(self.site.cluster, self.id)

    def members(self, group: Group) -> Members:
        """The records of its members as the cluster has them now, in order."""
        return {service: records.find(self.site.cluster, group.member(service)) for service in group.services}

    def take_over(self) -> None:
        """The first act of a driver: our epoch on the record of the whole, and our name in it."""
        group = self.group()
        if group.open and self.holder not in group.holders:
            self.save(replace(group, holders=with_holder(group.holders, self.holder)))
        else:
            self.fence.stamp("ConfigMap", group_records.config_map(self.id))

    def next(self) -> Do | None:
        """Look and decide. Raises Fenced when this process no longer drives."""
        self.fence.progress()
        group = self.group()
        self.site.herald.look(group)
        return self._due(group)

    def _due(self, group: Group) -> Do | None:
        members, plan, now = self.members(group), self.site.plan, self.site.clock.now()
        passed = self.passing.order
        return next_step(group, members, plan, attended=self.attended, known=self._known, passed=passed, now=now)

    def open(self, do: Do) -> tuple[Rollout, Lease]:
        """Take the Lease of the member that ``do`` is about, to drive it."""
        group = self.group()
        site = self.site_of(group, do.service)
        if do.kind == "prepare":
            start = Start(group.version, group.operator, "", self.holder, group.id, group.backup, group.override)
            return opening.open_release(site, start), site.lease
        return opening.resume(site, group.member(do.service), self.holder, attended=self.attended), site.lease

    def site_of(self, group: Group, service: str) -> Site:
        """The site of a member: whoever drives it lives as long as the driver of the whole."""
        site = self.site.member(service)
        lease = _Under(site.lease, self.site.lease)
        return replace(site, lease=lease, tools=partial(self._tools, service, site), suffix=lambda: group.suffix)

    def _tools(self, service: str, site: Site, fence: Fence) -> Tools:
        """One herald a service for the whole way: messages under way are waited for at the end of all, not of each
        step."""
        tools = site.tools(fence)
        return replace(tools, herald=self._heralds.setdefault(service, tools.herald))

    def settle(self) -> None:
        """Give messages that are on their way a moment, at the end of a run. Never raises."""
        for herald in (*self._heralds.values(), self.site.herald):
            herald.settle()

    def perform(self, do: Do) -> str:
        """Do what is not about one member. What its driver cannot do while nothing is decided makes all go back; what
        a reconciler cannot do (it may lack a right) says nothing about the version, and is raised."""
        group = self.group()
        if self._due(group) != do:
            return "something else is due by now: decided anew"
        try:
            group, observed = ACTS[do.kind](self, group, do)
        except (Fenced, Driven):
            raise
        except Permanent as error:
            if not self.attended:
                raise
            return self.give_up(error)
        self.save(group.step(do.title, do.reason, self.site.clock.now(), observed))
        return observed

    def give_up(self, error: Permanent) -> str:
        """All go back because of ``error``; once it was decided otherwise it is raised."""
        group = self.group()  # a contract migration that fails is after the decision, too
        if group.decision != "undecided":
            raise error
        self.save(replace(group, decision="failed", reason=str(error), waiting=""))
        return f"going back: {error}"

    def moves(self, do: Do, action: Action) -> bool:
        """Whether to go on with a member's way back, or to have the others go back meanwhile."""
        left = self._left() if action.kind == "wait" else []  # else nothing has to be asked for
        return self.passing.moves(do.service, action, [one for one in left if one != do.service])

    def _left(self) -> list[str]:
        group = self.group()
        return going_back_still(group, self.members(group))

    def pass_over(self, do: Do, why: str, error: Permanent | None = None) -> bool:
        """Have the others go back while this one cannot. False when each of them stood still, too; what kept this one
        is raised then, where it is an error."""
        left = self._left()
        self.passing.put_last(do.service)
        self.save(noted(self.group(), do.service, why, left, self.site.clock.now()))
        if more := any(service not in self.passing.order for service in left):
            return more
        if error is not None:
            raise error
        return False

    def jobs(self) -> Jobs:
        """Who runs Jobs for all services. Nothing aborts what comes after the decision."""
        waits = self.site.plan.waits
        return Jobs(
            cluster=self.site.cluster,
            clock=self.site.clock,
            fence=self.fence,
            owner=self.id,
            service=group_records.LEASE,
            poll=waits.poll,
            patience=waits.job,
            aborted=lambda: going_back(self.group()) is not None,
        )

    def hearing(self) -> None:
        """Progress of something long: keeps the Lease and hears an abort."""
        with suppress(Transient, UnknownOutcome):
            self.fence.progress()
            if (command := self.group().aborted) is not None:
                raise Permanent(f"{command.by} asked for an abort: {command.reason or 'no reason given'}")

    def save(self, group: Group) -> None:
        """Write the record of the whole under our epoch."""
        group_records.save(self.fence, group)


class _Under:
    """The Lease of a member that is driven for the whole: without the Lease of the whole it is not held either."""

    def __init__(self, lease: Lease, whole: Lease) -> None:
        self._lease, self._whole = lease, whole

    def acquire(self, holder: str) -> int:
        self._whole.progress()
        return self._lease.acquire(holder)

    def holder(self) -> str:
        return self._lease.holder()

    def progress(self) -> None:
        self._whole.progress()
        self._lease.progress()

    def release(self) -> None:
        self._lease.release()


def open_many(site: ManySite, start: Start) -> Many:
    """Drive the release of all services: a new one, or the open one of the same version whose driver is gone; one of
    the same run that is closed by now is left with nothing to do.

    Raises Refused, having changed nothing, when something else is on its way, when its driver lives (Driven), or when
    the preflight of a service finds something.
    """
    mine = group_records.of_run(site.cluster, start.run)
    if mine is not None and mine.closed:
        unwritten = Fence(site.cluster, group_records.LEASE, 0, lambda: None)
        return Many(site, unwritten, mine.id, start.holder, attended=True)
    found = group_records.find_open(site.cluster)
    _check(site, found, start)
    if found is None or _begins(site, found):
        site.preflight()
    epoch = site.lease.acquire(start.holder)
    try:
        fence = Fence(site.cluster, group_records.LEASE, epoch, site.lease.progress)
        found = group_records.find_open(site.cluster)
        _check(site, found, start)
        if found is None:
            found = _new(site, start)
            group_records.create(fence, found, start.run)
        many = Many(site, fence, found.id, start.holder, attended=True, known=found.commands)
        many.take_over()
        if start.override and _begins(site, found):  # approved in a window, begun in a freeze
            many.save(replace(many.group(), override=start.override))
    except BaseException:
        site.lease.release()
        raise
    return many


def _begins(site: ManySite, found: Group) -> bool:
    """Whether it was approved, so that what may refuse it is asked again: it may be another day."""
    if approvals.pending(found.approvals) is None:
        return False
    do = next_step(found, {}, site.plan, attended=True, now=site.clock.now())
    return do is not None and do.kind == "approve"


def _check(site: ManySite, found: Group | None, start: Start) -> None:
    if found is not None and found.version != start.version:
        stands, where = f"{found.decision} so far", f"-e {found.environment} -s {found.services[0]}"
        raise opening.still_open(f"{found.id} of all services", stands, start.version, where)
    for service in site.plan.services if found is None else ():
        if (other := records.find_open(site.cluster, service)) is not None:
            where = f"-e {other.environment} -s {service}"
            raise opening.still_open(f"{other.id} of {service}", f"phase {other.phase}", start.version, where)


def _new(site: ManySite, start: Start) -> Group:
    now = site.clock.now()
    return Group(
        id=groups.identity(start.version, site.suffix()),
        environment=site.plan.environment,
        version=start.version,
        operator=start.operator,
        plan_hash=fingerprint(repr(site.plan)),
        created=now,
        services=site.plan.services,
        approvals=approvals.beginning(site.plan.approvals, now),
        override=start.override,
    )


def finish(site: ManySite, group: str, holder: str, *, attended: bool) -> Group:
    """Drive an open release of all services to its end, or until one wait takes too long, or only a person may go on.

    Raises Driven while its driver lives.
    """
    calm = site.member(site.plan.services[0])
    epoch = opening.patiently(calm, lambda: site.lease.acquire(holder))
    fence = Fence(site.cluster, group_records.LEASE, epoch, site.lease.progress)
    many = Many(site, fence, group, holder, attended=attended)
    try:
        opening.patiently(calm, many.take_over)
        while (do := opening.patiently(calm, many.next)) is not None:
            if not _turn(many, do, calm):
                break
        return opening.patiently(calm, many.group)
    finally:
        site.lease.release()
        many.settle()


def _turn(many: Many, do: Do, calm: Site) -> bool:
    if do.kind == "wait-for-approval":
        return False
    if do.kind not in MEMBERS:
        opening.patiently(calm, lambda: many.perform(do))
        return True
    with driving(many, do) as rollout:
        if rollout is None:
            return True
        if do.kind == "back":
            return _back(many, do, rollout, calm)
        opening.drive(calm, rollout, _limit(many), lambda record: arrived(do, record))
        return arrived(do, opening.patiently(calm, rollout.record))


def _limit(many: Many) -> float:
    """Seconds of one wait."""
    waits = many.site.plan.waits
    return 2 * (waits.ready + waits.propagation)


def _back(many: Many, do: Do, rollout: Rollout, calm: Site) -> bool:
    """False when this one, and each of the others, stood still."""
    try:
        moves = lambda action: many.moves(do, action)  # noqa: E731
        opening.drive(calm, rollout, _limit(many), lambda record: arrived(do, record), moves)
        record = opening.patiently(calm, rollout.record)
    except (Driven, Fenced):
        raise
    except Permanent as error:
        return many.pass_over(do, str(error), error)
    if arrived(do, record):
        return True
    why = opening.patiently(calm, rollout.next).reason
    return opening.patiently(calm, lambda: many.pass_over(do, why))


@contextmanager
def driving(many: Many, do: Do) -> Iterator[Rollout | None]:
    """Hold the Lease of the member that ``do`` is about while the block runs; None when it cannot be opened, so that
    all go back."""
    try:
        rollout, lease = many.open(do)
    except (Driven, Fenced):
        raise
    except Permanent as error:
        many.pass_over(do, str(error), error) if do.kind == "back" else many.give_up(error)
        yield None
        return
    try:
        yield rollout
    finally:
        lease.release()
