"""Prefect's embedded server for a release in the command's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands import embedded
from onlyvips.errors import Refused

RUN = """
import os, sys
from flows.commands import embedded
embedded.begin()
from prefect import flow, task
embedded.wait()

@task
def double(number):
    return 2 * number

@flow
def both():
    return [double(1), double(2)]

print(both(), "prefect.server.api.server" in sys.modules, embedded._servers[0].process.pid)
"""


def test_a_flow_runs_on_it_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    result, imported, server = done.stdout.strip().rsplit(" ", 2)
    assert result == "[2, 4]"
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
