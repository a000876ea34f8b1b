"""SourceOplog's contract: the simulator, FerretDB of the lab, and a real replica set when there is one.

``ONLYVIPS_TEST_MONGODB_URI`` names a replica set of MongoDB itself; without it that part is not collected.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bson
import fastcrc
import pytest
from pymongo import MongoClient

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.oplog_mongodb import MongoOplog, last_written
from onlyvips.core.manifest import Edge
from onlyvips.core.oplog import read
from onlyvips.core.oplog_entry import Position, parse, position
from onlyvips.errors import Permanent, Transient
from onlyvips.ports import SourceOplog
from onlyvips.steps.stretch import broken_at, first_at
from tests.simulators.clock import SimClock
from tests.simulators.oplog import SimulatedOplog, entry

MONGODB = os.environ.get("ONLYVIPS_TEST_MONGODB_URI", "")
DATABASE = f"oplog_{os.urandom(4).hex()}"
SERVERS = [
    "simulator",
    pytest.param("ferretdb", marks=pytest.mark.lab),
    *([pytest.param("mongodb", marks=pytest.mark.lab)] if MONGODB else []),
]


@dataclass
class Place:
    """An oplog, and how one writes what it logs."""

    oplog: SourceOplog
    insert: Callable[[Sequence[int]], object]


def _simulated() -> Place:
    oplog = SimulatedOplog(entry(1))
    moments = iter(range(2, 1 << 30))

    def insert(numbers: Sequence[int]) -> None:
        oplog.write(*(entry(next(moments), ns=f"{DATABASE}.c", o={"_id": number}) for number in numbers))

    return Place(oplog, insert)


@pytest.fixture(scope="module", params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "simulator":
        yield _simulated()
        return
    uri = MONGODB if request.param == "mongodb" else request.getfixturevalue("lab").env["ONLYVIPS_LAB_MONGODB_URI"]
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client[DATABASE].c
        yield Place(
            MongoOplog(MongoDatabase(uri), SystemClock(), settle=0.3),
            lambda numbers: collection.insert_many([{"_id": number, "x": "é" * 20} for number in numbers]),
        )
        client.drop_database(DATABASE)


def numbers(place: Place, start: Position, end: Position) -> list[int]:
    """What was written between two entries, in the order of the log, by this suite."""
    found = [one for batch in place.oplog.entries(start, end) for one in bson.decode_all(batch)]
    return [one["o"]["_id"] for one in found if one["ns"] == f"{DATABASE}.c" and one["op"] == "i"]


def test_it_says_what_answers_and_what_time_it_is_there(place: Place):
    told = place.oplog.describe()
    assert told["version"].split(".")[0].isdecimal()
    assert told["dialect"]
    assert float(told["now"]) > 0


def test_nothing_newer_is_there_only_where_the_server_says_that_the_newest_final_one_is_the_last(place: Place):
    place.insert([1])
    for _ in range(200):  # who else writes there ends some time, and a majority gets it
        newest = parse(place.oplog.newest())
        if (last := place.oplog.describe()["last"]) in ("newest", newest.edge.ts):
            break
        assert position(Edge(last, 0)) > newest.position
    else:
        pytest.fail(f"{last} was never final")


def test_what_was_written_is_between_the_newest_before_and_the_newest_after(place: Place):
    before = parse(place.oplog.newest())
    for number in range(100, 125):
        place.insert([number])
    after = parse(place.oplog.newest())
    assert after.position > before.position
    assert numbers(place, before.position, after.position)[-25:] == list(range(100, 125))
    reader = read(place.oplog.entries(before.position, after.position), fastcrc.crc64.xz)
    assert (reader.window.start, reader.window.end) == (before.edge, after.edge)


def test_a_stretch_of_one_entry_is_that_entry(place: Place):
    newest = parse(place.oplog.newest())
    assert first_at(place.oplog, newest.position) == newest
    assert broken_at(place.oplog, newest.edge) is None


def test_what_is_not_there_gives_nothing(place: Place):
    newest = parse(place.oplog.newest())
    beyond = Position(newest.position.seconds + 10_000, 1)
    assert first_at(place.oplog, beyond) is None
    broken = broken_at(place.oplog, Edge(f"{beyond.seconds}:1", newest.term))
    assert broken is not None and broken.name == "rollback"


def test_the_oldest_is_before_the_newest_and_what_was_before_it_has_rolled_over(place: Place):
    oldest, newest = parse(place.oplog.oldest()), parse(place.oplog.newest())
    assert oldest.position <= newest.position
    broken = broken_at(place.oplog, Edge("0:1", oldest.term))
    assert broken is not None and broken.name in ("overflow", "gap")


def test_without_transactions_none_is_open(place: Place):
    assert place.oplog.open_since() is None


def test_a_long_stretch_comes_in_batches_each_of_whole_entries_in_order(place: Place):
    before = parse(place.oplog.newest()).position
    place.insert(range(1000, 3500))
    after = parse(place.oplog.newest()).position
    batches = list(place.oplog.entries(before, after))
    assert len(batches) > 1
    assert numbers(place, before, after)[-2500:] == list(range(1000, 3500))


def test_nothing_appears_before_an_entry_that_was_the_newest(place: Place):
    """With many writers at once; each slice is read as soon as its end is known."""
    start, stop = parse(place.oplog.newest()).position, threading.Event()

    def write(writer: int) -> None:
        number = writer * 1_000_000
        while not stop.is_set():
            place.insert([number := number + 1])
            time.sleep(0.002)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(1, 5)]
    for writer in writers[: 1 if isinstance(place.oplog, SimulatedOplog) else 4]:
        writer.start()
    at, seen, slices = start, list[int](), 0
    while slices < 4 or (len(seen) <= 10 and slices < 10_000):
        slices += 1
        end = parse(place.oplog.newest()).position
        seen += [number for number in numbers(place, at, end) if number not in set(seen[-1:])]
        at = end
    stop.set()
    for writer in writers:
        if writer.ident:
            writer.join()
    assert seen == numbers(place, start, at)
    assert len(seen) > 10


# --- the adapter alone


@pytest.mark.lab
def test_a_server_that_keeps_no_oplog_says_so(lab: Any):
    class Plain(MongoDatabase):
        def _logs(self, build: Any) -> bool:
            return False

    with pytest.raises(Permanent, match="keeps no oplog"):
        MongoOplog(Plain(lab.env["ONLYVIPS_LAB_MONGODB_URI"]), SystemClock()).describe()


@pytest.mark.lab
def test_of_ferretdb_an_entry_that_comes_late_is_waited_for(lab: Any):
    """It writes them after the data, in no order: the newest one is final only once what was under way is there."""
    uri = lab.env["ONLYVIPS_LAB_MONGODB_URI"]
    with MongoClient[dict[str, Any]](uri) as client:
        now = MongoOplog(MongoDatabase(uri), SystemClock(), settle=0)
        start = parse(now.newest()).position
        while int(time.time()) <= start.seconds:
            time.sleep(0.1)
        client[DATABASE].late.insert_one({"_id": 1})
        late = bson.Timestamp(parse(now.newest()).position.seconds, 0)

        class Slow(SystemClock):
            """While it waits for the second time, a write that began before comes to its end."""

            naps = 0

            def sleep(self, seconds: float) -> None:
                Slow.naps += 1
                if Slow.naps == 2:
                    stray = {"op": "n", "ns": "", "ts": late, "o": {"msg": "late"}, "t": bson.Int64(1)}
                    client.local["oplog.rs"].insert_one(stray)

        oplog = MongoOplog(MongoDatabase(uri), Slow())
        end = parse(oplog.newest()).position
        found = [one for batch in oplog.entries(start, end) for one in bson.decode_all(batch)]
        client.drop_database(DATABASE)
    assert late in [one["ts"] for one in found]


def test_a_server_that_is_away_may_be_asked_again():
    oplog = MongoOplog(MongoDatabase("mongodb://127.0.0.1:1/", connect_timeout=0.3), SimClock())
    with pytest.raises(Transient, match="see that it runs"):
        oplog.oldest()


# --- the simulator alone: a real commit point cannot be held here


def test_entries_that_are_not_final_are_last_and_never_given():
    oplog = SimulatedOplog(entry(1), entry(2), entry(3))
    oplog.unfinal = 1
    assert parse(oplog.newest()).position == (2, 1) and oplog.describe()["last"] == "3:1"
    assert not list(oplog.entries(Position(3, 0), Position(9, 9)))
    oplog.secondary = True
    assert oplog.describe()["last"] == ""


@pytest.mark.parametrize(
    ("hello", "last"),
    [
        ({"isWritablePrimary": True, "lastWrite": {"opTime": {"ts": bson.Timestamp(5, 7), "t": 1}}}, "5:7"),
        ({"isWritablePrimary": False, "lastWrite": {"opTime": {"ts": bson.Timestamp(5, 7), "t": 1}}}, ""),
        ({"isWritablePrimary": True, "lastWrite": {"lastWriteDate": 1}}, ""),
        ({"isWritablePrimary": True}, ""),
    ],
)
def test_of_mongodb_the_primary_alone_says_what_was_written_last(hello: dict[str, Any], last: str):
    assert last_written(hello) == last
