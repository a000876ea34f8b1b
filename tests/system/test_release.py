"""A release on real servers under real traffic: promoted, rolled back, and never a lost request."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import Lab
from tests.system.platform import Platform, told
from tests.webhook import listening

pytestmark = pytest.mark.lab


def test_a_good_version_is_promoted_and_no_request_is_lost(platform: Platform) -> None:
    version = platform.other_version()
    with platform.traffic() as counts:
        code, output = platform.release(version)
        assert code == 0, output
        seen = counts()
    assert platform.image().endswith(f":{version}")
    assert seen["versions"][version]["total"] > 100
    assert seen["lost"] == {}, seen["losses"]
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert platform.cluster.get("Service", "backend-canary") is None


def test_a_bad_version_rolls_back_by_itself_people_are_told_and_only_its_own_faults_are_seen(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version, before = platform.other_version(), platform.image()
    platform.fault(version, "--error-rate", "0.2")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with platform.traffic() as counts, listening() as (hook, port):
        monkeypatch.setenv("ONLYVIPS_TEST_HOOK", f"json://127.0.0.1:{port}/hook")
        code, output = platform.release(version, platform.environment("told", told="ONLYVIPS_TEST_HOOK"))
        assert code == 1, output
        seen = counts()
    assert [one["title"].partition(":")[0] for _, one in hook.posted][1:] == ["Going back", "Rolled back"]
    page = tmp_path / "page.html"
    read = platform.onlyvips("release", "evidence", "-e", "told", "-s", "backend", "--html", str(page))
    assert "as it was kept" in read.stdout, read.stdout + read.stderr
    assert "api-errors: share of requests that were errors" in page.read_text()
    record = platform.newest()
    assert record is not None
    assert record.result == "rolled-back"
    assert "api-errors" in record.reason
    assert platform.image() == before
    assert seen["lost"] == {}, seen["losses"]


def test_a_version_that_is_worse_than_stable_within_every_limit_goes_back(platform: Platform) -> None:
    """80 ms more are far below the alert's 500; stable answers in a few."""
    version, before = platform.other_version(), platform.image()
    platform.fault(version, "--latency-ms", "80")
    with platform.traffic():
        code, output = platform.release(version)
    assert code != 0, output
    assert platform.image() == before
    assert "latency-beside-stable: slower than stable " in output and "margin 55.0%, p " in output


def test_without_the_waits_before_the_switch_requests_are_lost(platform: Platform) -> None:
    """The waits for pods that the router can see, and for propagation, are what keeps the test above green."""
    hasty = platform.environment("hasty", propagation="1ms")
    with platform.traffic(watched=False) as counts:
        platform.release(platform.other_version(), hasty)
        seen = counts()
    assert sum(seen["lost"].values()) > 0


def test_a_release_says_how_it_stands_and_goes_back_when_a_person_asks(platform: Platform) -> None:
    before, version = platform.image(), platform.other_version()
    with platform.traffic() as counts:
        process = platform.begin(version)
        platform.wait_for(lambda record: record.weight == 10)
        (status,) = told(platform.onlyvips("release", "status", "-e", "quick", "-s", "backend", "--json"))
        aborted = platform.onlyvips("release", "abort", "-e", "quick", "-s", "backend", "--reason", "looks odd")
        output, _ = process.communicate(timeout=200)
        seen = counts()
    assert (status["phase"], status["version"]) == ("canary", version)
    assert status["driver"]
    assert aborted.returncode == 0, aborted.stdout + aborted.stderr
    assert process.returncode == 1
    assert "asked for an abort: looks odd" in output
    assert platform.image() == before
    assert seen["lost"] == {}, seen["losses"]


@pytest.mark.soak
def test_a_canary_whose_pods_run_and_never_get_ready_is_taken_away(platform: Platform) -> None:
    impatient, before, version = platform.environment("slow", ready="8s"), platform.image(), platform.other_version()
    platform.fault(version, "--slow-start-s", "600")
    with platform.traffic() as counts:
        code, output = platform.release(version, impatient)
        seen = counts()
    assert code == 1, output
    assert "running but not ready" in output
    assert platform.image() == before
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert seen["lost"] == {}, seen["losses"]


def test_a_canary_that_never_becomes_ready_is_taken_away_and_the_sentence_says_why(platform: Platform) -> None:
    impatient, before = platform.environment("impatient", ready="8s"), platform.image()
    with platform.traffic() as counts:
        code, output = platform.release("v99-does-not-exist", impatient)
        seen = counts()
    assert code == 1, output
    assert "ErrImagePull" in output or "ImagePullBackOff" in output
    assert platform.image() == before
    assert platform.cluster.get("Deployment", "backend-canary") is None
    assert seen["lost"] == {}, seen["losses"]


def test_a_prefect_run_killed_and_retried_is_the_same_release_and_finishes(platform: Platform) -> None:
    version = platform.other_version()
    with platform.traffic() as counts:
        run = platform.begin_on_server(version)
        before = platform.wait_for(lambda record: record.version == version and record.weight > 0 and record.open)
        platform.kill_run(run)
        platform.retry_run(run)
        record = platform.wait_for(lambda record: not record.open)
        seen = counts()
    assert record.id == before.id
    assert record.result == "promoted", record.reason
    assert len(record.holders) == 2
    assert platform.image().endswith(f":{version}")
    assert seen["lost"] == {}, seen["losses"]


def test_the_backup_that_a_release_took_restores_without_any_of_our_code(platform: Platform) -> None:
    with platform.traffic():
        code, output = platform.release(platform.other_version())
    assert code == 0, output
    record = platform.newest()
    assert record is not None
    folder = Path(platform.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / Path(record.backup).parent
    archives = sorted((folder / "objects").glob("*.archive.zst.age"))
    assert [one.name for one in (folder / "objects").iterdir() if one not in archives] == ["oplog.bson.zst.age"]
    for encrypted in archives:
        restore(platform.lab, encrypted, to="restored")
    with MongoClient[dict[str, Any]](platform.lab.env["ONLYVIPS_LAB_MONGODB_URI"]) as client:
        source, target = client["onlyvips"], client["restored"]
        assert sorted(target.list_collection_names()) == sorted(source.list_collection_names())
        for name in source.list_collection_names():
            there, here = ({each["_id"]: each for each in database[name].find()} for database in (source, target))
            assert there == here
            assert len(here) > 0
        client.drop_database("restored")


def restore(lab: Lab, encrypted: Path, to: str) -> None:
    """The line of docs/formats/backup.md, each program's exit code looked at."""
    names = f"--nsInclude='onlyvips.*' --nsFrom='onlyvips.*' --nsTo='{to}.*'"
    uri, identity = lab.env["ONLYVIPS_LAB_MONGODB_URI"], lab.env["ONLYVIPS_LAB_AGE_IDENTITY"]
    restoring = f"{lab.bin}/mongorestore --uri={uri} --archive --noIndexRestore {names}"
    script = f"set -o pipefail; {lab.bin}/age -d -i {identity} {encrypted} | {lab.bin}/zstd -d | {restoring}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
