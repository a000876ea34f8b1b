"""Drills on the lab by the command a person types: base and slice, a wrong document, a kill, the record, the audit."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from onlyvips import environment as environments
from onlyvips.core.drills import SCRATCH, DrillRecord, scratch_name
from onlyvips.wiring import drill_records, drills
from tests.conftest import Lab
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
ENVIRONMENT = "drills"
HERE = ("-e", ENVIRONMENT, "--json")
SPKI = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 public key in DER (RFC 8410)."""


@dataclass
class World:
    """An environment whose database is a small one of our own, with a base."""

    platform: Platform
    client: Any
    database: str

    def take(self, kind: str) -> None:
        done = self.platform.onlyvips("backup", "run", "--kind", kind, "--local", *HERE)
        assert done.returncode == 0, done.stdout + done.stderr

    def drill(self) -> tuple[int, dict[str, Any]]:
        done = self.platform.onlyvips("drill", "run", "--local", *HERE)
        assert done.stdout, done.stderr
        return done.returncode, told(done)

    def found(self) -> list[str]:
        """What the audit finds wrong with drills."""
        report = told(self.platform.onlyvips("backup", "audit", "--read", "nothing", *HERE))
        return [one["what"] for one in report["findings"] if "drill" in one["what"] or "rehearsed" in one["what"]]

    def scratch(self) -> list[str]:
        names = [one for one in self.client.list_database_names() if one.startswith(f"{SCRATCH}{ENVIRONMENT}_")]
        return [one for one in names if self.client[one].list_collection_names()]


@pytest.fixture(scope="module")
def world(lab: Lab, module_platform: Platform) -> Iterator[World]:
    file = module_platform.folder / f"{module_platform.environment(ENVIRONMENT)}.yaml"
    document, database = yaml.safe_load(file.read_text()), f"small_{os.urandom(3).hex()}"
    document["platform"]["mongodb"]["database"] = database
    file.write_text(yaml.safe_dump(document))
    with MongoClient[dict[str, Any]](lab.env["ONLYVIPS_LAB_MONGODB_URI"]) as client:
        client[database].orders.insert_many([{"_id": n, "text": "é" * (n % 50)} for n in range(2000)])
        client[database].users.insert_many([{"_id": f"u{n}", "n": n} for n in range(300)])
        yield World(module_platform, client, database)
        client.drop_database(database)


def write(world: World) -> None:
    """What only a slice has."""
    source = world.client[world.database]
    source.orders.insert_one({"_id": "late", "n": 1})
    source.orders.update_one({"_id": 7}, {"$set": {"text": "changed"}})
    source.users.delete_one({"_id": "u1"})


def test_a_drill_passes_only_with_a_slice_and_the_audit_hears_of_it(world: World) -> None:
    world.take("mongodb")
    assert world.found() == ["no restore was rehearsed yet"]
    code, failed = world.drill()
    assert code == 1 and "a drill always includes slices" in failed["reasons"][0]
    assert any("the last drill" in what for what in world.found())
    write(world)
    world.take("oplog")
    code, found = world.drill()
    assert code == 0, found["reasons"]
    equal = {one["source"].partition(".")[2]: one["read_documents"] for one in found["compared"]}
    assert equal == {"orders": 2001, "users": 299} and len(found["slices"]) == 1
    assert found["recovery_time_ms"] > 0 and found["recovery_point_ms"] < 3600_000
    assert world.found() == [] and world.scratch() == []
    shown = world.platform.onlyvips("drill", "show", found["id"], *HERE)
    assert told(shown) == found
    planned = world.platform.onlyvips(
        "restore", "plan", "-e", ENVIRONMENT, "--target", "env:ONLYVIPS_LAB_MONGODB_URI",
        "--namespace", f"{world.database}.*=elsewhere.*",
    )  # fmt: skip
    assert "by one good drill, the newest of" in planned.stdout, planned.stderr


def test_the_record_is_at_every_destination_and_openssl_alone_can_check_it(world: World, tmp_path: Path) -> None:
    loaded = environments.load(ENVIRONMENT)
    record = drill_records.records(loaded).records[-1]
    lab = Path(world.platform.lab.env["ONLYVIPS_LAB_HOME"]) / "data"
    stored = [lab / place / record.key for place in ("directory", "s3-a/onlyvips-backup")]
    assert stored[0].read_bytes() == stored[1].read_bytes()
    kept = {store.name: b"".join(store.read(record.key)) for store in drill_records.stores_of(loaded)}
    assert set(kept) == {"s3-a", "s3-b", "directory"} and len(set(kept.values())) == 1
    if (openssl := shutil.which("openssl")) is None:
        return
    (key,) = environments.drill_keys(loaded)
    (tmp_path / "public.der").write_bytes(SPKI + base64.b64decode(key.partition(":")[2]))
    options = ["-pubin", "-keyform", "DER", "-inkey", str(tmp_path / "public.der"), "-rawin", "-in", str(stored[0])]
    command = [openssl, "pkeyutl", "-verify", *options, "-sigfile", str(stored[0].with_suffix(".sig"))]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    stored[0].write_bytes(stored[0].read_bytes().replace(b'"verdict": "passed"', b'"verdict": "failed"'))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_a_wrong_document_planted_in_the_scratch_target_fails_the_drill(world: World) -> None:
    with drills.rehearsing(ENVIRONMENT, "mongodb", "latest", "a test", lambda doing, size: None) as id:
        drills.clear(id)
        drills.restore(id)
        (name,) = world.scratch()
        assert name == scratch_name(ENVIRONMENT, id)
        world.client[name].users.replace_one({"_id": "u2"}, {"_id": "u2", "n": 3})
        drills.verify(id)
        drills.clean(id)
        record, kept = drills.keep(id)
    assert kept.refusals == () and not record.passed
    assert f"{name}.users has 299 documents" in record.reasons[0]
    (fault,) = world.found()
    assert f"the last drill, {id}, failed: What was restored is not what the backups hold" in fault


def test_what_a_killed_drill_leaves_is_named_and_removed_by_the_next_one(world: World) -> None:
    process = world.platform.process("drill", "run", "--local", *HERE)
    while process.poll() is None and not world.scratch():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (left,) = world.scratch()
    code, found = world.drill()
    assert code == 0 and found["removed"] == [left] and world.scratch() == []
    assert world.found() == []
    records: tuple[DrillRecord, ...] = drill_records.records(environments.load(ENVIRONMENT)).records
    assert [one.passed for one in records] == [False, True, False, True]
