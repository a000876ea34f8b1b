"""Restores on the lab: to moments of a writer's own journal, by the command a person types, killed and run again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from redis import Redis

from onlyvips.core.manifest import moment
from onlyvips.wiring import restores
from onlyvips.wiring.restores import Asked
from tests.conftest import ROOT, Lab
from tests.system.platform import Platform, told

pytestmark = pytest.mark.lab
ENVIRONMENT = "restores"
SOURCE = f"journal_{os.urandom(3).hex()}"
TARGET = "env:ONLYVIPS_LAB_MONGODB_URI"
MOMENTS, KILLS = 10, 5
SOAK = pytest.mark.soak
State = dict[Any, dict[str, Any]]


@dataclass
class Journal:
    """One writer on one connection. It writes nothing around the turn of a second, so that its own clock says in which
    second each of its operations was; ``states`` is what it believes the collection to be at the end of each second."""

    collection: Any
    dice: random.Random = field(default_factory=lambda: random.Random(11))
    documents: State = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    unsure: set[int] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self._stop.is_set():
            now = time.time()
            if now % 1 > 0.8 or now % 1 < 0.05:
                time.sleep(0.02)
                continue
            number += 1
            self.write(number)
            if (end := int(time.time())) != int(now):
                self.unsure |= set(range(int(now), end + 1))
            self.states[end] = dict(self.documents)
            time.sleep(0.01)

    def write(self, number: int) -> None:
        """One operation, and what it does to the documents, by hand."""
        kind = self.dice.choice(["insert", "insert", "set", "replace", "delete"])
        id = self.dice.choice(sorted(self.documents)) if self.documents and kind != "insert" else f"order {number}"
        if kind == "insert" or not self.documents:
            self.documents[id] = {"_id": id, "n": number, "text": "é" * self.dice.randrange(30)}
            self.collection.insert_one(self.documents[id])
        elif kind == "set":
            self.documents[id] = {**self.documents[id], "changed": number}
            self.collection.update_one({"_id": id}, {"$set": {"changed": number}})
        elif kind == "replace":
            self.documents[id] = {"_id": id, "replaced": number}
            self.collection.replace_one({"_id": id}, {"replaced": number})
        else:
            del self.documents[id]
            self.collection.delete_one({"_id": id})

    def stop(self) -> None:
        self._stop.set()

    def sure(self, since: int) -> set[int]:
        """Seconds after ``since`` of which it knows the end."""
        return {one for one in list(self.states) if one > since} - set(self.unsure)

    def at(self, second: int) -> State:
        """At the end of a second."""
        return self.states[max(one for one in self.states if one <= second)]


@dataclass
class World:
    """Backups of a database that a writer wrote to, and its journal."""

    platform: Platform
    client: Any
    journal: Journal
    first: int
    last: int

    def asked(self, at: str, name: str, collection: str = "orders") -> Asked:
        return Asked(ENVIRONMENT, "mongodb", at, TARGET, (f"onlyvips.{SOURCE}={name}.{collection}",))


def state(collection: Any) -> State:
    return {one["_id"]: one for one in collection.find()}


def take(platform: Platform, kind: str) -> dict[str, Any]:
    done = platform.onlyvips("backup", "run", "--kind", kind, "--local", "-e", ENVIRONMENT, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = told(done)
    return found


@pytest.fixture(scope="module")
def world(lab: Lab, module_platform: Platform, request: pytest.FixtureRequest) -> Iterator[World]:
    enough = (50 if request.config.getoption("-m") == "soak" else MOMENTS) + 2
    module_platform.environment(ENVIRONMENT)
    with MongoClient[dict[str, Any]](lab.env["ONLYVIPS_LAB_MONGODB_URI"], maxPoolSize=1) as client:
        journal = Journal(client.onlyvips[SOURCE])
        writer = threading.Thread(target=journal.run)
        writer.start()
        try:
            base = take(module_platform, "mongodb")
            began, slices = int(time.time()), 0
            while slices < 3 or len(journal.sure(began)) < enough:
                take(module_platform, "oplog")
                slices += 1
        finally:
            journal.stop()
            writer.join()
        take(module_platform, "oplog")
        shown = told(module_platform.onlyvips("backup", "show", base["backup"], "-e", ENVIRONMENT, "--json"))
        first = int(shown["manifest"]["window"]["end"]["ts"].partition(":")[0])
        yield World(module_platform, client, journal, first + 1, max(journal.states))
        client.onlyvips.drop_collection(SOURCE)
        for name in client.list_database_names():
            if name.startswith(("restored_", "killed_")):
                client.drop_database(name)


@pytest.mark.parametrize("moments", [MOMENTS, pytest.param(50, marks=SOAK)])
def test_any_moment_is_what_the_writers_own_journal_says(world: World, moments: int) -> None:
    sure = [one for one in range(world.first, world.last) if one not in world.journal.unsure]
    chosen = [*random.Random(3).sample(sure, moments - 1), world.last]
    for second in chosen:
        name = f"restored_{second}"
        done = restores.run(world.asked(moment(second), name), lambda doing, size: None)
        assert done.values["entries"] > 0 and not done.values["flaws"]
        assert state(world.client[name].orders) == world.journal.at(second), moment(second)
        assert world.client[name].list_collection_names() == ["orders"]
        world.client.drop_database(name)
    assert len({str(world.journal.at(one)) for one in chosen}) > moments / 2


@contextmanager
def flipped(lab: Lab, *keys: str) -> Iterator[None]:
    """The last byte of these objects is another one in the directory's copy."""
    files = [Path(lab.env["ONLYVIPS_LAB_DIRECTORY"], key) for key in keys]
    kept = [file.read_bytes() for file in files]
    for file, data in zip(files, kept, strict=True):
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        yield
    finally:
        for file, data in zip(files, kept, strict=True):
            file.write_bytes(data)


