"""A canary by the ratio of pods on real servers: one Service before both tracks, an autoscaler that really scales."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml

from onlyvips.core.manifests import fingerprint
from onlyvips.core.record import Record
from tests.system.in_place import as_before, change, loses_nothing, settled, wait
from tests.system.platform import LATE, Platform

pytestmark = [pytest.mark.lab, pytest.mark.soak]
PODS, SCALER = 4, "HorizontalPodAutoscaler"


@pytest.fixture
def place(platform: Platform) -> Iterator[Platform]:
    """The lab with ``backend`` on four pods that lose nothing, its Service before both tracks; named ``quick``."""
    path = platform.folder / f"{platform.environment()}.yaml"
    document = yaml.safe_load(path.read_text())
    document["strategies"]["canary"]["stages"] = [{"weight": "25%", "hold": "8s"}, {"weight": "50%", "hold": "25s"}]
    document["services"]["backend"] |= {"router": "replica-ratio", "replicas": PODS}
    del document["services"]["backend"]["route"]
    path.write_text(yaml.safe_dump(document))
    autoscaled(platform, PODS)
    change(platform.cluster, "backend", loses_nothing)
    selected(platform, {"app": "backend"})
    wait(lambda: settled(platform.cluster, "backend"))
    time.sleep(LATE)  # the pods that went had no preStop: the gateway has to forget them
    yield platform
    selected(platform, {"app": "backend", "track": "stable"})
    change(platform.cluster, "backend", as_before)
    autoscaled(platform, 6)
    wait(lambda: settled(platform.cluster, "backend"))


def autoscaled(platform: Platform, pods: int) -> None:
    """So many pods, and an autoscaler that allows no fewer."""
    for kind, path in ((SCALER, "/spec/minReplicas"), ("Deployment", "/spec/replicas")):
        live = platform.cluster.get(kind, "backend")
        assert live is not None
        operation = {"op": "replace", "path": path, "value": pods}
        platform.cluster.patch(kind, "backend", live["metadata"]["resourceVersion"], [operation])


def selected(platform: Platform, selector: dict[str, str]) -> None:
    """The Service selects by this."""
    front = platform.cluster.get("Service", "backend")
    assert front is not None
    operation = {"op": "replace", "path": "/spec/selector", "value": selector}
    platform.cluster.patch("Service", "backend", front["metadata"]["resourceVersion"], [operation])


def shares(record: Record) -> dict[int, float]:
    """By weight: the canary's part of the requests that the last look at it compared with stable's, in percent."""
    found = {}
    for look in record.looks:
        for value in look.values:
            if value.against is not None and value.against.total and look.elapsed:
                found[look.weight] = 100 * value.total / (value.total + value.against.total)
    return found


def test_forward_and_back_by_pods_lose_no_request_and_give_the_canary_its_share(place: Platform) -> None:
    version, route = place.other_version(), place.rule()
    with place.traffic(watched=False) as counts:
        code, output = place.release(version)
        seen = counts()
    record = place.newest()
    assert code == 0, output
    assert record is not None and record.result == "promoted"
    assert seen["lost"] == {}, seen["losses"]
    assert seen["versions"][version]["total"] > 500
    assert shares(record) == {25: pytest.approx(25, abs=8), 50: pytest.approx(50, abs=8)}, "where the pods act"
    assert_at_rest(place, version)

    before, bad = place.cluster.get("Deployment", "backend"), place.other_version()
    place.fault(bad, "--error-rate", "0.3")
    with place.traffic(watched=False) as counts:
        code, output = place.release(bad)
        seen = counts()
    record = place.newest()
    assert code == 1, output
    assert record is not None and record.result == "rolled-back" and "api-errors" in record.reason
    assert seen["lost"] == {}, seen["losses"]
    assert seen["versions"][bad]["total"] < 0.3 * seen["total"]
    after = place.cluster.get("Deployment", "backend")
    assert before is not None and after is not None
    assert fingerprint(after["spec"]["template"]) == fingerprint(before["spec"]["template"])
    assert_at_rest(place, version)
    assert place.rule() == route, "no route was touched"


def assert_at_rest(place: Platform, version: str) -> None:
    """Stable has all pods of ``version``, nothing of the canary is left, the autoscaler is what it was."""
    wait(lambda: settled(place.cluster, "backend"))
    live, scaler = place.cluster.get("Deployment", "backend"), place.cluster.get(SCALER, "backend")
    assert live is not None and scaler is not None
    assert (live["spec"]["replicas"], scaler["spec"]["minReplicas"]) == (PODS, PODS)
    assert place.image().endswith(f":{version}")
    assert place.cluster.get("Deployment", "backend-canary") is None
