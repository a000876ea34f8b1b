"""Restores out of S3 into an empty server: a base, and a slice of the oplog; beside MongoDB's own tools."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from rich.console import Console

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.plan import BackupPlan
from onlyvips.steps.backup import Run, take
from onlyvips.steps.base import base as base_session
from onlyvips.steps.slices import Known, slice_session
from tests.bench.base import ZSTD, plan, s3, zstd
from tests.bench.measure import Cost, Failed
from tests.bench.oplog import COLLECTION, History, history
from tests.bench.programs import Programs
from tests.bench.servers import AT_ONCE, DATABASE, serving, sink
from tests.bench.setting import Command, Round, Setting, set_up, take_turns
from tests.simulators.oplog import SimulatedOplog

PIPELINE, REPLAY = "aws | age | zstd | mongorestore", "mongorestore --oplogReplay"
_BATCH = 1000
Sums = Mapping[str, tuple[int, int]]
"""How many documents each collection has, and the sum of their hashes."""


@dataclass(frozen=True)
class Found:
    """What was restored, ``amount`` of it in each round, what each side cost, and CPU seconds of ours by step."""

    title: str
    amount: int
    rounds: Sequence[Round]
    steps: Mapping[str, float]


# --- a base ----------------------------------------------------------------------------------------------------------


def measure_load(programs: Programs, megabytes: int, rounds: int, console: Console) -> Found:
    """A base: ours, and a dump of the same source by mongodump."""
    with set_up(programs, ("s3-a",)) as setting:
        with serving(programs["firehose"], megabytes) as source:
            full = replace(setting, source=source)
            store = s3(setting.buckets[0].name, setting.buckets[0].endpoint)
            full.ours("base", {"uri": source.uri, "plan": plan(setting), "stores": [store]})
            full.run(*zstd(full), setting.aws("cp", "--only-show-errors", "-", setting.url(ZSTD)))
            expected = sums(source.uri)
        sides: dict[str, Callable[[bool], Cost]] = {
            "ours": partial(_ours, setting, "bench", expected),
            PIPELINE: partial(_pipeline, setting, expected),
        }
        found = take_turns(sides, rounds, console)
        title = f"A base of {source.size / 1e6:.0f} MB of BSON, {source.documents} documents, restored"
        return Found(title, source.size, found, _steps(setting, "bench", source.size / 1e9, console))


def _pipeline(setting: Setting, expected: Sums, check: bool) -> Cost:
    return _into_sink(setting, expected, check, lambda into: into.run(*_plain(into, ZSTD), _mongorestore(into)))


def _mongorestore(setting: Setting) -> Command:
    assert setting.source is not None
    return (setting.programs["mongorestore"], "--quiet", f"--uri={setting.source.uri}", "--archive")


# --- the oplog -------------------------------------------------------------------------------------------------------


def measure_replay(programs: Programs, operations: int, rounds: int, console: Console, delay: str = AT_ONCE) -> Found:
    """A slice of so many operations on a base of nearly nothing; both sides read the very same object. Each answer of
    the server comes after ``delay``."""
    with set_up(programs, ("s3-a",)) as at_once:
        setting = replace(at_once, delay=delay)
        told = history(operations)
        with serving(programs["firehose"], 0) as source:
            key = _taken(setting, source.uri, told)
        expected = {COLLECTION: _sum(map(bson.encode, told.documents.values()))}
        sides: dict[str, Callable[[bool], Cost]] = {
            "ours": partial(_ours, setting, "replay", expected),
            REPLAY: partial(_replay, setting, key, expected),
        }
        found = take_turns(sides, rounds, console)
        title = f"A slice of the oplog of {operations} operations, {told.size / 1e6:.0f} MB, replayed"
        title += "" if delay == AT_ONCE else f" where each answer takes {delay}"
        return Found(title, operations, found, _steps(setting, "replay", operations / 1e5, console))


def _taken(setting: Setting, uri: str, told: History) -> str:
    """A base and a slice in the bucket; the key of the slice's object."""
    place = setting.buckets[0]
    store = S3Store(**s3(place.name, place.endpoint))
    asked = BackupPlan(**(plan(setting) | {"environment": "replay"}))
    run = Run(1, SystemClock(), os.urandom)
    log = SimulatedOplog(told.entries[0], batch=_BATCH)
    made = take(base_session(MongoDatabase(uri), [store], asked, run, oplog=log)).manifest
    log.write(*told.entries[1:])
    asked = replace(asked, kind="oplog", database="")
    one = take(slice_session(log, Known([made], []), [store], asked, run)).manifest
    return one.prefix + one.objects[0].key


