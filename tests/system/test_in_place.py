"""Rolling and recreate on real servers: nothing lost by the one, never two at once by the other's own account."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from onlyvips import wiring
from onlyvips.core.record import Record
from tests.cluster import remove
from tests.system.in_place import bot, change, lives, loses_nothing, overlaps, settled, wait
from tests.system.platform import LATE, Platform, kill

pytestmark = pytest.mark.lab

RATE = 120


@pytest.fixture(scope="module")
def place(module_platform: Platform) -> Iterator[Platform]:
    """The lab with ``miniapp`` as a service that rolls and a bot; the environment is called ``in-place``."""
    platform = module_platform
    path = platform.folder / f"{platform.environment('in-place', ready='25s')}.yaml"
    document = yaml.safe_load(path.read_text())
    document["services"]["miniapp"]["strategy"] = "rolling"
    document["services"]["bot"] = {
        "kind": "bot",
        "image": "ghcr.io/onlyvips/bot",
        "strategy": "recreate",
        "deployment": "bot",
    }
    path.write_text(yaml.safe_dump(document))
    change(platform.cluster, "miniapp", loses_nothing)
    platform.cluster.create(bot(platform.folder / "polls"))
    for name in ("miniapp", "bot"):
        wait(lambda name=name: settled(platform.cluster, name))  # type: ignore[misc]
    time.sleep(LATE)  # the pods that went had no preStop: the gateway has to forget them
    yield platform
    remove(platform.cluster, "Deployment", "bot")


def release(place: Platform, service: str, version: str) -> tuple[int, str, Record]:
    """A release to its end: exit code, output, record."""
    where = ["--environment", "in-place", "--service", service, "--version", version]
    process = place.process("release", "start", "--local", *where)
    output, _ = process.communicate(timeout=400)
    return process.returncode, output, wiring.status("in-place", service)[-1][0]


def image(place: Platform, name: str) -> str:
    live = place.cluster.get("Deployment", name)
    assert live is not None
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def counted(place: Platform, during: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What ``during`` returns, and what became of miniapp's requests meanwhile."""
    targets = [{"name": "miniapp", "path": "/", "rate": RATE}]
    httpx.post(f"{place.load}/start", json={"targets": targets}, trust_env=False).raise_for_status()
    try:
        time.sleep(8)  # the judge has to know the service
        result = during()
        time.sleep(LATE)
    finally:
        stats = httpx.post(f"{place.load}/stop", timeout=30, trust_env=False).raise_for_status().json()
    return result, {**stats["targets"]["miniapp"], "losses": stats["losses"]}


def test_a_rolling_update_there_and_a_bad_one_back_lose_no_request(place: Platform) -> None:
    version = "v3" if image(place, "miniapp") != "v3" else "v1"

    (code, output, record), seen = counted(place, lambda: release(place, "miniapp", version))
    assert code == 0, output
    assert seen["lost"] == {} and seen["versions"][version]["total"] > 100, seen
    assert image(place, "miniapp") == version
    assert any(look.verdict == "pass" for look in record.looks), record.looks

    before = place.cluster.get("Deployment", "miniapp")
    assert before is not None
    place.lab.command("fault", "miniapp", "v4", "--error-rate", "0.3")
    try:
        (code, output, record), seen = counted(place, lambda: release(place, "miniapp", "v4"))
    finally:
        place.lab.command("fault", "miniapp", "v4", "--clear")
    assert code == 1, output
    assert record.result == "rolled-back" and "api-errors" in record.reason
    assert seen["lost"] == {}, seen
    after = place.cluster.get("Deployment", "miniapp")
    assert after is not None and after["spec"]["template"] == before["spec"]["template"]


