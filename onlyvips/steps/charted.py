"""Stable through Helm: forward by an upgrade of declared values, back to the recorded revision; each looked at just
before and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from onlyvips.core import charted, charts, images
from onlyvips.core.charts import Revision
from onlyvips.core.manifests import annotations_of, template_release
from onlyvips.core.plan import ChartPlan, ReleasePlan
from onlyvips.core.record import Record
from onlyvips.core.referred import is_generation, names_in
from onlyvips.core.world import Standing, World
from onlyvips.errors import Conflict, Permanent, Refused, Transient
from onlyvips.ports import Cluster, Manifest
from onlyvips.ports.charts import Charts
from onlyvips.steps import records
from onlyvips.steps.deployed import NOTHING
from onlyvips.steps.observe import scaler_of
from onlyvips.steps.tools import Tools, live

_OWNER = "meta.helm.sh/release-name"
_TRIAL = "onlyvips-plan"
"""Stands for the release's id where nothing is written."""


def check(helm: Charts, cluster: Cluster, plan: ReleasePlan, version: str) -> None:
    """That Helm can bring ``version``, and nothing else, to the Deployment. Raises Refused."""
    chart, name = _chart(plan), plan.service.deployment
    asked = images.with_digest(images.tag_of(version), plan.digest)
    deployment = cluster.get("Deployment", name)
    owner = annotations_of(deployment).get(_OWNER, "") if deployment else ""
    if deployment is None or owner != chart.release:
        what = f"belongs to the Helm release {owner}" if owner else "belongs to no Helm release"
        raise Refused(
            f"Deployment {name} {what}, and `chart` of {plan.service.name} says {chart.release}: {NOTHING}; correct it."
        )
    found = _deployed(helm, plan)
    _check_own(found, deployment, cluster, plan)
    secrets = _trial_secrets(plan, deployment)
    then = helm.render(charts.values_for(plan, asked, _TRIAL, secrets))
    if then.hooks or found.hooks:
        raise Refused(
            f"The chart of Helm release {chart.release} has hooks ({', '.join(then.hooks or found.hooks)}) that an "
            f"upgrade or a rollback would run in mid-release: {NOTHING}; make them hooks of the release "
            "(`release.hooks`), or take them out."
        )
    if why := charts.wrong(plan, found, then, asked, _TRIAL, dict(secrets)):
        raise Refused(
            f"`helm upgrade {chart.release}` cannot bring {plan.service.name} {version}, for {why}: {NOTHING}; correct "
            f"`chart` of {plan.service.name} in the environment, or the chart."
        )


def _chart(plan: ReleasePlan) -> ChartPlan:
    assert plan.chart is not None
    return plan.chart


def _deployed(helm: Charts, plan: ReleasePlan) -> Revision:
    release, found = _chart(plan).release, _newest(helm)
    if found is None:
        raise Refused(f"There is no Helm release {release} in namespace {plan.namespace}: {NOTHING}; correct `chart`.")
    if found.status != "deployed":
        raise Refused(
            f"Revision {found.number} of Helm release {release} is {found.status}: {NOTHING}; wait for who is at work "
            f"there, or, if nobody is, `helm rollback {release}` to the last one that was deployed."
        )
    return found


def _newest(helm: Charts) -> Revision | None:
    try:
        return helm.newest()
    except Refused:
        raise
    except Permanent as error:
        raise Refused(f"{error} {NOTHING.capitalize()}.") from error


def _check_own(found: Revision, deployment: Manifest, cluster: Cluster, plan: ReleasePlan) -> None:
    """What the chart says of the Deployment is what is live, or an upgrade would undo a hand edit, or scale it."""
    name, release = plan.service.deployment, _chart(plan).release
    own = found.own(name)
    if own is None:
        raise Refused(f"Revision {found.number} of Helm release {release} has no Deployment {name}: {NOTHING}.")
    if "replicas" in own["spec"] and (plan.service.strategy == "recreate" or scaler_of(cluster, name) is not None):
        raise Refused(
            f"The chart of Helm release {release} sets `replicas` of Deployment {name}, so an upgrade would scale it "
            f"in mid-release: {NOTHING}; take `replicas` out of its template there."
        )
    if where := charts.edited(own, deployment):
        raise Refused(
            f"Deployment {name} is not as revision {found.number} of Helm release {release} says, and an upgrade would "
            f"undo that: {where}: {NOTHING}; commit it to the chart, or put it back."
        )


def _trial_secrets(plan: ReleasePlan, deployment: Manifest) -> list[tuple[str, str]]:
    """Each Secret that the release renames, with a name that stands for the new one."""
    used = names_in(deployment["spec"]["template"], "Secret")
    return [
        (old, f"{one.name}-0000000000x")
        for one in plan.secrets
        for old in sorted(used)
        if is_generation(old, one.replaces, one.name)
    ]


def pin(tools: Tools, record: Record) -> Record:
    """The record with the revision that a rollback brings back."""
    if tools.plan.chart is None:
        return record
    return charts.pinned(record, _deployed(_helm(tools), tools.plan), tools.plan.service.deployment)


