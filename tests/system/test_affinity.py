"""A front-end whose users keep to a version, on real servers: forward and back, no request lost, nobody sees both."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
import yaml

from onlyvips.core.record import Record
from onlyvips.steps import records
from tests.system.platform import LATE, Platform

pytestmark = pytest.mark.lab
WHERE = ["-e", "quick", "-s", "miniapp"]
USERS, RATE = 200, 100
TESTER = {"X-Onlyvips-Tester": "canary"}


class Miniapp:
    """The front-end, its users, and its rules in the shared route."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.cluster = platform, platform.cluster

    def begin(self, version: str) -> subprocess.Popen[str]:
        """A release as a process of its own."""
        return self.platform.process("release", "start", "--local", *WHERE, "-v", version)

    def version(self) -> str:
        """What stable runs."""
        found = self.cluster.get("Deployment", "miniapp")
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]

    def rules(self) -> list[Any]:
        """The route's."""
        found = self.cluster.get("HTTPRoute", "onlyvips")
        assert found is not None
        return list(found["spec"]["rules"])

    def wait_for(self, condition: Callable[[Record], bool]) -> Record:
        """The newest record, once it is so."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            found = records.every(self.cluster, "miniapp")
            if found and condition(found[-1]):
                return found[-1]
            time.sleep(0.2)
        raise AssertionError("this did not come about in time")

    def tester(self) -> str:
        """The version that a tester gets."""
        answer = httpx.get(self.platform.lab.env["ONLYVIPS_LAB_GATEWAY_URL"], headers=TESTER, trust_env=False)
        return str(answer.headers["X-Version"])

    @contextmanager
    def users(self) -> Iterator[dict[str, Any]]:
        """They come, with their cookies, while the block runs; what became of them is in the value afterwards."""
        seen: dict[str, Any] = {}
        load = self.platform.load
        target = {"name": "miniapp", "path": "/", "rate": RATE, "users": USERS}
        httpx.post(f"{load}/start", json={"targets": [target]}, trust_env=False).raise_for_status()
        try:
            yield seen
            time.sleep(LATE)
        finally:
            stats = httpx.post(f"{load}/stop", timeout=30, trust_env=False).raise_for_status().json()
            seen |= {**stats["targets"]["miniapp"], **{key: stats[key] for key in ("losses", "flips", "flipped")}}
        assert seen["unsent"] == 0


@pytest.fixture
def miniapp(platform: Platform) -> Miniapp:
    """Nothing open, nothing faulty; the last stage is long enough for a slow machine to abort in it."""
    quick = platform.folder / "quick.yaml"
    document = yaml.safe_load(quick.read_text())
    testers = {"header": "X-Onlyvips-Tester", "value": "canary"}
    document["services"]["miniapp"] |= {"assets": "versioned", "affinity": "cookie", "testers": testers}
    document["strategies"]["canary"]["stages"][-1]["hold"] = "60s"
    quick.write_text(yaml.safe_dump(document))
    done = platform.onlyvips("release", "reconcile", *WHERE, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return Miniapp(platform)


def flips_before(seen: dict[str, Any], moment: float) -> list[Any]:
    """Users who saw another version before all of them were sent one way."""
    return [flip for flip in seen["flips"] if datetime.fromisoformat(flip["time"]).timestamp() < moment]


def test_users_and_testers_keep_to_a_version_until_an_abort_takes_all_back_and_no_request_is_lost(
    miniapp: Miniapp,
) -> None:
    before, old = miniapp.rules(), miniapp.version()
    new = "v3" if old == "v2" else "v2"
    with miniapp.users() as seen:
        process = miniapp.begin(new)
        miniapp.wait_for(lambda record: record.version == new and record.weight > 0)
        time.sleep(LATE)
        assert {miniapp.tester() for _ in range(50)} == {new}
        assert len(miniapp.rules()) == len(before) + 3
        miniapp.wait_for(lambda record: record.version == new and record.weight == 50)
        time.sleep(LATE)
        aborted = time.time()
        done = miniapp.platform.onlyvips("release", "abort", *WHERE, "--reason", "it looks odd", "--json")
        output, _ = process.communicate(timeout=300)
    assert (done.returncode, process.returncode) == (0, 1), done.stdout + done.stderr + output
    assert seen["lost"] == {}, seen["losses"]
    assert flips_before(seen, aborted) == []
    assert {(flip["from"], flip["to"]) for flip in seen["flips"]} == {(new, old)}, "each was sent back"
    assert USERS / 4 < seen["flipped"] <= USERS, "about half of them, once"
    assert (miniapp.rules(), miniapp.version()) == (before, old)


@pytest.mark.soak
def test_users_keep_to_their_version_until_all_get_the_new_one_and_no_request_is_lost(miniapp: Miniapp) -> None:
    before, old = miniapp.rules(), miniapp.version()
    new = "v3" if old == "v2" else "v2"
    with miniapp.users() as seen:
        output, _ = miniapp.begin(new).communicate(timeout=400)
    record = miniapp.wait_for(lambda record: record.version == new)
    assert record.result == "promoted", output
    everybody = next(step.intended for step in record.steps if step.action == "set weight 100 %")
    assert seen["lost"] == {}, seen["losses"]
    assert flips_before(seen, everybody) == []
    assert {(flip["from"], flip["to"]) for flip in seen["flips"]} == {(old, new)}, "each was sent on"
    assert 0 < seen["flipped"] <= USERS, "once"
    assert (miniapp.rules(), miniapp.version()) == (before, new)
