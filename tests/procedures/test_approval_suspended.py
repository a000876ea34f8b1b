"""A run that waits for an approval, on a real Prefect server: suspended, resumed by a command or by its form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.flow_engine import run_flow
from prefect.testing.utilities import prefect_test_harness

from onlyvips.wiring import approving as waiting
from tasks import approving

RELEASE = "backend-v2-1a2b3c"


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as found:
        yield found


@flow(name="waits-for-approval", persist_result=False)
def waits() -> str:
    approving.wait("lab", RELEASE)
    return "went on"


def run_it(client: SyncPrefectClient, run: Any) -> str:
    """What a worker does with the run; the name of its state afterwards."""
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
