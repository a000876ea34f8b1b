"""Slices of a real server's oplog come back by age, zstd and a replay that is none of our code."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.oplog_mongodb import MongoOplog
from onlyvips.core.audit import whole
from onlyvips.core.catalog import by_kind, read_catalog
from onlyvips.core.manifest import Manifest, seconds
from onlyvips.core.oplog_chain import chain
from onlyvips.core.plan import BackupPlan
from onlyvips.steps.backup import Run, Session, take
from onlyvips.steps.base import base
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.slices import Known, slice_session
from tests import firehose as firehoses
from tests.bench.programs import firehose
from tests.bench.servers import serving
from tests.conftest import Lab
from tests.system.by_hand import restore_by_hand
from tests.system.platform import Platform, told
from tests.system.test_backup_restores import program

pytestmark = pytest.mark.lab
SOURCE, TARGET = (f"slices_{side}_{os.urandom(4).hex()}" for side in ("source", "target"))
State = dict[str, dict[Any, Any]]


def write(database: Any, name: str, stop: threading.Event) -> None:
    """Inserts, changes (whole and in part) and removes documents of one collection, ever more of them."""
    dice, number = random.Random(name), 10_000
    while not stop.is_set():
        number += 1
        database[name].insert_one({"_id": number, "n": number, "text": "é" * dice.randrange(50)})
        one = dice.randrange(number - 9_000)
        database[name].update_one({"_id": one}, {"$set": {"changed": number}, "$unset": {"text": ""}})
        if number % 5 == 0:
            database[name].delete_one({"_id": dice.randrange(number - 9_000)})
        if number % 7 == 0:
            database[name].replace_one({"_id": one}, {"replaced": number}, upsert=True)
        time.sleep(0.005)


@contextmanager
def written_to(database: Any) -> Iterator[None]:
    """Two writers, until the block ends."""
    stop = threading.Event()
    writers = [threading.Thread(target=write, args=(database, name, stop)) for name in ("orders", "users")]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join()


@dataclass
class Backups:
    """A base, the slices after it, where they are, and what the database held at the end."""

    base: Manifest
    slices: list[Manifest]
    folder: Path
    state: State


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](lab.env["ONLYVIPS_LAB_MONGODB_URI"]) as client:
        yield client
        client.drop_database(SOURCE)
        client.drop_database(TARGET)


@pytest.fixture(scope="module")
def taken(lab: Lab, client: Any, tmp_path_factory: pytest.TempPathFactory) -> Backups:
    database, folder = client[SOURCE], tmp_path_factory.mktemp("copies")
    for name in ("orders", "users"):
        database[name].insert_many([{"_id": n, "text": "x" * 200} for n in range(1000)])
    uri, store = lab.env["ONLYVIPS_LAB_MONGODB_URI"], DirectoryStore("disk", folder)
    epochs, found = iter(range(1, 100)), MongoDatabase(uri)
    log = MongoOplog(found, SystemClock(), settle=0.3)
    plan = _plan(lab)

    def known() -> Known:
        kinds = by_kind(read_catalog(read_shelves([store], "lab")))
        return Known(whole(kinds.get("mongodb", [])), whole(kinds.get("oplog", [])))

    def run() -> Run:
        return Run(next(epochs), SystemClock(), os.urandom)

    def next_slice() -> Session:
        return slice_session(log, known(), [store], replace(plan, kind="oplog"), run())

    with written_to(database):
        took = take(base(found, [store], plan, run(), oplog=log)).manifest
        for _ in range(3):
            take(next_slice())
            time.sleep(0.5)
    take(next_slice())
    slices = chain(took, known().slices).slices
    return Backups(took, list(slices), folder, state_of(client[SOURCE]))


def _plan(lab: Lab) -> BackupPlan:
    return BackupPlan(
        environment="lab",
        kind="mongodb",
        database=SOURCE,
        uri="",
        destinations=(),
        recipients=(lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_1"], lab.env["ONLYVIPS_LAB_AGE_RECIPIENT_2"]),
        zstd_level=3,
        zstd_threads=0,
        workers=2,
        stall_timeout=60.0,
        part_size=5 << 20,
        object_size=0,
        split_above=0,
        lock="none",
    )


def state_of(database: Any) -> State:
    return {name: {one["_id"]: one for one in database[name].find()} for name in ("orders", "users")}


def plain(lab: Lab, file: Path) -> bytes:
    """``age -d | zstd -d``, by the official programs."""
    key = lab.env["ONLYVIPS_LAB_AGE_IDENTITY"]
    script = f"set -o pipefail; {program(lab, 'age')} -d -i {key} {file} | {program(lab, 'zstd')} -d"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def replay(state: State, log: bytes) -> dict[str, list[int]]:
    """Apply FerretDB's entries as its documentation of them says; returns the numbers that were inserted, in order."""
    inserted: dict[str, list[int]] = {name: [] for name in state}
    for entry in bson.decode_all(log):
        database, _, name = entry["ns"].partition(".")
        if database != SOURCE:
            continue
        if entry["op"] == "d":
            state[name].pop(entry["o"]["_id"], None)
            continue
        document = entry["o"]["$set"] if entry["op"] == "u" else entry["o"]
        state[name][document["_id"]] = document
        if entry["op"] == "i" and document.get("n"):
            inserted[name].append(document["n"])
    return inserted


