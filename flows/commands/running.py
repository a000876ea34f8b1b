"""Start a run of a deployment where a Prefect server answers, and tell what its log says until it ended."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

from flows.commands import console
from onlyvips import environment as environments
from onlyvips.environment import Environment
from onlyvips.errors import Permanent, Refused

_PAUSE = 1.0
_PATIENCE = 300.0
_NO_WORKER_AFTER = 20.0
_INFO = 20
_CHATTER = ("Downloading flow code", "Beginning flow run", "Finished in state", "Flow run '")
"""How lines of Prefect's own begin, which say nothing of the procedure."""


def answering_server(loaded: Environment) -> str:
    """The environment's Prefect API when it answers, else ""."""
    reference = loaded.endpoints.prefect_api
    try:
        api = environments.endpoint(loaded, reference) if reference else os.environ.get("PREFECT_API_URL", "")
        return api if api and httpx.get(f"{api}/health", timeout=3.0, trust_env=False).is_success else ""
    except (httpx.HTTPError, httpx.InvalidURL, Refused):  # Refused: its address is a setting that is not set here
        return ""


def address_of(loaded: Environment, api: str, run: Any) -> str:
    """Where a person sees a run."""
    reference = loaded.endpoints.prefect_ui
    ui = environments.endpoint(loaded, reference) if reference else api.removesuffix("/api")
    return f"{ui}/runs/flow-run/{run}"


def begin(api: str, loaded: Environment, deployment: str, parameters: Mapping[str, Any]) -> Any:
    """Make a run of ``deployment`` (``flow/name``). Raises Refused when there is none, Permanent without answer."""
    os.environ["PREFECT_API_URL"] = api
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        return run_deployment(deployment, parameters=dict(parameters), timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise Refused(
            f"The Prefect server at {api} has no deployment {deployment}: nothing was started; run "
            f"`.venv/bin/python deployments/bootstrap.py --environment {loaded.name}`, or use --local."
        ) from error
    except httpx.HTTPError as error:
        raise Permanent(
            f"The Prefect server at {api} was asked for a run and gave no good answer ({error}): whether it made one "
            f"is not known; look at {address_of(loaded, api, '')} before starting again."
        ) from error


def follow(run: Any, address: str, *, quiet: bool) -> Any:
    """Tell the run's log as it grows; returns its final state. Raises Permanent when Prefect is silent for minutes.
    Ctrl-C ends the telling alone, and that is said."""
    try:
        return _followed(run, address, quiet)
    except KeyboardInterrupt:
        console.complain(
            f"No longer following: run {run.name} goes on, or begins once a worker takes it ({address}). To end it: "
            f"prefect flow-run cancel {run.id}"
        )
        raise


def _followed(run: Any, address: str, quiet: bool) -> Any:
    told, answered, began, warned, over = 0, time.monotonic(), time.monotonic(), False, False
    while True:
        try:
            state, lines = _look(run.id, told)
        except Exception as error:  # noqa: BLE001 - whatever its client raises, the run goes on without us
            if time.monotonic() - answered > _PATIENCE:
                raise Permanent(f"Prefect has not answered for {_PATIENCE:.0f} s ({error}); see {address}.") from error
            time.sleep(_PAUSE)
            continue
        answered, told = time.monotonic(), told + len(lines)
        for line in lines:
            if line and not quiet:
                console.say(f"  {line}")
        if state.is_final():
            if over or quiet:
                return state
            over = True  # its last lines come a moment after it
        if state.is_scheduled() and not warned and time.monotonic() - began > _NO_WORKER_AFTER:
            warned = True
            console.complain("No worker has taken the run yet: is one running? `prefect worker start --pool onlyvips`")
        time.sleep(_PAUSE)


def _look(run: Any, told: int) -> tuple[Any, list[str]]:
    """The run's state, and what its log says after the first ``told`` lines."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterLevel
    from prefect.client.schemas.sorting import LogSort

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]), level=LogFilterLevel(ge_=_INFO))
        found = client.read_logs(log_filter=chosen, sort=LogSort.TIMESTAMP_ASC, offset=told, limit=200)
    return state, [
        "" if log.message.startswith(_CHATTER) else f"{log.timestamp:%H:%M:%S} {log.message}" for log in found
    ]
