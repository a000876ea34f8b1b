"""The lab's node without an apiserver: images, addresses, paths, probes, and that nothing outlives it.

What it does with a real apiserver is seen by every other test of the lab: no pod runs otherwise.
"""

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAB = Path(__file__).parents[2] / "deployments" / "lab"
sys.path.insert(0, str(LAB))

import builds  # noqa: E402
from node import addresses, leftovers, status  # noqa: E402
from node.container import Container  # noqa: E402
from node.images import Images  # noqa: E402
from node.inputs import Inputs, expand  # noqa: E402
from node.probes import opinions  # noqa: E402
from node.process import Process  # noqa: E402

DIGEST = f"sha256:{hashlib.sha256(b'ghcr.io/onlyvips/backend:v3').hexdigest()}"


@pytest.mark.parametrize(
    ("image", "command"),
    [
        ("ghcr.io/onlyvips/backend:v3", ("/bin/sample", "-service", "backend", "-version", "v3")),
        ("ghcr.io/onlyvips/miniapp:v0.9.0", ("/bin/sample", "-service", "miniapp", "-version", "v0.9.0")),
        (f"ghcr.io/onlyvips/backend:v3@{DIGEST}", ("/bin/sample", "-service", "backend", "-version", "v3")),
        ("ghcr.io/onlyvips/migrate:v2", ()),
    ],
)
def test_an_image_of_the_table_is_a_command(image: str, command: tuple[str, ...]) -> None:
    program = Images.load({"bin": "/bin", "python": "/python"}).resolve(image)
    assert program is not None
    assert program.command == command


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/onlyvips/backend:v99",
        "ghcr.io/onlyvips/backedn:v1",
        "backend:v1",
        "ghcr.io/onlyvips/backend",
        f"ghcr.io/onlyvips/backend:v2@{DIGEST}",
    ],
)
def test_any_other_image_is_not_there(image: str) -> None:
    assert Images.load({"bin": "/bin", "python": "/python"}).resolve(image) is None


def test_labs_side_by_side_have_different_addresses(tmp_path: Path) -> None:
    first, second = addresses.take(tmp_path), addresses.take(tmp_path)
    assert first.network != second.network
    first.door.close()
    third = addresses.take(tmp_path)
    assert third.network == first.network, "a lab that starts again has its block again"
    second.door.close()
    third.door.close()


def test_an_address_comes_back_last(tmp_path: Path) -> None:
    block = addresses.take(tmp_path)
    block.door.close()
    first = block.allocate()
    block.release(first)
    others = [block.allocate() for _ in range(252)]
    assert first not in others
    assert block.allocate() == first
    with pytest.raises(RuntimeError, match="in use"):
        block.allocate()


def test_variables_expand_as_in_kubernetes() -> None:
    assert expand("$(A)-$(B)-$$(A)-$A", {"A": "1"}) == "1-$(B)-$(A)-$A"


def test_mount_paths_are_rewritten_and_nothing_else(tmp_path: Path) -> None:
    pod = {"metadata": {"namespace": "production"}, "spec": {}}
    inputs = Inputs(None, pod, tmp_path, "127.1.0.2", "127.1.0.1")  # type: ignore[arg-type]
    container = {"volumeMounts": [{"mountPath": "/etc/app"}]}
    for text, expected in [
        ("/etc/app", f"{tmp_path}/etc/app"),
        ("cat /etc/app/x > /etc/apps", f"cat {tmp_path}/etc/app/x > /etc/apps"),
        ("--config=/etc/app/x", f"--config={tmp_path}/etc/app/x"),
        ("/usr/etc/app/x", "/usr/etc/app/x"),
        ("$POD_ROOT/etc/app", "$POD_ROOT/etc/app"),
    ]:
        assert inputs.relocate(container, text) == expected


def test_a_probe_changes_its_opinion_at_its_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True, True, False, True, False, False, False])
    seen = []

    async def instantly(_: float) -> None:
        return None

    async def ask() -> bool:
        seen.append(next(answers))
        return seen[-1]

    async def first(count: int) -> list[tuple[bool, int]]:
        changes = []
        async for opinion in opinions({"successThreshold": 2, "failureThreshold": 3}, ask):
            changes.append((opinion, len(seen)))
            if len(changes) == count:
                break
        return changes

    monkeypatch.setattr("node.probes.asyncio.sleep", instantly)
    assert asyncio.run(first(2)) == [(True, 3), (False, 8)]


def container(state: dict[str, object], policy: str = "Always") -> Container:
    made = Container({"name": "c", "image": "i"}, policy, None, None, {}, Path())  # type: ignore[arg-type]
    made.state = state
    return made


def test_the_phase_follows_the_containers() -> None:
    waiting, running = {"waiting": {"reason": "ErrImagePull"}}, {"running": {"startedAt": "x"}}
    good, bad = ({"terminated": {"exitCode": code}} for code in (0, 3))
    assert status.phase([container(waiting), container(running)], [], over=False) == "Pending"
    crashing = container(waiting)
    crashing.last_state = bad
    assert status.phase([crashing], [], over=False) == "Running"
    assert status.phase([container(good)], [], over=True) == "Succeeded"
    assert status.phase([container(good), container(bad)], [], over=True) == "Failed"
    assert status.phase([container(waiting)], [], over=True) == "Failed"


def test_a_node_that_restarts_counts_its_lost_containers() -> None:
    before = {"restartCount": 2, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    lost = container({})
    lost.recall(before)
    assert (lost.restarts, lost.exit_code) == (2, 137)
    never = container({}, "Never")
    never.recall(before)
    assert asyncio.run(never.run()) == 137, "what may not run again has failed"


def alive(root: Path) -> list[int]:
    return list(leftovers._processes(f"POD_ROOT={root}".encode()))


def wait_for(what: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end, "too slow"
        time.sleep(0.02)


NODE = """
import asyncio, sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from node import leftovers
from node.process import Process
root = Path(sys.argv[2])
async def main():
    leftovers.undertaker(root)
    script = "sleep 600 & setsid sleep 600 & exec sleep 600"
    Process(["sh", "-c", script], {"PATH": "/usr/bin:/bin", "POD_ROOT": str(root / "uid")}, "/", root / "log")
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_nothing_outlives_a_node_that_is_killed(tmp_path: Path) -> None:
    node = subprocess.Popen([sys.executable, "-c", NODE, str(LAB), str(tmp_path)])
    wait_for(lambda: len(alive(tmp_path)) >= 3)
    os.kill(node.pid, signal.SIGKILL)
    node.wait()
    wait_for(lambda: not alive(tmp_path))


def test_a_process_tells_how_it_ended_and_takes_its_group_along(tmp_path: Path) -> None:
    async def run() -> int:
        environment = {"PATH": "/usr/bin:/bin", "POD_ROOT": str(tmp_path)}
        return await Process(["sh", "-c", "sleep 600 & kill -9 $$"], environment, "/", tmp_path / "log").ended

    assert asyncio.run(run()) == 137
    wait_for(lambda: not alive(tmp_path))


def test_a_port_that_another_program_has_at_every_address_is_named() -> None:
    """Its answers would be taken for those of the pods."""
    with socket.socket() as stranger:
        stranger.bind(("0.0.0.0", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(builds.Missing, match=f"Port {port} is needed"):
            builds.check_pod_port(port)
    builds.check_pod_port(port)