def test_a_bot_is_never_there_twice_by_its_own_account(place: Platform) -> None:
    polls = place.folder / "polls"
    code, output, record = release(place, "bot", "v3")
    assert code == 0, output
    code, output, record = release(place, "bot", "v77-does-not-exist")
    assert code == 1, output
    assert "ErrImagePull" in record.reason or "ImagePullBackOff" in record.reason
    assert image(place, "bot") == "v3"
    wait(lambda: len(lives(polls)) == 3)
    assert overlaps(lives(polls)) == []

    # Kubernetes' own update of the same Deployment has two at once: what is looked at above can be seen.
    image_at = "/spec/template/spec/containers/0/image"
    change(place.cluster, "bot", lambda _: [{"op": "replace", "path": image_at, "value": "ghcr.io/onlyvips/bot:v1"}])
    wait(lambda: len(lives(polls)) == 4 and settled(place.cluster, "bot"))
    assert overlaps(lives(polls)) != []


def test_what_would_lose_requests_or_run_twice_is_refused_with_what_to_add(place: Platform) -> None:
    change(place.cluster, "bot", lambda _: [{"op": "replace", "path": "/spec/replicas", "value": 2}])
    wait(lambda: settled(place.cluster, "bot"))
    try:
        code, output, _ = release(place, "bot", "v5")
        assert code == 2 and "has 2 pods, and recreate is for what never runs twice" in output, output
    finally:
        change(place.cluster, "bot", lambda _: [{"op": "replace", "path": "/spec/replicas", "value": 1}])
    change(place.cluster, "miniapp", lambda _: [{"op": "remove", "path": "/spec/minReadySeconds"}])
    try:
        code, output, _ = release(place, "miniapp", "v5")
        assert code == 2 and "minReadySeconds: 6" in " ".join(output.split()), output
    finally:
        change(place.cluster, "miniapp", loses_nothing)


def without_track(place: Platform) -> None:
    """miniapp as people deploy it: its Deployment and its Service select by ``app`` alone, and no pod has a preStop."""
    cluster, selector = place.cluster, {"app": "miniapp"}
    live = cluster.get("Deployment", "miniapp")
    assert live is not None
    remove(cluster, "Deployment", "miniapp")
    wait(lambda: not cluster.list("Pod", selector))
    template = live["spec"]["template"]
    del template["metadata"]["labels"]["track"]
    template["spec"]["containers"][0].pop("lifecycle", None)
    spec = {"replicas": 2, "selector": {"matchLabels": selector}, "template": template}
    metadata = {"name": "miniapp", "labels": selector}
    cluster.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    front = cluster.get("Service", "miniapp")
    assert front is not None
    operation = {"op": "replace", "path": "/spec/selector", "value": selector}
    cluster.patch("Service", "miniapp", front["metadata"]["resourceVersion"], [operation])
    wait(lambda: settled(cluster, "miniapp"))
    time.sleep(LATE)


def test_a_deployment_without_track_is_adopted_under_traffic_also_by_a_second_one_who_comes(place: Platform) -> None:
    without_track(place)
    command = ["release", "adopt", "--environment", "in-place", "--service", "miniapp"]
    dry = place.onlyvips(*command, "--dry-run")
    assert dry.returncode == 0 and "a twin comes up with 2 pods" in dry.stdout, dry.stdout + dry.stderr

    def adopt() -> tuple[int, str]:
        first = place.process(*command)
        wait(lambda: selected(place) == "twin")
        kill(first)
        done = place.onlyvips(*command)
        return done.returncode, done.stdout + done.stderr

    (code, output), seen = counted(place, adopt)
    assert code == 0, output
    assert seen["lost"] == {}, seen
    live = place.cluster.get("Deployment", "miniapp")
    assert live is not None and live["spec"]["selector"]["matchLabels"] == {"app": "miniapp", "track": "stable"}
    assert selected(place) == "stable"
    assert place.cluster.get("Deployment", "miniapp-twin") is None
    again = place.onlyvips(*command)
    assert again.returncode == 0 and "have `track: stable`" in again.stdout, again.stdout + again.stderr


def selected(place: Platform) -> str:
    """The track that the Service selects."""
    front = place.cluster.get("Service", "miniapp")
    assert front is not None
    return str(front["spec"]["selector"].get("track", ""))
