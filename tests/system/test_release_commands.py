"""Hold, resume and promote now, pressed on the command line and in Prefect, while users are served."""

from __future__ import annotations

import httpx
import pytest
import yaml

from onlyvips.core.commands import standing
from onlyvips.core.record import Record
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
WHERE = ["-e", "calm", "-s", "backend"]


def calm(platform: Platform) -> str:
    """An environment whose stages are held for minutes: nothing but a command ends them in good time."""
    name = platform.environment("calm")
    file = platform.folder / f"{name}.yaml"
    document = yaml.safe_load(file.read_text())
    document["strategies"]["canary"]["stages"] = [{"weight": "10%", "hold": "5m"}, {"weight": "50%", "hold": "5m"}]
    file.write_text(yaml.safe_dump(document))
    return name


def looks_while_held(record: Record) -> bool:
    """Two looks at the least since it was held, which cover no time of the stage."""
    command = standing(record).held
    return command is not None and len([look for look in record.looks if not look.elapsed]) >= 2


def test_a_release_is_planned_held_resumed_and_promoted_now_from_both_places_and_no_request_is_lost(
    platform: Platform,
) -> None:
    version, name = platform.other_version(), calm(platform)
    planned = platform.onlyvips("release", "plan", *WHERE, "-v", version, "--json")
    with platform.traffic() as counts:
        process = platform.begin(version, name)
        platform.wait_for(lambda record: record.version == version and record.open and record.weight == 10)
        held = platform.onlyvips("release", "hold", *WHERE, "--reason", "odd")
        at_rest = platform.wait_for(looks_while_held)
        weight = platform.weight()
        asked = {"environment": "lab", "service": "backend"}
        platform.begin_deployment("release-command/release-resume", {**asked, "action": "resume", "by": "Bob"})
        platform.wait_for(lambda record: any(one.name == "resume" for one in record.commands))
        platform.begin_deployment("release-command/release-hold", {**asked, "action": "hold", "by": "Bob"})
        platform.wait_for(lambda record: standing(record).held is not None and record.waiting.startswith("held by Bob"))
        promoted = platform.onlyvips("release", "promote", *WHERE, "--reason", "seen enough", "--json")
        watched = platform.onlyvips("release", "watch", *WHERE, "--json")
        output, _ = process.communicate(timeout=200)
        seen = counts()
    assert told(planned)["ok"] and planned.returncode == 0, planned.stdout
    assert held.returncode == 0 and "is held at 10 %" in held.stdout, held.stdout + held.stderr
    assert (weight, at_rest.stage) == (10, 0)
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert watched.returncode == 0 and '"kind": "end", "result": "promoted"' in watched.stdout, watched.stdout[-500:]
    assert process.returncode == 0, output
    record = platform.newest()
    assert record is not None and [(one.name, one.by.split("@")[0]) for one in record.commands][1:3] == [
        ("resume", "Bob"),
        ("hold", "Bob"),
    ]
    assert platform.image().endswith(f":{version}")
    assert seen["lost"] == {}, seen["losses"]


def test_a_run_that_is_cancelled_in_prefect_takes_its_canary_back_and_no_request_is_lost(platform: Platform) -> None:
    before, api = platform.image(), platform.lab.env["ONLYVIPS_LAB_PREFECT_API_URL"]
    version = platform.other_version()
    with platform.traffic() as counts:
        run = platform.begin_on_server(version)
        platform.wait_for(lambda record: record.version == version and record.open and record.weight > 0)
        cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}  # as the button Cancel of the Prefect UI
        httpx.post(f"{api}/flow_runs/{run}/set_state", json=cancel, trust_env=False).raise_for_status()
        record = platform.wait_for(lambda record: not record.open)
        platform.wait_for(lambda _: _state(api, run) == "CANCELLED")
        seen = counts()
    assert record.result == "rolled-back" and "a cancelled run asked for an abort" in record.reason, record.reason
    assert (platform.image(), platform.weight()) == (before, 0)
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert seen["lost"] == {}, seen["losses"]


def _state(api: str, run: str) -> str:
    return str(httpx.get(f"{api}/flow_runs/{run}", trust_env=False).raise_for_status().json()["state_type"])