def test_by_the_command_the_whole_database_comes_back_beside_the_live_one_though_two_copies_are_bad(
    world: World, lab: Lab
) -> None:
    options = ("-e", ENVIRONMENT, "--target", TARGET, "--namespace", "onlyvips.*=restored_whole.*", "--json")
    plan = told(world.platform.onlyvips("restore", "plan", *options))
    assert plan["refusals"] == [] and plan["overwritten"] == []
    objects = plan["archives"][0], plan["logs"][-1]
    assert all(one["destinations"][0] == "directory" for one in objects), "which is tried first"
    bad = [one["key"] for one in objects]
    with flipped(lab, *bad):
        done = world.platform.onlyvips("restore", "run", "--local", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    flaws = told(done)["flaws"]
    assert len(flaws) == 2 and all("directory" in flaw and key in flaw for flaw, key in zip(flaws, bad, strict=True))
    compare(world, "restored_whole")
    again = world.platform.onlyvips("restore", "run", "--local", *options)
    assert again.returncode == 2 and "The target already has restored_whole." in told(again)["error"]


def compare(world: World, name: str) -> None:
    """A database with the live one, which nobody writes to any more."""
    live, found = world.client.onlyvips, world.client[name]
    assert sorted(found.list_collection_names()) == sorted(live.list_collection_names())
    for one in live.list_collection_names():
        assert state(found[one]) == state(live[one]), one
        assert found[one].index_information() == live[one].index_information()


def begun(world: World, name: str) -> bool:
    """Whether a restore into a database was begun and is not done."""
    return "onlyvips_restore" in world.client[name].list_collection_names()


@pytest.mark.parametrize("kills", [KILLS, pytest.param(30, marks=SOAK)])
def test_killed_at_moments_drawn_by_chance_and_run_again_it_ends_compared(world: World, kills: int) -> None:
    dice, killed, number = random.Random(7), 0, 0
    while killed < kills:
        assert number < kills, "a restore that is killed as soon as it begins is killed once at least"
        name = f"killed_{number}"
        killed += kill_and_run_again(world, name, dice)
        compare(world, name)
        world.client.drop_database(name)
        number += 1


def kill_and_run_again(world: World, name: str, dice: random.Random) -> int:
    """A restore that is killed up to ``KILLS`` times before it may end; returns how often it was."""
    options = ("-e", ENVIRONMENT, "--target", TARGET, "--namespace", f"onlyvips.*={name}.*", "--json", "--local")
    killed = 0
    for number in range(KILLS):
        process = world.platform.process("restore", "run", *options)
        while process.poll() is None and not begun(world, name):
            time.sleep(0.01)
        time.sleep(number * dice.uniform(0.0, 0.5))  # the first at once: however fast it is, it is killed
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if process.returncode == 0:
            break
        if process.stdout:
            process.stdout.close()
    if begun(world, name) or killed == KILLS:
        done = world.platform.onlyvips("restore", "run", *options)
        assert done.returncode == 0, done.stdout + done.stderr
    return killed


def test_the_live_database_and_what_cannot_be_had_are_refused_with_what_can(world: World) -> None:
    here = ("-e", ENVIRONMENT, "--target", TARGET)
    for more, why in (
        ((), "The target is the live source, and database onlyvips"),
        (("--at", "2020-01-01T00:00:00Z"), "before the first base was whole"),
        (("--at", "2120-01-01T00:00:00Z"), "what there is leads to"),
        (("--kind", "redis"), "The URL of the Redis to restore into cannot be understood"),
    ):
        done = world.platform.onlyvips("restore", "run", "--local", *here, *more)
        assert done.returncode == 2 and why in done.stderr, done.stderr
    live = world.platform.onlyvips("restore", "run", "--local", "-e", ENVIRONMENT, "--target", "mongodb://h/")
    assert live.returncode == 2 and "is no reference" in live.stderr


@pytest.mark.parametrize("packed", [(), ("--gzip",)], ids=["plain", "gzip"])
def test_an_archive_of_mongodumps_own_comes_back(
    world: World, lab: Lab, tmp_path: Path, packed: tuple[str, ...]
) -> None:
    path, name = tmp_path / "dump.archive", f"restored_dump{len(packed)}"
    uri = f"--uri={lab.env['ONLYVIPS_LAB_MONGODB_URI']}onlyvips"
    subprocess.run([lab.bin / "mongodump", uri, f"--archive={path}", *packed], check=True, capture_output=True)
    options = ("-e", ENVIRONMENT, "--target", TARGET, "--namespace", f"onlyvips.*={name}.*")
    done = world.platform.onlyvips("restore", "archive", str(path), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    compare(world, name)


@pytest.fixture
def cache(lab: Lab) -> Iterator[Any]:
    """The cache, which a restore over the live database flushes; others' tests want it back."""
    found = Redis.from_url(lab.env["ONLYVIPS_LAB_REDIS_URL"])
    kept = [(key, found.dump(key), max(0, found.pttl(key))) for key in found.scan_iter()]
    yield found
    for key, value, expires in kept:
        found.restore(key, expires, value, replace=True)


def test_killed_in_the_swap_people_see_the_old_or_the_new_and_run_again_it_ends_whole(world: World, cache: Any) -> None:
    live, late = world.client.onlyvips, {"_id": "written after the backup"}
    names = sorted(live.list_collection_names())
    before = {name: state(live[name]) for name in names}
    for name in names:
        live[name].insert_one(dict(late))
    options = (
        "-e",
        ENVIRONMENT,
        "--target",
        "live",
        "--at",
        moment(world.last),
        "--namespace",
        "onlyvips.*=onlyvips.*",
    )
    options += ("--overwrite", "onlyvips.*", "--without-safety-backup", "its death is rehearsed", "--local")
    for number, when, replaced in ((1, "before", 0), (2, "between", 1), (2, "after", 3)):
        command = [sys.executable, "-m", "tests.system.dying", str(number), when, "restore", "run", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        found = {name: state(live[name]) for name in names if name in live.list_collection_names()}
        new = [name for name, documents in found.items() if documents == before[name]]
        assert all(late["_id"] in found[name] for name in found if name not in new)
        assert (len(new), len(names) - len(found)) == (replaced, when == "between")
    done = world.platform.onlyvips("restore", "run", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: state(live[name]) for name in live.list_collection_names()} == before
    assert not list(cache.scan_iter())


def test_what_was_deleted_by_mistake_comes_back_into_the_live_database(world: World, cache: Any) -> None:
    """Last here, for it takes bases and moves the collection."""
    live, names = world.client.onlyvips[SOURCE], world.client.onlyvips.list_collection_names()
    before = state(live)
    cache.set("user_profile:1", "as it was")
    live.delete_many({})
    live.insert_one({"_id": "written after it"})
    one = f"onlyvips.{SOURCE}"
    there = ("-e", ENVIRONMENT, "--target", "live", "--at", moment(world.last), "--namespace", f"{one}={one}")
    refused = world.platform.onlyvips("restore", "run", "--local", *there)
    assert refused.returncode == 2 and f"--overwrite '{one}'" in refused.stderr
    assert set(state(live)) == {"written after it"}
    done = world.platform.onlyvips("restore", "run", "--local", *there, "--overwrite", one)
    assert done.returncode == 0, done.stdout + done.stderr
    assert state(live) == before
    assert sorted(world.client.onlyvips.list_collection_names()) == sorted(names)
    assert cache.get("user_profile:1") is None
    newest = told(world.platform.onlyvips("restore", "plan", "-e", ENVIRONMENT, "--target", TARGET, "--json"))["base"]
    assert done.stdout.partition("for what is there now: ")[2].partition(".")[0] in newest
    safety = done.stdout.partition("Safety backup: ")[2].partition(".")[0]
    asked = Asked(ENVIRONMENT, "mongodb", safety, TARGET, (f"{one}=restored_safety.orders",))
    restores.run(asked, lambda doing, size: None)
    assert set(state(world.client.restored_safety.orders)) == {"written after it"}
