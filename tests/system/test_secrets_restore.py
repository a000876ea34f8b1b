"""Backups of secrets in real stores come back by ``age -d | zstd -d`` and the secret manager's own interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.snapshot_ssm import SsmSnapshot
from onlyvips.adapters.snapshot_vault import VaultSnapshot
from onlyvips.ports import ObjectStore, SnapshotSource
from onlyvips.steps.backup import Run, Session, take
from onlyvips.steps.secret_snapshots import about, snapshot_piece
from tests.procedures.test_backup import PLAN
from tests.simulators.vault import SNAPSHOT, TOKEN, SimulatedVault

pytestmark = pytest.mark.lab
HERE, THERE = "eu-central-1", "eu-west-1"
BUCKET = "onlyvips-backup"


@pytest.fixture
def stores(lab: Any, tmp_path: Path) -> list[ObjectStore]:
    url, access, secret = (lab.env[f"ONLYVIPS_LAB_S3_A_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
    (tmp_path / "disk").mkdir()
    s3 = S3Store("s3-a", url, BUCKET, "us-east-1", access, secret, part_size=5 << 20)
    return [s3, DirectoryStore("disk", tmp_path / "disk")]


def backed_up(lab: Any, source: SnapshotSource, name: str, stores: list[ObjectStore], folder: Path) -> list[Path]:
    """The one object of a new backup, as each store has it."""
    recipients = (lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_1"], lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_2"])
    names = {"environment": f"system-{os.urandom(4).hex()}", "kind": "secrets", "database": ""}
    plan = replace(PLAN, recipients=recipients, stall_timeout=60.0, **names)
    run = Run(1, SystemClock(), os.urandom)
    taken = take(Session([snapshot_piece(source, name)], lambda: about(source), stores, plan, run))
    files = []
    for store in stores:
        file = folder / f"{store.name}.object"
        file.write_bytes(b"".join(store.read(taken.manifest.prefix + taken.manifest.objects[0].key)))
        files.append(file)
    return files


def opened(lab: Any, object_: Path) -> bytes:
    """By the line of the format's document."""
    age, zstd = (shutil.which(name, path=f"{lab.bin}:{os.environ['PATH']}") for name in ("age", "zstd"))
    script = f"set -o pipefail; {age} -d -i {lab.env['ONLYVIPS_LAB_AGE_IDENTITY']} < {object_} | {zstd} -d"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ssm(lab: Any, region: str) -> SsmSnapshot:
    url, access, secret = (lab.env[f"ONLYVIPS_LAB_SSM_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY"))
    return SsmSnapshot(region, ["/onlyvips/lab"], access, secret, SystemClock(), endpoint=url)


def parameters(source: SnapshotSource) -> list[Any]:
    return [json.loads(line)["put"] for line in b"".join(source.snapshot()).splitlines()]


def test_parameters_of_ssm_are_put_into_another_region_and_are_the_same(
    lab: Any, stores: list[ObjectStore], tmp_path: Path
):
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    client = boto3.client("ssm", endpoint_url=lab.env["ONLYVIPS_LAB_SSM_URL"], region_name=THERE, **keys)
    expected = parameters(ssm(lab, HERE))
    assert "/onlyvips/lab/jwt" in [put["Name"] for put in expected]
    for object_ in backed_up(lab, ssm(lab, HERE), "ssm.jsonl", stores, tmp_path):
        puts = [json.loads(line)["put"] for line in opened(lab, object_).splitlines()]
        for put in puts:
            client.put_parameter(**put)
        assert parameters(ssm(lab, THERE)) == expected
        client.delete_parameters(Names=[put["Name"] for put in puts])
    client.close()


def test_vault_takes_its_snapshot_back_from_either_store(lab: Any, stores: list[ObjectStore], tmp_path: Path):
    vault = SimulatedVault()
    kept = {"/v1/cubbyhole/jwt": {"value": "geheim"}}
    vault.storage = dict(kept)
    with vault.serving() as url:
        for object_ in backed_up(lab, VaultSnapshot(url, TOKEN), "vault.snap", stores, tmp_path):
            vault.storage = {}
            headers = {"X-Vault-Token": TOKEN}
            answer = httpx.post(url + SNAPSHOT, content=opened(lab, object_), headers=headers, trust_env=False)
            assert (answer.status_code, vault.storage) == (204, kept)
