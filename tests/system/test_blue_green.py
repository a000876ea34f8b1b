"""Blue-green on real servers: users of the front-end are switched forward and back, and no request is lost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from onlyvips.core.record import Record
from onlyvips.steps import records
from tests.system.platform import LATE, Platform

pytestmark = pytest.mark.lab
WHERE = ["-e", "quick", "-s", "showcu-panel"]


class Panel:
    """The front-end of two colours behind Service ``main-app``."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.cluster = platform, platform.cluster

    def selected(self) -> str:
        """The colour that users are on."""
        front = self.cluster.get("Service", "main-app")
        assert front is not None
        return str(front["spec"]["selector"]["version"])

    def image(self, colour: str) -> str:
        """What a colour runs, or would."""
        found = self.cluster.get("Deployment", f"showcu-panel-{colour}")
        assert found is not None
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]

    def other(self) -> str:
        """The colour that users are not on."""
        return "green" if self.selected() == "blue" else "blue"

    def new_version(self) -> str:
        """One that users are not on."""
        return "v3" if self.image(self.selected()) == "v2" else "v2"

    def begin(self, version: str) -> subprocess.Popen[str]:
        """A release as a process of its own."""
        return self.platform.process("release", "start", "--local", *WHERE, "-v", version)

    def release(self, version: str) -> tuple[int, str]:
        """A release to its end: exit code and output."""
        process = self.begin(version)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def asleep(self, colour: str) -> None:
        """Nothing of a preview is left, and no pod of the other colour."""
        assert self.cluster.get("Service", "showcu-panel-preview") is None
        assert self.cluster.get("HTTPRoute", "showcu-panel-preview") is None
        found = self.cluster.get("Deployment", f"showcu-panel-{colour}")
        assert found is None or found["spec"]["replicas"] == 0

    @contextmanager
    def traffic(self) -> Iterator[dict[str, Any]]:
        """Open-loop load while the block runs; what became of it is in the value afterwards."""
        seen: dict[str, Any] = {}
        load, target = self.platform.load, {"name": "showcu-panel", "path": "/panel/", "rate": 100}
        httpx.post(f"{load}/start", json={"targets": [target]}, trust_env=False).raise_for_status()
        try:
            yield seen
            time.sleep(LATE)
        finally:
            stats = httpx.post(f"{load}/stop", timeout=30, trust_env=False).raise_for_status().json()
            seen |= {**stats["targets"]["showcu-panel"], "losses": stats["losses"]}
        assert seen["unsent"] == 0


@pytest.fixture
def panel(platform: Platform) -> Panel:
    """Nothing open, nothing faulty."""
    for version in ("v2", "v3"):
        platform.lab.command("fault", "showcu-panel", version, "--clear")
    done = platform.onlyvips("release", "reconcile", *WHERE, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return Panel(platform)


def test_a_good_version_gets_all_users_and_a_bad_one_gives_them_back_and_no_request_is_lost(panel: Panel) -> None:
    good, old, new = panel.new_version(), panel.selected(), panel.other()
    with panel.traffic() as forward:
        code, output = panel.release(good)
    assert code == 0, output
    assert "smoke tests passed" in output
    assert forward["lost"] == {}, forward["losses"]
    assert forward["versions"][good]["total"] > 100
    assert (panel.selected(), panel.image(new)) == (new, good)
    panel.asleep(old)
    bad, before = panel.new_version(), panel.image(old)
    with panel.traffic() as back:
        process = panel.begin(bad)
        wait_for(panel, lambda record: record.version == bad and record.phase in ("switch", "warm"))
        panel.platform.lab.command("fault", "showcu-panel", bad, "--error-rate", "0.3")  # its smoke tests had passed
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "api-errors" in output, output
    assert back["lost"] == {}, back["losses"]
    assert back["versions"][bad]["total"] > 0, "users were on the bad one for a while"
    assert (panel.selected(), panel.image(new)) == (new, good)
    assert panel.image(old) == before, "the other colour has the template that it had before"
    panel.asleep(old)


def wait_for(panel: Panel, condition: Any) -> Record:
    """The newest record of the front-end, once it is so."""

    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = records.every(panel.cluster, "showcu-panel")
        if found and condition(found[-1]):
            return found[-1]
        time.sleep(0.2)
    raise AssertionError("this did not come about in time")