def restored(lab: Lab, client: Any, taken: Backups, tmp_path: Path) -> State:
    """The base's archives, by mongorestore."""
    client.drop_database(TARGET)
    for file in sorted((taken.folder / taken.base.prefix / "objects").glob("*.archive.zst.age")):
        archive = tmp_path / "archive"
        archive.write_bytes(plain(lab, file))
        command = [program(lab, "mongorestore"), f"--uri={lab.env['ONLYVIPS_LAB_MONGODB_URI']}", f"--archive={archive}"]
        names = [f"--nsFrom={SOURCE}.*", f"--nsTo={TARGET}.*"]
        subprocess.run([*command, *names, "--noIndexRestore"], check=True, capture_output=True)
    return state_of(client[TARGET])


def objects(taken: Backups) -> list[Path]:
    return [taken.folder / one.prefix / "objects" / "oplog.bson.zst.age" for one in taken.slices]


def test_a_base_and_its_slices_give_what_the_database_held(lab: Lab, client: Any, taken: Backups, tmp_path: Path):
    state = restored(lab, client, taken, tmp_path)
    assert state != taken.state
    assert len(taken.slices) >= 3
    inserted = replay(state, b"".join(plain(lab, file) for file in objects(taken)))
    assert state == taken.state
    assert all(len(numbers) > 50 for numbers in inserted.values())


def test_the_base_alone_is_one_moment_by_its_own_oplog(lab: Lab, client: Any, taken: Backups, tmp_path: Path):
    """And up to the end of each slice everything that was written before is there, nothing twice, nothing missing."""
    state = restored(lab, client, taken, tmp_path)
    own = taken.folder / taken.base.prefix / "objects" / "oplog.bson.zst.age"
    assert taken.base.window is not None and taken.base.window.entries > 10
    replay(state, plain(lab, own))
    assert_a_prefix(state)
    for file in objects(taken):
        replay(state, plain(lab, file))
        assert_a_prefix(state)


def assert_a_prefix(state: State) -> None:
    """A writer numbers what it inserts: what a later one follows is there, but what was removed or replaced."""
    for documents in state.values():
        numbers = sorted(one["n"] for one in documents.values() if "n" in one)
        assert numbers
        gone = numbers[-1] - 10_000 - len(numbers)
        assert gone <= len(documents), "more is missing than was removed"


