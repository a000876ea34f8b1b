"""What all tests share: the lab of real servers, started once for those that ask for it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines are noisy: no test fails because it was slow.
settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")

DOCUMENTS = "4000"
ROOT = Path(__file__).resolve().parent.parent

ELSEWHERE = {
    "ONLYVIPS_TEST_MONGODB_URI": "a real MongoDB",
    "ONLYVIPS_TEST_VAULT_ADDR": "a real Vault",
}
"""Servers that are not to be had here: their half of a contract suite is collected only when the variable is set."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    missing = [
        f"{server} ({variable} is not set)" for variable, server in ELSEWHERE.items() if variable not in os.environ
    ]
    if missing:
        terminalreporter.write_line(f"Not tested against {', '.join(missing)}.")


@dataclass(frozen=True)
class Lab:
    """A running lab: its addresses, and the folder of the programs that it was built with."""

    home: Path
    env: dict[str, str]

    @property
    def bin(self) -> Path:
        """mongodump, mongorestore, age, zstd …"""
        return Path(self.env["ONLYVIPS_LAB_BIN"])

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python deployments/lab …`` for this lab."""
        return lab_command(self.home, *arguments, check=check)


def lab_command(home: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """``python deployments/lab ARGUMENTS --home HOME``; its output is shown when it fails."""
    command = [sys.executable, "deployments/lab", *arguments, "--home", str(home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    if check and done.returncode:
        output = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        pytest.fail(f"{shlex.join(command)} exited with {done.returncode}:\n{output}")
    return done


def read_endpoints(home: Path) -> dict[str, str]:
    """NAME=value lines of a lab's endpoints.env."""
    pairs = (line.split("=", 1) for line in (home / "endpoints.env").read_text().splitlines() if "=" in line)
    return {name.removeprefix("export ").strip(): "".join(shlex.split(value)) for name, value in pairs}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of the test session's own, or the one in ``ONLYVIPS_TEST_LAB_HOME``, which is left as it is."""
    told = os.environ.get("ONLYVIPS_TEST_LAB_HOME")
    home = Path(told) if told else tmp_path_factory.mktemp("lab")
    try:
        if not told:
            lab_command(home, "up", "--documents", DOCUMENTS)
            lab_command(home, "load-data", "--documents", DOCUMENTS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONLYVIPS_LAB_HOME", str(home))
            yield Lab(home, read_endpoints(home))
    finally:
        if not told:
            lab_command(home, "down", check=False)
