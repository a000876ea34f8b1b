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
    time.sleep(0.5)
    answer = lab(home, "status", "--json")
    assert answer.returncode == 1
    assert [name for name, part in json.loads(answer.stdout)["parts"].items() if not part["healthy"]] == ["load"]
    assert lab(home, "down").returncode == 0
    assert not processes(home)
    assert lab(home, "down").returncode == 0
    assert lab(home, "status").returncode == 1


@pytest.mark.parametrize("victims", [["supervisor"], ["guardian"], ["guardian", "supervisor"]])
def test_a_killed_lab_leaves_nothing(home: Path, victims: list[str]) -> None:
    """Pods included, which are children of a child of the supervisor."""
    up(home)
    assert any("sample" in words for words in processes(home))
    state = json.loads((home / "state.json").read_text())
    for victim in victims:
        os.kill(state[victim], signal.SIGKILL)
    await_no_process(home, 20)
    assert lab(home, "status").returncode == 1


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """`--fresh` on the wrong folder must not remove anything."""
    (tmp_path / "precious").write_text("data")
    assert lab(tmp_path, "up", "--fresh").returncode != 0
    assert (tmp_path / "precious").exists()
