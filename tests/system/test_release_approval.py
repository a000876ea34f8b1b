"""A release that wants approvals, through Prefect: its run is suspended, approved, goes on, and waits in mid-canary."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml

from onlyvips.core import approvals
from onlyvips.core.record import Record
from tests.system.platform import Platform, told

pytestmark = [pytest.mark.lab, pytest.mark.soak]
WHERE = ["-e", "careful", "-s", "backend"]


def careful(platform: Platform) -> str:
    """An environment that wants an approval before anything changes, and one before the last stage."""
    name = platform.environment("careful")
    file = platform.folder / f"{name}.yaml"
    document = yaml.safe_load(file.read_text())
    document["strategies"]["canary"]["stages"] = [{"weight": "50%", "hold": "6s"}]
    document["release"]["approvals"] = {"before_traffic": True, "stages": ["50%"], "within": "10m", "four_eyes": True}
    file.write_text(yaml.safe_dump(document))
    return name


def run_of(platform: Platform, version: str) -> str:
    """A run of the deployment by the lab's worker, in that environment; returns its id."""
    api = platform.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
    found = httpx.get(f"{api}/deployments/name/release/release", trust_env=False).raise_for_status().json()
    parameters = {"environment": careful(platform), "service": "backend", "version": version, "operator": "Ada"}
    asked = {
        "parameters": parameters,
        "state": {"type": "SCHEDULED"},
        "job_variables": {"env": {"ONLYVIPS_ENVIRONMENTS_DIR": str(platform.folder)}},
    }
    url = f"{api}/deployments/{found['id']}/create_flow_run"
    return str(httpx.post(url, json=asked, trust_env=False).raise_for_status().json()["id"])


def state_of(platform: Platform, run: str) -> str:
    api = platform.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
    found: dict[str, Any] = httpx.get(f"{api}/flow_runs/{run}", trust_env=False).raise_for_status().json()
    return str(found["state"]["name"])


def waits_for(point: str) -> Any:
    """Whether a record waits for the approval of ``point``."""

    def waits(record: Record) -> bool:
        one = approvals.pending(record.approvals)
        return one is not None and one.what == point and record.waiting_for == "approval"

    return waits


def test_a_suspended_run_is_approved_and_goes_on_and_a_stage_waits_for_its_own_approval(platform: Platform) -> None:
    version = platform.other_version()
    with platform.traffic() as counts:
        run = run_of(platform, version)
        platform.wait_for(lambda record: record.version == version and waits_for("traffic")(record))
        platform.wait_for(lambda _: state_of(platform, run) == "Suspended")
        before = (platform.cluster.get("Deployment", "backend-canary"), platform.weight())
        lease = platform.cluster.get("Lease", "onlyvips-release-backend")
        by_ada = platform.onlyvips("release", "approve", *WHERE, "--operator", "Ada")
        approved = platform.onlyvips("release", "approve", *WHERE, "--operator", "Bob", "--reason", "seen it", "--json")
        platform.wait_for(waits_for("50"))
        shown = platform.onlyvips("release", "status", *WHERE)
        weight = platform.weight()
        platform.onlyvips("release", "approve", *WHERE, "--operator", "Eve", "--before", "50", "--reason", "go")
        record = platform.wait_for(lambda found: not found.open)
        platform.wait_for(lambda _: state_of(platform, run) in ("Completed", "Failed", "Crashed"))
        seen = counts()
    assert before == (None, 0) and lease is not None and not lease["spec"].get("holderIdentity")
    assert by_ada.returncode == 2 and "Ada started it, and another person has to approve" in by_ada.stderr
    assert approved.returncode == 0 and told(approved)["woken"] == "Its run was resumed.", approved.stdout
    assert weight == 0 and f"--release {record.id} --before 50" in shown.stdout, shown.stdout
    assert (record.result, state_of(platform, run)) == ("promoted", "Completed"), record.reason
    assert [(one.what, one.outcome) for one in record.approvals] == [("traffic", "approved"), ("50", "approved")]
    assert seen["lost"] == {}, seen["losses"]
