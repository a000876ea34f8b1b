"""A release of all services from an environment's name: its site, and the ones that this process drives."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from onlyvips import environment as environments
from onlyvips import wiring
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.lease_kubernetes import KubernetesCell
from onlyvips.core import approvals
from onlyvips.core import group as groups
from onlyvips.core.approvals import Answerer
from onlyvips.core.group import Group
from onlyvips.core.many import Do, next_step
from onlyvips.core.plan import ManyPlan
from onlyvips.core.record import Command, Record
from onlyvips.core.spans import span
from onlyvips.environment import Environment
from onlyvips.errors import Misuse, Permanent, Refused
from onlyvips.ports import Cluster
from onlyvips.steps import approving, group_evidence, group_records, many, preflight, records
from onlyvips.steps.fence import highest_epoch
from onlyvips.steps.lease import CellLease
from onlyvips.steps.many import Many, ManySite, Progress
from onlyvips.steps.opening import Site, Start
from onlyvips.steps.queries import check_queries
from onlyvips.steps.rollout import Rollout
from onlyvips.wiring import charting
from onlyvips.wiring.living import alive_while
from onlyvips.wiring.places import openers
from onlyvips.wiring.telling import herald_of

_driven: dict[str, tuple[str, Environment, Many]] = {}


def begin(environment: str, start: Start) -> str:
    """Open the release of all services, or go on with it. Returns its id; asked again by the same run, the same."""
    wiring.note_run(start.run)
    for name, (run, _, _) in _driven.items():
        if start.run and run == start.run:
            return name
    loaded = environments.load(environment)
    site = site_of_all(loaded, start.version)
    if not start.override.strip():
        site = replace(site, preflight=partial(wiring.in_time, loaded, site.preflight))
    driver = many.open_many(site, start)
    _driven[driver.id] = (start.run, loaded, driver)
    return driver.id


def waits_for_approval(group: str) -> bool:
    """Whether what this process drives waits for an approval before anything changes: then nobody is to hold its
    Lease."""
    found = driven(group)
    record = found.group()
    found.site.herald.look(record)  # who may approve is asked by a message
    return approving.waits_all(record, found.site.plan, found.site.clock.now())


def driven(group: str) -> Many:
    """The release of all services as this process drives it. Raises Misuse when it does not."""
    if group not in _driven:
        raise Misuse(f"Release {group} is not driven by this process.")
    return _driven[group][2]


def let_go(run: str) -> None:
    """Give up the Lease of what ``run`` drives here; the release stays as it is."""
    for group in [name for name, one in _driven.items() if one[0] == run]:
        driver = _driven.pop(group)[2]
        driver.site.lease.release()
        driver.settle()


@contextmanager
def member(group: str, do: Do) -> Iterator[Rollout | None]:
    """The release of one service, driven by this process while the block runs; None when all go back instead."""
    run, loaded, driver = _driven[group]
    with many.driving(driver, do) as rollout:
        if rollout is None:
            yield None
            return
        with wiring.driving(loaded, f"{run} {do.service}", rollout):
            yield rollout


def site_of_all(loaded: Environment, version: str) -> ManySite:
    """Where a release of all services happens."""
    plan = environments.many_plan(loaded, version)
    cluster, clock = wiring.cluster_of(loaded), SystemClock()
    patience = max(3 * plan.waits.look, 4 * plan.lease_duration)
    cell = KubernetesCell(cluster, f"onlyvips-release-{group_records.LEASE}")
    lease = CellLease(cell, clock, plan.lease_duration, patience, floor=partial(_floor, cluster))
    return ManySite(
        cluster=cluster,
        clock=clock,
        lease=lease,
        plan=plan,
        member=partial(_member, loaded, version),
        preflight=partial(_preflight, loaded, plan, version),
        back_up=partial(_back_up, loaded),
        keep_evidence=lambda group, members: alive_while(
            lease.progress, lambda: group_evidence.keep(openers(loaded), clock, plan, group, members)
        ),
        suffix=lambda: secrets.token_hex(3),
        herald=herald_of(loaded, plan, cluster),
    )


def _floor(cluster: Cluster) -> int:
    found = [("ConfigMap", group_records.config_map(one.id)) for one in group_records.every(cluster)[-3:]]
    return highest_epoch(cluster, group_records.LEASE, found)


def _member(loaded: Environment, version: str, service: str) -> Site:
    """A member is looked at again when it is opened; what is asked of everything else was asked for all at once."""
    site = wiring.site_of(loaded, service, version)
    platform = partial(charting.check_platform, loaded, site.cluster, site.plan, version)
    return replace(site, preflight=lambda: preflight.seen(wiring.metrics_of(loaded), site.plan, platform()))


def _preflight(loaded: Environment, plan: ManyPlan, version: str) -> None:
    sites = [wiring.site_of(loaded, service, version) for service in plan.services]
    for site in sites:
        environments.check_digest(loaded, site.plan, version)
        charting.check_platform(loaded, site.cluster, site.plan, version)
        wiring.check_configs(loaded, site.plan)
        wiring.check_secrets(loaded, site.plan)
    preflight.check_all(wiring.checks_of(loaded, sites[0].plan))
    for site in sites[1:]:
        check_queries(wiring.metrics_of(loaded), site.plan, loaded.where)


def _back_up(loaded: Environment, group: str, progress: Progress) -> str:
    return wiring.back_up(loaded, group, progress)


def of_run(environment: str, run: str) -> Group | None:
    """The release of all services that a run began or went on with, the newest; None while there is none."""
    return group_records.of_run(wiring.cluster_of(environments.load(environment)), run)


def driven_by(environment: str, run: str) -> Group | None:
    """The open release of all services that ``run`` was the last to drive; None when there is none."""
    return group_records.driven_by(wiring.cluster_of(environments.load(environment)), run)


def status(environment: str) -> list[Group]:
    """Every release of all services, oldest first."""
    return group_records.every(wiring.cluster_of(environments.load(environment)))


@dataclass(frozen=True)
class Seen:
    """A release of all services with the records of those that began, in order, and what comes next, for people."""

    group: Group
    members: tuple[Record, ...] = ()
    due: str = ""


def seen(environment: str, group: str) -> Seen:
    """One of them, as it is now."""
    loaded = environments.load(environment)
    cluster = wiring.cluster_of(loaded)
    found = group_records.load(cluster, group)
    members = {service: records.find(cluster, found.member(service)) for service in found.services}
    plan = environments.many_plan(loaded, found.version)
    do = next_step(found, members, plan, attended=True, now=SystemClock().now())
    due = f"{'waiting' if do.kind == 'wait-for-approval' else do.title}: {do.reason}" if do is not None else ""
    return Seen(found, tuple(record for record in members.values() if record is not None), due)


def seen_of_run(environment: str, run: str) -> Seen | None:
    """That of ``run``, None while there is none."""
    found = of_run(environment, run) if run else None
    return seen(environment, found.id) if found is not None else None


def load(environment: str, group: str) -> Group:
    """One of them."""
    return group_records.load(wiring.cluster_of(environments.load(environment)), group)


def abort(environment: str, *, by: str, reason: str) -> Group:
    """Ask the open release of all services to go back. Raises Refused when none is open, or it is promoted."""
    cluster = wiring.cluster_of(environments.load(environment))
    found = group_records.find_open(cluster)
    if found is None:
        raise Refused(f"No release of all services is open in {environment}: there is nothing to abort.")
    return ask_to_go_back(cluster, found, Command("abort", by, SystemClock().now(), reason))


def ask_to_go_back(cluster: Cluster, group: Group, command: Command) -> Group:
    """Write the abort for all of them. Raises Refused once all are promoted."""
    if group.decision == "promoted":
        raise Refused(
            f"Release {group.id} of all services is promoted, and nothing of it goes back any more: nothing was "
            "changed; to have the old version again, release it."
        )
    records.command(cluster, group.id, command)
    return group_records.load(cluster, group.id)


def reconcile(environment: str, *, holder: str, attended: bool = False) -> Group | None:
    """Finish the open release of all services when its driver is dead. None when none is open; raises Driven while its
    driver lives."""
    loaded = environments.load(environment)
    found = group_records.find_open(wiring.cluster_of(loaded))
    if found is None:
        return None
    site = site_of_all(loaded, found.version)
    if approving.rests_all(found, site.plan, site.clock.now()):
        site.herald.look(found)  # who is asked for an approval for long is told again
        site.herald.settle()
        return found
    return many.finish(site, found.id, holder, attended=attended)


def approve(
    environment: str, *, by: str, reason: str, release: str = "", before: str = "", proof: str = ""
) -> tuple[Group, str]:
    """Approve what the open release of all services waits for. Returns it as it is then, and what becomes of it.
    ``proof`` says what proves who approves; "" where that is claimed."""
    loaded = environments.load(environment)
    cluster = wiring.cluster_of(loaded)
    found = group_records.find_open(cluster)
    if found is None:
        raise Refused(f"No release of all services is open in {environment}: there is nothing to approve.")
    plan, one = environments.many_plan(loaded, found.version).approvals, approvals.pending(found.approvals)
    who = Answerer(by, SystemClock().now(), release, before)
    answer = approvals.answer(found.id, one, found.commands, plan, found.operator, who)
    if answer.kind == "refuse":
        raise Refused(answer.sentence)
    if answer.kind == "do" and one is not None:
        asked = Command("approve", who.by, who.now, reason, one.what, bool(proof), proof)
        records.command(cluster, found.id, asked)
    return group_records.load(cluster, found.id), answer.sentence


def reconcile_member(
    environment: str, group: Group, service: str, *, holder: str, attended: bool
) -> tuple[Record | None, tuple[str, ...]]:
    """Finish the whole that ``service`` is a part of; what became of its own release. Raises Permanent while the whole
    stays open."""
    done = reconcile(environment, holder=holder, attended=attended) or group
    if done.open and done.id == group.id and approvals.pending(done.approvals) is not None:
        return None, ()  # nobody has to drive it until somebody approves it
    if done.open and done.id == group.id:
        raise Permanent(f"{groups.headline(done)}. {groups.advice(done)}")
    cluster = wiring.cluster_of(environments.load(environment))
    return records.find(cluster, group.member(service)), ()


def _made(loaded: Environment, service: str, version: str) -> list[str]:
    plan = environments.release_plan(loaded, service, version)
    lines = [f"Secret {one.name}-<hash> of {service}, with {', '.join(dict(one.values))}." for one in plan.secrets]
    keys = {one: environments.config_values(loaded, service, one.name) for one in plan.configs}
    return lines + [
        f"ConfigMap {one.name}-<hash> of {service}, with {', '.join(found)}." for one, found in keys.items()
    ]


def check(environment: str, version: str, *, override: str = "") -> list[str]:
    """The preflight of all services, and what a person must know before: one line each; nothing is changed. With an
    ``override`` windows and freezes are not asked, as they are not at its start."""
    loaded = environments.load(environment)
    plan = environments.many_plan(loaded, version)
    if not override.strip():
        wiring.check_calendar(loaded)
    _preflight(loaded, plan, version)
    lines = [f"{', '.join(plan.services)} {version} can be released in {environment}, in this order, and back as one."]
    lines += [line for service in plan.services for line in _made(loaded, service, version)]
    lines += _asked_before(plan)
    lines += [f"Hook {hook.name} before anything changes." for hook in plan.before]
    lines += [f"Hook {hook.name} once all serve." for hook in plan.after]
    return [*lines, *environments.left_out(loaded, version), *no_return(plan), "Nothing was changed."]


def _asked_before(plan: ManyPlan) -> list[str]:
    if plan.approvals is None or not plan.approvals.before_traffic:
        return []
    within = span(plan.approvals.within)
    return [f"APPROVAL before anything changes, once for all of them; not given within {within}, it is closed."]


def known_before(environment: str, group: Group) -> list[str]:
    """What a person has to know who approves ``group``; nothing of one that waits for no approval."""
    if approvals.pending(group.approvals) is None or group.decision != "undecided":
        return []
    return no_return(environments.many_plan(environments.load(environment), group.version))


def no_return(plan: ManyPlan) -> list[str]:
    """What nothing is taken back across, said before anybody approves."""
    if plan.contract is None:
        return []
    return [
        f"POINT OF NO RETURN: once all are promoted {plan.contract.name} ({plan.contract.image}) changes the data "
        "so that the old version cannot read it; nothing goes back after that."
    ]
