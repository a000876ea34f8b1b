"""A run that waits for an approval, on a real Prefect server: suspended, resumed by a command or by its form."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from onlyvips.wiring import approving as waiting
from tasks import approving

RELEASE = "backend-v2-1a2b3c"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A server of the module's own, without its services."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api, home = f"http://127.0.0.1:{port}/api", tmp_path_factory.mktemp("prefect")
    settings = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-services", "--no-ui"]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(api, server)
        with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as found:
            yield found
            # What they did not send yet they would try to send for minutes when all tests are over.
            for worker in (EventsWorker, APILogWorker):
                worker.drain_all(timeout=30, at_exit=False)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(api: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{api}/health", trust_env=False).is_success:
                return
        time.sleep(0.3)
    raise AssertionError("the server ended before it answered")


@flow(name="waits-for-approval", persist_result=False)
def waits() -> str:
    approving.wait("lab", RELEASE)
    return "went on"


def run_it(client: SyncPrefectClient, run: Any) -> str:
    """What a worker does with the run; the name of its state afterwards."""
    with suppress(Pause):
        run_flow(waits, flow_run=client.read_flow_run(run.id), return_type="state")
    return str(client.read_flow_run(run.id).state.name)


@pytest.fixture
def run(client: SyncPrefectClient) -> Any:
    deployment = client.create_deployment(client.create_flow(waits), name="waits")
    return client.create_flow_run_from_deployment(deployment)


def test_it_is_suspended_until_enough_people_answered_and_each_answer_is_heard(
    client: SyncPrefectClient, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = list[tuple[str, ...]]()
    monkeypatch.setattr(waiting, "hear", lambda _e, _r, *told: heard.append(told) or "noted")
    monkeypatch.setattr(
        waiting, "waits", lambda *_: None if {"Ada", "Bob"} <= {one[1] for one in heard} else "two of it"
    )
    assert run_it(client, run) == "Suspended" and heard == []
    assert approving.wake([f"run one ({run.id}), attempt 1"], "approve", "Ada", "seen")
    assert run_it(client, run) == "Suspended" and heard == [("approve", "Ada", "seen")]
    assert approving.wake([f"run one ({run.id}), attempt 2"], "approve", "Bob", "me too")
    assert run_it(client, run) == "Completed"
    assert heard[-1] == ("approve", "Bob", "me too")
    assert not approving.wake([f"run one ({run.id}), attempt 3"], "approve", "Eve", "late"), "it waits no more"


def test_a_run_that_is_resumed_after_the_record_was_approved_asks_nobody(
    client: SyncPrefectClient, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "hear", lambda *_: pytest.fail("the record says it already"))
    monkeypatch.setattr(waiting, "waits", lambda *_: "an approval")
    assert run_it(client, run) == "Suspended"
    monkeypatch.setattr(waiting, "waits", lambda *_: None)
    approving.wake([f"run one ({run.id}), attempt 1"], "approve", "Ada", "seen")
    assert run_it(client, run) == "Completed"


def test_a_run_of_no_deployment_waits_where_it_is(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[str]()
    monkeypatch.setattr(waiting, "wait", lambda _e, release: waited.append(release))
    assert waits() == "went on" and waited == [RELEASE]