def _helm(tools: Tools) -> Charts:
    assert tools.charts is not None
    return tools.charts


class Watch:
    """What one process has seen of the Helm release so far."""

    def __init__(self) -> None:
        self._seen: tuple[str, float] | None = None

    def add(self, world: World, tools: Tools, record: Record, *, attended: bool) -> World:
        """The world with how the Helm release stands, and since when."""
        standing, told = look(tools, record, attended=attended)
        now = tools.clock.monotonic()
        if self._seen is None or self._seen[0] != told:
            self._seen = told, now
        return replace(world, chart=standing, chart_told=told, chart_still=now - self._seen[1])


def look(tools: Tools, record: Record, *, attended: bool) -> tuple[Standing, str]:
    """How the Helm release stands, and its newest revision in words; not asked where nothing depends on it."""
    intended = charted.meant(record)
    asked = record.phase in ("promote", "roll") and (attended or intended)
    if tools.plan.chart is None or not (asked or (record.phase == "rollback" and intended)):
        return "", ""
    found = _helm(tools).newest()
    if found is None:
        return "other", "it is gone"
    told = f"revision {found.number} is {found.status}"
    if intended and (state := charts.standing(record, found, tools.plan.service.deployment)) != "moved":
        return state, told
    if record.phase == "rollback":
        return "before", told  # nothing of this release is there to be taken back
    if found.number == record.chart_revision and found.status == "deployed":
        return "before", told
    why = _moved(tools, record, found)
    return ("other", f"{told}, {why}") if why else ("before", told)


def _moved(tools: Tools, record: Record, found: Revision) -> str:
    """Why an upgrade from a revision that somebody else made would take something away; "" when it would not."""
    if found.status != "deployed" or not charts.same_own(record, found, tools.plan.service.deployment):
        return "its Deployment is not as it was" if found.status == "deployed" else "somebody is at work there"
    try:
        then = _helm(tools).render(_values(tools, record))
    except Permanent as error:
        return str(error)
    return charts.wrong(tools.plan, found, then, record.asked, record.id, dict(record.secrets))


def _values(tools: Tools, record: Record) -> dict[str, str]:
    return charts.values_for(tools.plan, record.asked, record.id, record.secrets)


def bring_new(tools: Tools, record: Record, check_live: Callable[[Manifest], object]) -> tuple[Record, Manifest]:
    """The new version, by an upgrade from what was looked at just before; one that was cut off is finished by Helm's
    rollback to itself. Returns the record, which has the revision to come back to, and the live Deployment."""
    name = tools.plan.service.deployment
    helm, found = _claimed(tools, check_live)
    if charts.is_ours(record, found, name):
        if found.status != "deployed":
            _asked(partial(helm.rollback, found.number))
    elif found.status == "deployed" and charts.same_own(record, found, name):
        record = charts.pinned(record, found, name)
        records.save(tools.fence, record)
        _asked(partial(helm.upgrade, _values(tools, record)))
    elif charts.standing(record, found, name) == "unfinished":
        _asked(partial(helm.rollback, record.chart_revision))
    return record, _read_back(tools, record, "ours")


def bring_back(tools: Tools, record: Record, check_live: Callable[[Manifest], object]) -> Manifest:
    """The recorded revision, where nothing but this release came after it. Returns the live Deployment."""
    helm, found = _claimed(tools, check_live)
    if charts.standing(record, found, tools.plan.service.deployment) not in ("moved", "other"):
        _asked(partial(helm.rollback, record.chart_revision))
    return _read_back(tools, record, "before")


def _claimed(tools: Tools, check_live: Callable[[Manifest], object]) -> tuple[Charts, Revision]:
    """Helm, for who still drives, and the newest revision: Helm itself knows no fence."""

    def change(now: Manifest) -> Sequence[Manifest]:
        check_live(now)
        return ()

    tools.fence.patch("Deployment", tools.plan.service.deployment, change)
    found = _helm(tools).newest()
    if found is None:
        raise Permanent(f"Helm release {_chart(tools.plan).release} is gone: somebody removed it: nothing was written.")
    return _helm(tools), found


def _asked(act: Callable[[], None]) -> None:
    try:
        act()
    except Conflict as error:
        raise Transient(f"{error} Decided anew.") from error


def _read_back(tools: Tools, record: Record, wanted: Standing) -> Manifest:
    name, found = tools.plan.service.deployment, _helm(tools).newest()
    deployment = live(tools, "Deployment", name)
    state = charts.standing(record, found, name)
    if ("before" if state == "moved" else state) != wanted or (template_release(deployment) == record.id) != (
        wanted == "ours"
    ):
        told = f"revision {found.number}, {found.status}" if found else "nothing"
        raise Transient(f"Helm release {_chart(tools.plan).release} reads as {told}, not as meant: decided anew.")
    return deployment


def told(tools: Tools) -> str:
    """Which revision is live, for the record."""
    found = _helm(tools).newest()
    return f" by revision {found.number} of Helm release {_chart(tools.plan).release}" if found else ""
