"""Backups on real servers by the command a person types: taken, damaged, audited, repaired, killed, gone on with."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onlyvips.wiring import backups
from tests.conftest import Lab
from tests.system.platform import Platform, kill, told

pytestmark = pytest.mark.lab
HERE = ("-e", "slow", "--json")


@pytest.fixture
def slow(module_platform: Platform) -> Platform:
    """An environment whose backups take seconds, one collection after the other."""
    module_platform.environment("slow", propagation="1s")
    file = module_platform.folder / "slow.yaml"
    file.write_text(file.read_text().replace("zstd_level: 3", "zstd_level: 19").replace("workers: 2", "workers: 1"))
    return module_platform


@pytest.fixture
def taken(slow: Platform) -> dict[str, Any]:
    """A backup that was just taken, as the command tells it."""
    done = slow.onlyvips("backup", "run", "--kind", "mongodb", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = told(done)
    return found


def objects(lab: Lab, store: str, backup: str, kind: str = "mongodb") -> list[Path]:
    """Where one destination keeps a backup's objects, as files."""
    root = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"])
    place = root if store == "directory" else root.parent / store / "onlyvips-backup"
    return sorted((place / "slow" / kind / backup / "objects").iterdir())


def audit(platform: Platform) -> tuple[int, dict[str, Any], list[str]]:
    """Exit code, how mongodb stands, and what was found of it."""
    done = platform.onlyvips("backup", "audit", *HERE)
    report = told(done)
    (standing,) = [one for one in report["standings"] if one["kind"] == "mongodb"]
    return done.returncode, standing, [one["what"] for one in report["findings"] if one["kind"] == "mongodb"]


def test_a_backup_is_listed_shown_and_read_back_decrypted(slow: Platform, taken: dict[str, Any]) -> None:
    listed = told(slow.onlyvips("backup", "list", *HERE))
    (mine,) = [one for one in listed["backups"] if one["backup"] == taken["backup"]]
    assert all(copy["complete"] and copy["verified"] for copy in mine["copies"])
    shown = told(slow.onlyvips("backup", "show", taken["backup"], *HERE))
    assert len(shown["manifest"]["objects"]) == taken["objects"] == 5  # four collections and their oplog
    read = slow.onlyvips("backup", "verify", taken["backup"], "--decrypt", *HERE)
    assert read.returncode == 0, read.stdout + read.stderr
    assert {(one["destination"], one["how"], one["objects"]) for one in told(read)} == {
        (name, "decrypted", 5) for name in ("s3-a", "s3-b", "directory")
    }


