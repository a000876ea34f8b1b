"""Prefect's embedded server for a release in the command's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.commands import embedded
from onlyvips.errors import Permanent, Refused

RUN = """
import os, sys
from flows.commands import embedded
embedded.begin()
from prefect import flow, task
from prefect.settings import get_current_settings
embedded.wait()

@task
def double(number):
    return 2 * number

@flow
def both():
    return [double(1), double(2), get_current_settings().flows.heartbeat_frequency]

with embedded.running():
    result = both()
print(result, "prefect.server.api.server" in sys.modules, embedded._servers[0].process.pid)
"""


def test_a_flow_runs_on_it_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    result, imported, server = done.stdout.strip().rsplit(" ", 2)
    assert result == "[2, 4, None]", "heartbeats: nobody reads them, and the flow ends up to a second later"
    assert imported == "False", "Prefect's server was imported here, too: two seconds"
    assert not Path(f"/proc/{server}").exists()
    assert done.stderr == "", "what its server says is no business of who releases"


def test_a_server_that_does_not_come_up_is_a_refusal_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setenv("PREFECT_HOME", "/dev/null/not-a-folder")
    for name in embedded.SETTINGS:
        monkeypatch.setenv(name, embedded.SETTINGS[name])
    monkeypatch.setattr(embedded, "_servers", [])
    try:
        with pytest.raises(Refused, match=r"ended with \d+: .*unable to open database file\. Nothing was changed"):
            embedded.wait()
    finally:
        embedded._stop()


def command(tmp_path: Path, how: str, when: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """A release in a process of its own, in a group of its own as a terminal gives it, that is stopped; its lines."""
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    variables.pop("PREFECT_API_URL", None)
    line = [sys.executable, "-m", "tests.procedures.ctrl_c", how, when]
    done = subprocess.run(
        line, env=variables, capture_output=True, text=True, timeout=400, check=False, start_new_session=True
    )
    return done, [json.loads(told) for told in done.stdout.splitlines() if told.startswith("{")]


def test_a_terminals_ctrl_c_takes_the_release_back_and_leaves_nothing_of_the_server(tmp_path: Path) -> None:
    done, lines = command(tmp_path, "interrupted", "looks")
    assert len(lines) == 2, done.stderr
    became = lines[1]
    assert (became["phase"], became["result"], became["code"]) == ("closed", "rolled-back", 1), done.stderr
    assert became["reason"].endswith("asked for an abort: Ctrl-C")
    assert (became["lost"], became["left"]) == ([], [])
    assert became["alive"] == [True], "the terminal's Ctrl-C ended the server, to which Prefect had something to say"
    assert "going back first" in done.stderr and "Traceback" not in done.stderr
    assert not Path(f"/proc/{lines[0]['server']}").exists()


def test_a_command_that_is_killed_leaves_nothing_of_the_server(tmp_path: Path) -> None:
    done, lines = command(tmp_path, "killed", "looks")
    assert done.returncode == -9 and len(lines) == 1, done.stderr
    until = time.monotonic() + 60
    while (left := Path(f"/proc/{lines[0]['server']}").exists()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def test_ctrl_c_is_heard_whatever_prefect_made_of_it() -> None:
    with pytest.raises(KeyboardInterrupt), embedded.running():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise httpx.ConnectError("the server is gone") from None


def test_a_server_that_dies_is_a_sentence_and_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(Permanent, match="failed in the middle of the run .Connection refused"), embedded.running():
        raise httpx.ConnectError("Connection refused")
    with pytest.raises(KeyError), embedded.running():
        raise KeyError("spec")
    with pytest.raises(Refused, match="There is no bucket"), embedded.running():
        raise Refused("There is no bucket.")