def test_mongorestore_replays_every_entry_of_the_slices(lab: Lab, taken: Backups, tmp_path: Path):
    """Into a server that takes applyOps and keeps nothing, for FerretDB has no applyOps."""
    log = tmp_path / "all.bson"
    log.write_bytes(b"".join(plain(lab, file) for file in objects(taken)))
    entries = len(bson.decode_all(log.read_bytes()))
    meta = tmp_path / "META"
    meta.mkdir()
    with serving(firehose(), 1) as server:
        command = [program(lab, "mongorestore"), f"--uri={server.uri}", "--oplogReplay", f"--oplogFile={log}"]
        done = subprocess.run([*command, str(meta)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"applied {entries} oplog entries" in done.stderr


def by_hand(lab: Lab, taken: Backups, uri: str, work: Path, **more: str) -> subprocess.CompletedProcess[str]:
    identity = lab.env["ONLYVIPS_LAB_AGE_IDENTITY"]
    return restore_by_hand(lab, taken.folder, taken.base, taken.slices, identity, uri, work, **more)


def test_the_lines_of_the_runbook_go_as_far_as_a_server_without_applyops_lets_them(
    lab: Lab, client: Any, taken: Backups, tmp_path: Path
):
    expected = restored(lab, client, taken, tmp_path)
    client.drop_database(TARGET)
    names = f"--nsFrom={SOURCE}.* --nsTo={TARGET}.*"
    done = by_hand(lab, taken, lab.env["ONLYVIPS_LAB_MONGODB_URI"], tmp_path / "work", OPTIONS=names)
    assert state_of(client[TARGET]) == expected
    assert done.returncode != 0 and "applyOps" in done.stderr, done.stderr


def test_the_lines_of_the_runbook_bring_a_base_and_then_every_entry_of_its_slices(
    lab: Lab, taken: Backups, tmp_path: Path
):
    into, log = tmp_path / "kept", b"".join(plain(lab, file) for file in objects(taken))
    into.mkdir()
    with firehoses.running(f"-keep={into}") as (uri, _):
        done = by_hand(lab, taken, uri, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert f"applied {len(bson.decode_all(log))} oplog entries" in done.stderr
    found = {name: len(documents) for name, documents in firehoses.kept(into).items()}
    told = [one for record in taken.base.objects for one in record.namespaces if one.type == "collection"]
    assert found == {f"{one.database}.{one.collection}": one.documents for one in told}


# --- by the command a person types


@pytest.fixture
def quick(module_platform: Platform) -> Platform:
    module_platform.environment("slices")
    return module_platform


HERE = ("-e", "slices", "--json")


def run(platform: Platform, kind: str, code: int = 0) -> dict[str, Any]:
    done = platform.onlyvips("backup", "run", "--kind", kind, "--local", *HERE)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = told(done)
    return found


def of_oplog(platform: Platform) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How the oplog stands, and what is wrong with it."""
    report = told(platform.onlyvips("backup", "audit", *HERE))
    (standing,) = [one for one in report["standings"] if one["kind"] == "oplog"]
    return standing, [one for one in report["findings"] if one["kind"] == "oplog" and one["severity"] == "fault"]


def test_slices_are_taken_listed_opened_and_audited_until_the_oplog_breaks(quick: Platform, client: Any) -> None:
    assert "No base of slices's database" in run(quick, "oplog", 2)["error"]
    run(quick, "mongodb")
    client.onlyvips.slices.insert_one({"x": 1})
    first = run(quick, "oplog")
    assert first["documents"] >= 2 and len(first["copies"]) == 3
    read = quick.onlyvips("backup", "verify", first["backup"], "--decrypt", *HERE)
    assert read.returncode == 0 and len(told(read)) == 3, read.stdout + read.stderr
    quiet = told(quick.onlyvips("backup", "show", run(quick, "oplog")["backup"], *HERE))["manifest"]
    assert [one["name"] for one in quiet["facts"]] == ["quiet_until"]
    standing, faults = of_oplog(quick)
    assert faults == [] and seconds(standing["recoverable"]) == seconds(quiet["facts"][0]["value"]) - 1

    victim = slice_at_s3_a(quick)
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    standing, faults = of_oplog(quick)
    assert set(standing["copies"]) == {"s3-b", "directory"}
    assert any("s3-a" in one["what"] and victim.name in one["what"] for one in faults), faults
    repaired = quick.onlyvips("backup", "repair", quiet["id"], *HERE)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert victim.read_bytes() == data and len(of_oplog(quick)[0]["copies"]) == 3

    broken(client)
    told_at_once = run(quick, "oplog", 1)["error"]
    assert "is broken (overflow)" in told_at_once and "backup run -e slices --kind mongodb" in told_at_once
    (fault,) = of_oplog(quick)[1]
    assert "is broken after" in fault["what"] and fault["todo"] == "onlyvips backup run -e slices --kind mongodb"
    run(quick, "mongodb")
    assert of_oplog(quick)[1] == []
    client.onlyvips.slices.drop()
    run(quick, "oplog")
    assert of_oplog(quick)[1] == []


def slice_at_s3_a(platform: Platform) -> Path:
    """The newest slice's object, as versitygw keeps it."""
    root = Path(platform.lab.env["ONLYVIPS_LAB_DIRECTORY"]).parent / "s3-a" / "onlyvips-backup" / "slices" / "oplog"
    return max(root.glob("*/*/objects/*"), key=lambda path: path.parents[1].name)


def broken(client: Any) -> None:
    """As after more was written than the oplog holds."""
    client.local["oplog.rs"].drop()
    client.local.create_collection("oplog.rs", capped=True, size=1 << 26)
    time.sleep(1)
    client.onlyvips.slices.insert_one({"x": 2})
