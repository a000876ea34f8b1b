"""Bring a Prefect server up to date with this checkout: the work pool and every deployment. Safe to run again.

``.venv/bin/python deployments/bootstrap.py --environment lab``
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import httpx

from onlyvips import environment as environments
from onlyvips.errors import OnlyVipsError

ROOT = Path(__file__).resolve().parent.parent
POOL = "onlyvips"


def _prefect(api: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    variables = {**os.environ, "PREFECT_API_URL": api, "PREFECT_LOGGING_LEVEL": "ERROR"}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False)


def _required(api: str, *arguments: str) -> None:
    done = _prefect(api, *arguments)
    if done.returncode:
        tail = (done.stdout + done.stderr).strip()[-2000:]
        raise SystemExit(f"`prefect {' '.join(arguments)}` failed at {api}:\n{tail}")


def bootstrap(api: str) -> None:
    """The pool when it is missing, and all deployments of prefect.yaml."""
    os.environ["PREFECT_API_URL"] = api
    _make_pool()
    _required(api, "deploy", "--all")


def _make_pool() -> None:
    """In this process: each call of Prefect's own command costs seconds of imports."""
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
        bootstrap(environments.endpoint(loaded, reference))
    except httpx.HTTPError as error:
        sys.stderr.write(
            f"The Prefect server of {name} did not answer ({type(error).__name__}): start it, try again.\n"
        )
        return 1
    except OnlyVipsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"Prefect of {name}: pool {POOL} and the deployments of prefect.yaml are up to date.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
