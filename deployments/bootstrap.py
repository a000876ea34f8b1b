"""Bring a Prefect server up to date with this checkout: the work pool, every deployment, and the schedules that the
environment asks for. Safe to run again; schedules of other environments on the same server stay.

``.venv/bin/python deployments/bootstrap.py --environment lab``
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from onlyvips import environment as environments
from onlyvips.core.plan import Scheduled
from onlyvips.errors import OnlyVipsError
from onlyvips.wiring import backups

ROOT = Path(__file__).resolve().parent.parent
POOL = "onlyvips"
_ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
"""What intervals are counted from: so that running this again moves no schedule."""


def _deploy(api: str) -> None:
    """``prefect deploy --all``, in this process: another one would import all of Prefect and of ours once more."""
    from prefect.cli import app

    output, arguments = io.StringIO(), sys.argv
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    try:
        with contextlib.chdir(ROOT), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            app()
    except SystemExit as ended:
        if ended.code:
            raise SystemExit(f"`prefect deploy --all` failed at {api}:\n{output.getvalue().strip()[-2000:]}") from None
    finally:
        sys.argv = arguments


def bootstrap(api: str, environment: str, wanted: Sequence[Scheduled]) -> None:
    """The pool when it is missing, all deployments of prefect.yaml, and the environment's schedules."""
    os.environ["PREFECT_API_URL"] = api
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    _make_pool()
    _deploy(api)
    _schedule(environment, wanted)


def _schedule(environment: str, wanted: Sequence[Scheduled]) -> None:
    """Make, change and remove schedules of this environment alone, one by one; whoever paused one finds it paused."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        for deployment in client.read_deployments():
            name = f"{flows[deployment.flow_id]}/{deployment.name}"
            asked = {one.name: one for one in wanted if one.deployment == name}
            ours = {
                one.slug: one.id for one in deployment.schedules if one.parameters.get("environment") == environment
            }
            for slug, id in ours.items():
                if slug not in asked:
                    client.delete_deployment_schedule(deployment.id, id)
            for one in asked.values():
                _bring(client, deployment.id, ours.get(one.name), one)


def _bring(client: Any, deployment: Any, existing: Any, wanted: Scheduled) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    anchor = _ANCHOR + timedelta(seconds=wanted.after)
    schedule = IntervalSchedule(interval=timedelta(seconds=wanted.every), anchor_date=anchor)
    parameters = dict(wanted.parameters)
    if existing is not None:
        client.update_deployment_schedule(deployment, existing, schedule=schedule, parameters=parameters)
        return
    made = DeploymentScheduleCreate(schedule=schedule, parameters=parameters, slug=wanted.name)
    client.create_deployment_schedules(deployment, [made])


def _make_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            template = ProcessWorker.get_default_base_job_template()
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


def main() -> int:
    """Read the environment's Prefect address and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", required=True, help="environment whose Prefect server is meant")
    name = parser.parse_args().environment
    try:
        loaded = environments.load(name)
        reference = loaded.endpoints.prefect_api
        if not reference:
            raise SystemExit(f"Environment {name} names no Prefect server (endpoints.prefect_api).")
        wanted = [*backups.schedules(loaded), *environments.release_schedules(loaded)]
        bootstrap(environments.endpoint(loaded, reference), name, wanted)
    except httpx.HTTPError as error:
        sys.stderr.write(
            f"The Prefect server of {name} did not answer ({type(error).__name__}): start it, try again.\n"
        )
        return 1
    except OnlyVipsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"Prefect of {name}: pool {POOL}, the deployments of prefect.yaml and {len(wanted)} schedules are up to date.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
