"""Media of the lab's bucket by the command a person types: taken, changed, damaged, audited, repaired, synced back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.bench.programs import aws
from tests.conftest import ROOT, Lab
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
HERE = ("-e", "slow", "--json")
MEDIA = "onlyvips-media"
TREE = "slow/media-tree/"
STORES = {"s3-a", "s3-b", "directory"}


@pytest.fixture
def slow(module_platform: Platform) -> Platform:
    module_platform.environment("slow", propagation="1s")
    return module_platform


def client(lab: Lab, store: str = "S3_A") -> Any:
    url, access, secret = (lab.env[f"ONLYVIPS_LAB_{store}_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def folder(lab: Lab, store: str) -> Path:
    """Where the directory, or versitygw, keeps its objects, as files."""
    root = Path(lab.env["ONLYVIPS_LAB_DIRECTORY"])
    return root if store == "directory" else root.parent / store / "onlyvips-backup"


def downloaded(lab: Lab, store: str, bucket: str, prefix: str) -> dict[str, str]:
    """SHA-256 by key, as a client that knows nothing of ours reads it."""
    s3 = client(lab, store)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    bodies = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    s3.close()
    return {key.removeprefix(prefix): hashlib.sha256(data).hexdigest() for key, data in bodies.items()}


def files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def run(platform: Platform) -> dict[str, Any]:
    done = platform.onlyvips("backup", "run", "--kind", "media", "--local", *HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = platform.onlyvips("backup", "show", told(done)["backup"], *HERE)
    facts = {fact["name"]: fact["value"] for fact in told(shown)["manifest"]["facts"]}
    return {**told(done), **facts}


def audit(platform: Platform) -> tuple[set[str], list[str]]:
    """Which copies of media count, and what was found; the one that promises it is locked."""
    report = told(platform.onlyvips("backup", "audit", *HERE))
    (standing,) = [one for one in report["standings"] if one["kind"] == "media"]
    assert standing["immutable"] == ["s3-b"]
    return set(standing["copies"]), [one["what"] for one in report["findings"] if one["kind"] == "media"]


def test_media_are_taken_followed_damaged_named_repaired_and_synced_back(slow: Platform, tmp_path: Path) -> None:
    lab, s3 = slow.lab, client(slow.lab)
    s3.put_object(Bucket=MEDIA, Key="photos/2/2.jpg", Body=b"2")
    s3.delete_object(Bucket=MEDIA, Key="photos/new.jpg")
    first = run(slow)
    before = downloaded(lab, "S3_A", MEDIA, "")
    assert first["files"] == str(len(before)) and int(first["files"]) > 200
    assert int(run(slow)["bytes_read"]) == 0, "nothing changed, so nothing is read"

    s3.put_object(Bucket=MEDIA, Key="photos/1/1.jpg", Body=os.urandom(20_000))
    s3.put_object(Bucket=MEDIA, Key="photos/new.jpg", Body=b"new")
    s3.delete_object(Bucket=MEDIA, Key="photos/2/2.jpg")
    second = run(slow)
    assert (second["changed"], second["gone"], second["bytes_read"]) == ("1", "1", "20003")
    now = downloaded(lab, "S3_A", MEDIA, "")
    assert now != before
    lingers = {"photos/2/2.jpg": before["photos/2/2.jpg"]}  # who writes to S3 cannot delete there
    for store in ("S3_A", "S3_B"):
        assert downloaded(lab, store, "onlyvips-backup", TREE) == now | lingers
    assert second["lingering_s3-a"] == second["lingering_s3-b"] == '1: "photos/2/2.jpg"'
    assert files(folder(lab, "directory") / TREE) == now

    pruned = slow.onlyvips("backup", "prune", "--kind", "media", *HERE)
    assert pruned.returncode == 0, pruned.stdout + pruned.stderr
    assert downloaded(lab, "S3_A", "onlyvips-backup", TREE) == now
    assert downloaded(lab, "S3_B", "onlyvips-backup", TREE) == now | lingers, "it is locked there for an hour"

    (folder(lab, "s3-a") / TREE / "photos/3/3.jpg").unlink()
    with (folder(lab, "directory") / TREE / "videos/intro.mp4").open("r+b") as file:
        file.seek(6_000_000)
        file.write(b"?")
    copies, found = audit(slow)
    assert copies == {"s3-b"}
    assert any("s3-a media-tree/photos/3/3.jpg is not there" in one for one in found)
    assert any("directory media-tree/videos/intro.mp4 has SHA-256" in one for one in found)
    repaired = slow.onlyvips("backup", "repair", second["backup"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert audit(slow)[0] == STORES

    assert _by_hand(folder(lab, "directory") / "slow", first["backup"], tmp_path / "back", lab) == before
    assert _synced(lab, tmp_path) == now
    s3.close()


def test_media_are_taken_by_a_run_of_the_deployment_on_the_labs_worker(slow: Platform) -> None:
    """In environment lab, as its schedule would; what came is in every destination as it is in the source."""
    lab, s3, name = slow.lab, client(slow.lab), f"worker/{os.urandom(4).hex()}.jpg"
    s3.put_object(Bucket=MEDIA, Key=name, Body=b"taken by a worker")
    (slow.folder / "lab.yaml").write_text((ROOT / "deployments/environments/lab.yaml").read_text())
    done = slow.onlyvips("backup", "run", "--kind", "media", "-e", "lab", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = told(done)
    assert (found["state"], found["kind"]) == ("Completed", "media") and found["run"] in found["address"]
    assert {copy["destination"] for copy in found["copies"] if copy["complete"]} == STORES
    for store in ("S3_A", "S3_B"):
        (key,) = downloaded(lab, store, "onlyvips-backup", f"lab/media-tree/{name}")
        assert key == "", "the very key"
    assert (folder(lab, "directory") / "lab/media-tree" / name).read_bytes() == b"taken by a worker"
    s3.close()


def _by_hand(place: Path, backup: str, back: Path, lab: Lab) -> dict[str, str]:
    """An older backup by zstd, the index, and files: as the format's document says."""
    zstd = shutil.which("zstd", path=f"{lab.bin}:{os.environ['PATH']}")
    index = place / "media" / backup / "objects/0001-index.jsonl.zst"
    lines = subprocess.run([str(zstd), "-dc", index], capture_output=True, check=True).stdout.splitlines()
    for one in map(json.loads, lines):
        if "key" not in one:
            continue
        target = back / one["key"]
        target.parent.mkdir(parents=True, exist_ok=True)
        found = place / "media-tree" / one["key"]
        if not found.is_file() or hashlib.sha256(found.read_bytes()).hexdigest() != one["sha256"]:
            found = place / "media-versions" / one["sha256"][:2] / one["sha256"]
        shutil.copyfile(found, target)
    return files(back)


def _synced(lab: Lab, tmp_path: Path) -> dict[str, str]:
    """The newest, by the tool that everybody has for it: ``aws s3 sync`` of a tree."""
    target = tmp_path / "synced"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": lab.env["ONLYVIPS_LAB_S3_A_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": lab.env["ONLYVIPS_LAB_S3_A_SECRET_KEY"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    where = ["--endpoint-url", lab.env["ONLYVIPS_LAB_S3_A_URL"], "--only-show-errors"]
    command = [str(aws()), "s3", "sync", f"s3://onlyvips-backup/{TREE}", str(target), *where]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return files(target)