def _replay(setting: Setting, key: str, expected: Sums, check: bool) -> Cost:
    """mongorestore reads the oplog out of a file, so it is brought there first."""
    log, nothing = setting.folder / "oplog.bson", setting.folder / "nothing"
    nothing.mkdir(exist_ok=True)

    def act(into: Setting) -> Cost:
        assert into.source is not None
        command = (into.programs["mongorestore"], "--quiet", f"--uri={into.source.uri}", "--oplogReplay")
        *before, zstd = _plain(into, key)
        brought = into.run(*before, (*zstd, "-f", "-o", log))
        return _both(brought, into.run((*command, f"--oplogFile={log}", nothing)))

    return _into_sink(setting, expected, check, act)


def _both(one: Cost, other: Cost) -> Cost:
    seconds, cpu, servers = one.seconds + other.seconds, one.cpu + other.cpu, one.servers + other.servers
    return Cost(seconds, cpu, max(one.peak, other.peak), servers, one.others + other.others)


# --- both ------------------------------------------------------------------------------------------------------------


def _ours(setting: Setting, name: str, expected: Sums, check: bool) -> Cost:
    return _into_sink(setting, expected, check, lambda into: into.ours("restore", _told(into, name))[0])


def _told(setting: Setting, name: str) -> dict[str, Any]:
    assert setting.source is not None
    place = setting.buckets[0]
    return {
        "uri": setting.source.uri,
        "store": s3(place.name, place.endpoint),
        "environment": name,
        "identity": str(setting.identities[0]),
        "workers": plan(setting)["workers"],
    }


def _steps(setting: Setting, name: str, amount: float, console: Console) -> dict[str, float]:
    console.print("each step of ours by itself …")
    with sink(setting.programs["firehose"]) as empty:
        into = replace(setting, source=empty)
        _, done = into.ours("restore steps", _told(into, name))
    return {step: cpu / amount for step, cpu in done.items()}


def _plain(setting: Setting, key: str) -> list[Command]:
    return [
        setting.aws("cp", "--only-show-errors", setting.url(key), "-"),
        (setting.programs["age"], "-d", "-i", setting.identity),
        (setting.programs["zstd"], "-d", "-q", "-c"),
    ]


def _into_sink(setting: Setting, expected: Sums, check: bool, act: Callable[[Setting], Cost]) -> Cost:
    """A side into a new server. Raises Failed when it left anything else than ``expected`` there."""
    with sink(setting.programs["firehose"], setting.delay) as empty:
        into = replace(setting, source=empty)
        cost = act(into)
        if check:
            found = sums(empty.uri)
            if wrong := {name: found.get(name) for name in expected if found.get(name) != expected[name]}:
                raise Failed(f"A side left {wrong}, not { ({name: expected[name] for name in wrong}) }.")
        return cost


def sums(uri: str) -> Sums:
    """What a server has, read by pymongo alone."""
    codec: Any = CodecOptions(document_class=RawBSONDocument)
    with MongoClient[Any](uri, document_class=RawBSONDocument) as client:
        database = client[DATABASE]
        return {
            name: _sum(
                one.raw
                for batch in database[name].find_raw_batches(batch_size=_BATCH)
                for one in bson.decode_all(batch, codec)
            )
            for name in database.list_collection_names()
        }


def _sum(documents: Any) -> tuple[int, int]:
    hashes = [int.from_bytes(hashlib.blake2b(one, digest_size=16).digest(), "big") for one in documents]
    return len(hashes), sum(hashes)
