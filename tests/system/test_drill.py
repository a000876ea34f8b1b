"""Drills on the lab by the command a person types: base and slice, a wrong document, a kill, the record, the audit."""

from __future__ import annotations

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
from onlyvips.core.audit import Report
from onlyvips.core.drills import SCRATCH, DrillRecord, scratch_name
from onlyvips.wiring import backups, drill_records, drills, restores
from onlyvips.wiring.restores import Asked
from tests.conftest import ROOT, Lab
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
ENVIRONMENT = f"drills-{os.urandom(3).hex()}"
HERE = ("-e", ENVIRONMENT, "--json")
RUNBOOK = ROOT / "docs/runbooks/drill.md"


@dataclass
class World:
    """An environment whose database is a small one of our own, with a base."""

    platform: Platform
    client: Any
    database: str

    def take(self, kind: str) -> None:
        with backups.taking(ENVIRONMENT, kind, "a test", lambda size, documents: None) as session:
            assert not backups.take_all(session).degraded

    def drill(self) -> DrillRecord:
        """One in this process."""
        with drills.rehearsing(ENVIRONMENT, "mongodb", "latest", "a test", lambda doing, size: None) as id:
            record, kept = drills.run(id)
        assert kept.refusals == ()
        return record

    def by_command(self) -> tuple[int, dict[str, Any]]:
        done = self.platform.onlyvips("drill", "run", "--local", *HERE)
        assert done.stdout, done.stderr
        return done.returncode, told(done)

    def found(self) -> list[str]:
        """What the audit finds wrong with drills."""
        nothing = Report(ENVIRONMENT, "", (), ())
        return [one.what for one in drill_records.audited(environments.load(ENVIRONMENT), nothing)[0].findings]

    def audit(self) -> list[str]:
        """The same out of a whole audit."""
        report = backups.audit_backups(ENVIRONMENT, "nothing", lambda size: None)
        return [one.what for one in report.findings if "drill" in one.what or "rehearsed" in one.what]

    def scratch(self) -> list[str]:
        names = [one for one in self.client.list_database_names() if one.startswith(f"{SCRATCH}drills_")]
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
    assert world.audit() == ["no restore was rehearsed yet"]
    assert "a drill always includes slices" in world.drill().reasons[0]
    assert any("the last drill" in what for what in world.found())
    write(world)
    world.take("oplog")
    code, found = world.by_command()
    assert code == 0, found["reasons"]
    equal = {one["source"].partition(".")[2]: one["read_documents"] for one in found["compared"]}
    assert equal == {"orders": 2001, "users": 299} and len(found["slices"]) == 1
    assert found["recovery_time_ms"] > 0 and found["recovery_point_ms"] < 3600_000
    assert world.audit() == [] and world.scratch() == []
    names = (f"{world.database}.*=elsewhere.*",)
    planned = restores.plan(Asked(ENVIRONMENT, "mongodb", "latest", "env:ONLYVIPS_LAB_MONGODB_URI", names))
    assert any("by one good drill, the newest of" in line for line in planned.lines)


def test_the_record_is_at_every_destination_and_openssl_alone_can_check_it(world: World, tmp_path: Path) -> None:
    loaded = environments.load(ENVIRONMENT)
    record = drill_records.records(loaded).records[-1]
    lab = Path(world.platform.lab.env["ONLYVIPS_LAB_HOME"]) / "data"
    stored = [lab / place / record.key for place in ("directory", "s3-a/onlyvips-backup")]
    assert stored[0].read_bytes() == stored[1].read_bytes()
    kept = {store.name: b"".join(store.read(record.key)) for store in drill_records.stores_of(loaded)}
    assert set(kept) == {"s3-a", "s3-b", "directory"} and len(set(kept.values())) == 1
    for name in (Path(record.key), Path(record.key).with_suffix(".sig")):
        shutil.copyfile(lab / "directory" / name, tmp_path / name.name)
    (key,) = environments.drill_keys(loaded)
    by_hand = (
        RUNBOOK.read_text().split("```")[-2].replace("PUBLIC", key.partition(":")[2]).replace("ID.", f"{record.id}.")
    )
    script = ["sh", "-ec", by_hand]
    assert subprocess.run(script, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    copy = tmp_path / f"{record.id}.json"
    copy.write_bytes(copy.read_bytes().replace(b'"passed"', b'"failed"'))
    assert subprocess.run(script, cwd=tmp_path, capture_output=True, check=False).returncode == 1


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
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (left,) = world.scratch()
    (dead,) = drill_records.records(environments.load(ENVIRONMENT)).unended
    assert dead.scratch == left and any(dead.id in what for what in world.found())
    found = world.drill()
    assert found.passed and found.removed == (left,) and world.scratch() == []
    assert world.found() == []
    records: tuple[DrillRecord, ...] = drill_records.records(environments.load(ENVIRONMENT)).records
    assert [one.passed for one in records] == [False, True, False, True]
