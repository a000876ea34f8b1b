"""How a Helm release stands to a record, and what an upgrade would do: pure."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from onlyvips.core import charts
from onlyvips.core.action import Action, enter
from onlyvips.core.charted import by_helm
from onlyvips.core.charts import Revision
from onlyvips.core.plan import ChartPlan
from onlyvips.core.world import World
from onlyvips.ports import Manifest
from tests.charts import deployment, settings
from tests.core.decisions import PLAN, RECORD

IMAGE = PLAN.service.image
CHARTED = replace(PLAN, chart=ChartPlan("onlyvips", "tag", "id", (), 60.0, path="/c"))


def revision(
    number: int, status: str = "deployed", *, version: str = "v1", release: str = "", other: str = "v1"
) -> Revision:
    own, beside = deployment("backend", IMAGE, version, release), deployment("miniapp", IMAGE, other, "")
    return Revision(number, status, (settings("s", a="1"), own, beside))


PINNED = charts.pinned(replace(RECORD, id="r1"), revision(1), "backend")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (revision(1), "before"),
        (revision(2, version="v2", release="r1"), "ours"),
        (revision(2, "pending-upgrade", version="v2", release="r1"), "unfinished"),
        (revision(2, "failed", version="v2", release="r1"), "unfinished"),
        (revision(3, "pending-rollback"), "unfinished"),
        (revision(2, "uninstalling", version="v2", release="r1"), "other"),
        (revision(2, version="v2", release="r2"), "other"),
        (revision(3, version="v2", release="r1", other="v2"), "other"),
        (revision(2, other="v2"), "moved"),
        (revision(2, "failed", other="v2"), "other"),
        (
            revision(4, version="v2", release="r1"),
            "ours",
        ),  # another service of the chart went forward, and back before us
        (None, "other"),
    ],
)
def test_a_revision_is_known_by_what_is_in_it_and_not_by_its_number(found: Revision | None, expected: str) -> None:
    assert charts.standing(PINNED, found, "backend") == expected


def test_a_live_deployment_may_have_more_than_its_chart_says_and_write_quantities_in_another_way() -> None:
    own = deployment("backend", IMAGE, "v1", "")
    container = own["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": 0.5, "memory": "1024Mi"}}
    live = copy.deepcopy(own)
    live["spec"] |= {"replicas": 3}
    live["spec"]["template"]["spec"]["containers"][0] |= {
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
        "terminationMessagePath": "/dev/termination-log",
    }
    assert charts.edited(own, live) == ""
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "2Gi"
    assert charts.edited(own, live) == (
        "spec.template.spec.containers[0].resources.limits.memory is `2Gi`, expected is `1024Mi`"
    )
    sidecar = {"name": "proxy", "image": "p:1"}
    live["spec"]["template"]["spec"]["containers"].append(sidecar)
    assert "spec.template.spec.containers is a list of 2, expected is a list of 1" in charts.edited(own, live)


def changed(how: str) -> Revision:
    found = revision(2, version="v2", release="r1")
    own: Manifest = copy.deepcopy(found.objects[1])
    if how == "count":
        own["spec"]["replicas"] = 7
    if how == "memory":
        own["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    return replace(found, objects=(found.objects[0], own, found.objects[2]))


def test_an_upgrade_that_does_more_than_bring_the_version_is_told_by_where() -> None:
    def told(then: Revision) -> str:
        return charts.wrong(CHARTED, revision(1), then, "v2", "r1", {})

    assert told(revision(2, version="v2", release="r1")) == ""
    assert "spec.replicas is `7`, expected is absent" in told(changed("count"))
    assert "containers[0].resources is a mapping, expected is absent" in told(changed("memory"))
    assert told(revision(2, version="v2", release="r1", other="v2")) == "it would change Deployment miniapp too"
    assert "labels.version is `v1`, expected is `v2`" in told(revision(2, version="v1", release="r1"))
    assert "annotations.onlyvips.com/release" in told(revision(2, version="v2"))


def test_no_release_ends_and_nothing_is_written_before_helm_is_known_to_be_done() -> None:
    record, end = replace(PINNED, phase="promote"), enter("evidence", "promoted")
    world = World(None, None, None, chart="unfinished", chart_told="revision 2 is pending-upgrade", chart_still=59.0)
    assert by_helm(end, record, world, CHARTED).kind == "wait"
    assert by_helm(end, record, replace(world, chart_still=60.0), CHARTED).kind == "replace-stable"
    failed = replace(world, chart_told="revision 2 is failed", chart_still=0.0)
    assert by_helm(end, replace(record, phase="rollback"), failed, CHARTED).kind == "restore-stable"
    assert by_helm(end, record, replace(world, chart="ours"), CHARTED) == end
    back = by_helm(end, replace(record, phase="rollback"), replace(world, chart="ours"), CHARTED)
    assert back.kind == "restore-stable"
    weight = Action("set-weight", "an abort", number=0)
    assert by_helm(weight, record, world, CHARTED) == weight, "traffic waits for no Helm"
