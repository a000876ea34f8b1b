"""The lab itself: it comes up, says how it is, and leaves nothing behind however it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onlyvips.adapters.cluster_kubernetes import KubernetesCluster
from onlyvips.core import manifests

LAB = Path(__file__).resolve().parents[2] / "deployments" / "lab"
pytestmark = pytest.mark.lab


def lab(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab on this home."""
    command = [sys.executable, str(LAB), *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def up(home: Path) -> dict[str, dict[str, object]]:
    """Start a lab without Prefect and return its parts."""
    started = lab(home, "up", "--without", "prefect")
    assert started.returncode == 0, started.stdout + started.stderr
    state = lab(home, "status", "--json")
    assert state.returncode == 0, state.stdout
    return json.loads(state.stdout)["parts"]


def processes(home: Path) -> list[str]:
    """Command lines and programs on this machine that belong to the home."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace") if folder.name.isdigit() else ""
        except OSError:
            continue
        if str(home) in words:
            found.append(words.replace("\0", " "))
    return found


def await_no_process(home: Path, patience: float = 5) -> None:
    """What is killed takes a moment to be gone."""
    end = time.monotonic() + patience
    while (left := processes(home)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home in which no lab runs afterwards."""
    yield tmp_path / "lab"
    lab(tmp_path / "lab", "down")
    shutil.rmtree(tmp_path / "lab", ignore_errors=True)


def test_up_is_healthy_and_down_leaves_nothing(home: Path) -> None:
    """Every part answers, one that dies is named; `down` ends all of them, and may be asked again."""
    parts = up(home)
    assert {"apiserver", "node", "gateway", "mongodb", "s3-a", "s3-b", "prometheus"} <= parts.keys()
    assert len(processes(home)) > 15
    assert (home / "endpoints.env").stat().st_mode & 0o777 == 0o600
    assert "is running" in lab(home, "up").stdout
    os.kill(int(str(parts["load"]["pid"])), signal.SIGKILL)
    end = time.monotonic() + 30
    while (answer := lab(home, "status", "--json")).returncode == 0 and time.monotonic() < end:
        time.sleep(0.1)
    assert answer.returncode == 1
    assert not json.loads(answer.stdout)["parts"]["load"]["healthy"]
    assert lab(home, "down").returncode == 0
    assert not processes(home)
    assert lab(home, "down").returncode == 0
    assert lab(home, "status").returncode == 1


def test_what_a_release_left_does_not_keep_the_lab_from_coming_up_again(home: Path) -> None:
    """A Job that is done still has its pod's address; a canary may be ready and in no route."""
    up(home)
    cluster = KubernetesCluster(home / "keys" / "kubeconfig.yaml", "production")
    container = {"name": "one", "image": "ghcr.io/onlyvips/migrate:v1", "command": ["true"]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "done"}, "spec": {"template": {"spec": pod}}}
    cluster.create(job)
    stable = cluster.get("Deployment", "backend")
    assert stable is not None
    template = manifests.new_template(stable, "ghcr.io/onlyvips/backend", "v2", "r", {})
    own = manifests.own_metadata("r", "backend", 1)
    cluster.create(manifests.canary_deployment(stable, template, "backend-canary", 1, own))
    end = time.monotonic() + 60
    for kind, name, count in (("Job", "done", "succeeded"), ("Deployment", "backend-canary", "readyReplicas")):
        while not ((found := cluster.get(kind, name)) and found["status"].get(count)):
            assert time.monotonic() < end, found
            time.sleep(0.1)
    assert lab(home, "down").returncode == 0
    up(home)


def test_asking_to_end_a_lab_that_is_still_being_built_ends_the_build(home: Path, tmp_path: Path) -> None:
    go = tmp_path / "tools" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.99.0 && exit\nexec sleep 300\n')
    go.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{go.parent}:{os.environ['PATH']}",
        "ONLYVIPS_LAB_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, str(LAB), "up", "--home", str(home)]
    building = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("logs/kubernetes.log")):
        assert time.monotonic() < end
        time.sleep(0.1)
    second = lab(home, "up")
    assert second.returncode == 1
    assert "is at work" in second.stdout
    assert lab(home, "down").returncode == 0
    assert building.wait(timeout=20) == 130
    assert not [words for words in processes(tmp_path) if "sleep 300" in words]
    assert not list((tmp_path / "cache").glob(".kubernetes-*"))


def test_a_fault_is_refused_where_no_lab_is_and_for_what_is_no_sample(home: Path) -> None:
    assert lab(home, "fault", "backend", "v2", "--error-rate", "0.2").returncode == 1
    assert not home.exists()


@pytest.mark.parametrize("victims", [["supervisor"], ["guardian"], ["guardian", "supervisor"]])
def test_a_killed_lab_leaves_nothing(home: Path, victims: list[str]) -> None:
    """Pods included, which are children of a child of the supervisor."""
    up(home)
    assert any("sample" in words for words in processes(home))
    state = json.loads((home / "state.json").read_text())
    # What a part started, and is no pod: a run of the worker, say. No signal of its parent's death comes to it.
    started = subprocess.Popen(["sleep", "300"], env={**os.environ, "LAB_ROOT": str(home)}, start_new_session=True)
    try:
        for victim in victims:
            os.kill(state[victim], signal.SIGKILL)
        await_no_process(home, 20)
        if victims == ["guardian", "supervisor"]:
            assert started.wait(timeout=20) == -signal.SIGKILL
    finally:
        started.kill()
        started.wait()
    assert lab(home, "status").returncode == 1


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """`--fresh` on the wrong folder must not remove anything."""
    (tmp_path / "precious").write_text("data")
    assert lab(tmp_path, "up", "--fresh").returncode != 0
    assert (tmp_path / "precious").exists()
