"""A base of a real database restores by ``age -d | zstd -d | mongorestore``, with none of our code."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from pymongo import MongoClient

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.manifest import manifest_from_json
from onlyvips.core.plan import BackupPlan
from onlyvips.ports import ObjectStore
from onlyvips.steps.backup import Run, Taken, probe_stores
from onlyvips.steps.base import take_base

pytestmark = pytest.mark.lab
SOURCE, TARGET = (f"system_{side}_{os.urandom(4).hex()}" for side in ("source", "target"))
BUCKET = "system-backup-restores"


@pytest.fixture(scope="module")
def client(lab: Any) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](lab.env["ONLYVIPS_LAB_MONGODB_URI"]) as client:
        database = client[SOURCE]
        for at in range(0, 12_000, 4000):
            database.orders.insert_many(
                [{"_id": n, "user": n % 100, "note": os.urandom(40)} for n in range(at, at + 4000)]
            )
        database.orders.create_index([("user", 1)])
        database.users.insert_many([{"_id": f"u{n}", "tags": ["é", {"n": n}], "score": n / 7} for n in range(500)])
        database.create_collection("empty")
        database.create_collection("log", capped=True, size=1 << 20).insert_many([{"_id": n} for n in range(50)])
        yield client
        client.drop_database(SOURCE)
        client.drop_database(TARGET)


@pytest.fixture(scope="module")
def stores(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> list[ObjectStore]:
    found: list[ObjectStore] = [DirectoryStore("disk", tmp_path_factory.mktemp("disk"))]
    for letter in "AB":
        url, access, secret = (
            lab.env[f"ONLYVIPS_LAB_S3_{letter}_{part}"] for part in ("URL", "ACCESS_KEY", "SECRET_KEY")
        )
        own = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1"
        )
        if BUCKET not in [bucket["Name"] for bucket in own.list_buckets()["Buckets"]]:
            own.create_bucket(Bucket=BUCKET)
        own.close()
        found.append(S3Store(f"s3-{letter.lower()}", url, BUCKET, "us-east-1", access, secret, part_size=5 << 20))
    return found


@pytest.fixture(scope="module")
def base(lab: Any, client: Any, stores: list[ObjectStore]) -> Taken:
    plan = BackupPlan(
        environment="lab",
        kind="mongodb",
        database=SOURCE,
        uri="",
        destinations=(),
        recipients=(lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_1"], lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_2"]),
        zstd_level=3,
        zstd_threads=1,
        workers=2,
        stall_timeout=60.0,
        part_size=5 << 20,
        object_size=1 << 19,
        split_above=1 << 19,
        lock="none",
    )
    probe_stores(stores)
    source = MongoDatabase(lab.env["ONLYVIPS_LAB_MONGODB_URI"])
    return take_base(source, stores, plan, Run(1, SystemClock(), os.urandom), source)


def program(lab: Any, name: str) -> str:
    found = shutil.which(name, path=f"{lab.bin}:{os.environ['PATH']}")
    assert found, f"{name} is not among the lab's programs"
    return found


def restore(lab: Any, encrypted: Path) -> None:
    """The runbook's line, each program's exit code looked at."""
    script = (
        f"set -o pipefail; {program(lab, 'age')} -d -i {lab.env['ONLYVIPS_LAB_AGE_IDENTITY']} {encrypted}"
        f" | {program(lab, 'zstd')} -d"
        f" | {program(lab, 'mongorestore')} --uri={lab.env['ONLYVIPS_LAB_MONGODB_URI']} --archive --noIndexRestore"
        f" --nsFrom='{SOURCE}.*' --nsTo='{TARGET}.*' --nsInclude='{SOURCE}.*'"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_three_copies_hold_the_same_bytes_and_the_same_manifest(base: Taken, stores: list[ObjectStore]):
    assert base.manifest.copies == ("disk", "s3-a", "s3-b")
    assert not base.degraded
    for record in base.manifest.objects:
        assert len({b"".join(store.read(base.manifest.prefix + record.key)) for store in stores}) == 1
    for store in stores:
        assert manifest_from_json(b"".join(store.read(base.key))) == base.manifest


def test_a_copy_restores_to_the_same_documents_and_options(
    base: Taken, lab: Any, client: Any, stores: list[ObjectStore], tmp_path: Path
):
    """Any copy would do: the test above found them equal."""
    for record in base.manifest.objects:
        encrypted = tmp_path / "object"
        encrypted.write_bytes(b"".join(stores[-1].read(base.manifest.prefix + record.key)))
        restore(lab, encrypted)
    assert sorted(client[TARGET].list_collection_names()) == ["empty", "log", "orders", "users"]
    assert client[TARGET].log.options()["capped"] is True
    counts: Counter[str] = Counter()
    for (namespace,) in (record.namespaces for record in base.manifest.objects):
        counts[namespace.collection] += namespace.documents
    assert len(base.manifest.objects) > len(counts), "orders are several objects"
    for collection, count in counts.items():
        there, here = (
            sorted(client[name][collection].find(), key=lambda document: str(document["_id"]))
            for name in (SOURCE, TARGET)
        )
        assert len(here) == count
        assert here == there