@pytest.mark.parametrize("store", ["s3-a", "directory"])
@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_one_damaged_object_is_named_by_the_next_audit_which_counts_two(
    slow: Platform, taken: dict[str, Any], store: str, damage: str
) -> None:
    victim = objects(slow.lab, store, taken["backup"])[1]
    data = victim.read_bytes()
    if damage == "deleted":
        victim.unlink()
    else:
        victim.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    code, standing, found = audit(slow)
    assert code == 1
    assert set(standing["copies"]) == {"s3-a", "s3-b", "directory"} - {store}
    assert any(victim.name in what and store in what for what in found), found
    repaired = slow.onlyvips("backup", "repair", taken["backup"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert victim.read_bytes() == data
    _, standing, found = audit(slow)
    assert len(standing["copies"]) == 3 and not any(victim.name in what for what in found)


def test_a_second_writer_is_refused_while_the_first_one_lives(slow: Platform) -> None:
    with backups.taking("slow", "mongodb", "the first one", lambda size, documents: None) as first:
        second = slow.onlyvips("backup", "run", "--kind", "mongodb", "--local", *HERE)
        assert second.returncode == 2, second.stdout + second.stderr
        assert "the first one writes the mongodb backups of slow and is alive" in told(second)["error"]
        assert not backups.take_all(first).degraded


def test_killed_in_the_middle_it_leaves_no_backup_and_the_next_one_is_whole(slow: Platform) -> None:
    before = {one["backup"] for one in told(slow.onlyvips("backup", "list", *HERE))["backups"]}
    with running(slow):
        pass  # killed at its end
    listed = told(slow.onlyvips("backup", "list", *HERE))["backups"]
    (left,) = [one for one in listed if one["backup"] not in before]
    assert left["finished"] is None
    done = slow.onlyvips("backup", "run", "--kind", "mongodb", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(told(done)["backup"].rpartition("-e")[2]) > int(left["backup"].rpartition("-e")[2])


@contextmanager
def running(platform: Platform) -> Iterator[subprocess.Popen[str]]:
    """A backup in a process of its own, from when its first object is whole at a destination."""
    folder = Path(platform.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "slow" / "mongodb"
    seen = set(folder.glob("*/objects/*"))
    process = platform.process("backup", "run", "--kind", "mongodb", "--local", *HERE)
    try:
        wait_until(lambda: bool(set(folder.glob("*/objects/[!.]*")) - seen))
        yield process
    finally:
        kill(process)


def wait_until(what: Callable[[], bool], limit: float = 120) -> None:
    until = time.monotonic() + limit
    while not what():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.005)


def test_a_prefect_run_that_is_killed_and_retried_goes_on_with_the_same_backup(slow: Platform) -> None:
    """The lab's worker carries it out, in environment lab."""
    folder = Path(slow.lab.env["ONLYVIPS_LAB_DIRECTORY"]) / "lab" / "mongodb"
    for _ in range(5):
        seen = set(folder.glob("*"))
        run, place = killed_in_the_middle(slow, folder, seen)
        if not (place / "manifest.json").exists():
            break  # else it was over before it could be killed
    before = {path.name for path in (place / "objects").glob("[!.]*")}
    times = {path.name: path.stat().st_mtime_ns for path in (place / "journal").glob("0*")}
    slow.retry_run(run)
    wait_until(lambda: (place / "manifest.json").exists(), 200)
    manifest = json.loads((place / "manifest.json").read_bytes())
    assert manifest["dropped"] == []
    assert before <= {Path(one["key"]).name for one in manifest["objects"]}
    assert {name: (place / "journal" / name).stat().st_mtime_ns for name in times} == times
    assert set(folder.glob("*")) - seen == {place}


def killed_in_the_middle(platform: Platform, folder: Path, seen: set[Path]) -> tuple[str, Path]:
    """A run of the deployment, killed once one of its objects is done; and where its backup is."""
    run = platform.begin_deployment("backup/backup", {"environment": "lab", "kind": "mongodb"})
    wait_until(lambda: bool([path for path in folder.glob("*/journal/0*") if path.parents[1] not in seen]))
    (place,) = set(folder.glob("*")) - seen
    if not (place / "manifest.json").exists():
        platform.kill_run(run)
    return run, place


def test_a_destination_that_fails_makes_the_backup_degraded_and_a_repair_finishes_it(slow: Platform) -> None:
    file = slow.folder / "slow.yaml"
    good = file.read_text()
    at = good.index("bucket: onlyvips-backup", good.index("s3-a:"))
    file.write_text(f"{good[:at]}bucket: not-there{good[at + len('bucket: onlyvips-backup') :]}")
    done = slow.onlyvips("backup", "run", "--kind", "mongodb", "--local", *HERE)
    file.write_text(good)
    assert done.returncode == 1, done.stdout + done.stderr
    assert set(told(done)["copies"]) == {"s3-b", "directory"}
    assert "NoSuchBucket" in told(done)["dropped"][0]["why"]
    repaired = slow.onlyvips("backup", "repair", told(done)["backup"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    _, standing, _ = audit(slow)
    assert standing["newest"] == told(done)["backup"] and len(standing["copies"]) == 3


def test_schedules_are_those_of_the_environment_and_stay_the_same_when_asked_for_again(slow: Platform) -> None:
    file = slow.folder / "slow.yaml"
    good = file.read_text()
    assert slow.schedules("slow") == {}
    longer = good.replace("locked_for: 1h", "locked_for: 2d")  # prune comes once a day
    file.write_text(longer.replace("scheduled: false", "scheduled: true"))
    try:
        for _ in range(2):
            slow.bootstrap("slow")
            assert slow.schedules("slow") == {
                "slow-mongodb": 6 * 3600,
                "slow-oplog": 600,
                "slow-redis": 6 * 3600,
                "slow-media": 24 * 3600,
                "slow-configuration": 3600,
                "slow-secrets": 24 * 3600,
                "slow-verify": 12 * 3600,
                "slow-audit": 6 * 3600,
                "slow-prune": 24 * 3600,
                "slow-drill": 7 * 24 * 3600,
            }
        slow.bootstrap("lab")  # another environment on the same server
        assert len(slow.schedules("slow")) == 10
    finally:
        file.write_text(good)
        slow.bootstrap("slow")
    assert slow.schedules("slow") == {}


def test_secrets_are_one_object_that_is_damaged_named_and_repaired_like_any_other(slow: Platform) -> None:
    done = slow.onlyvips("backup", "run", "--kind", "secrets", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = objects(slow.lab, "s3-a", told(done)["backup"], "secrets")
    assert slow.lab.env["ONLYVIPS_LAB_JWT_SECRET"].encode() not in one.read_bytes()
    one.unlink()
    report = told(slow.onlyvips("backup", "audit", *HERE))
    assert any("s3-a lacks objects/0001-ssm.jsonl.zst.age" in found["what"] for found in report["findings"])
    (standing,) = [each for each in report["standings"] if each["kind"] == "secrets"]
    assert set(standing["copies"]) == {"s3-b", "directory"}
    repaired = slow.onlyvips("backup", "repair", told(done)["backup"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    read = slow.onlyvips("backup", "verify", told(done)["backup"], "--decrypt", *HERE)
    assert read.returncode == 0 and len(told(read)) == 3, read.stdout + read.stderr
