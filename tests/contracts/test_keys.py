"""KeySpace and LoadedKeys: one suite for the simulator, the lab's Redis, and the server that a restore starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.keys_redis import RedisKeys
from onlyvips.adapters.server_redis import RedisServer
from onlyvips.core.keys import Entry
from onlyvips.errors import Conflict, Permanent, Transient
from tests.redis_server import Server, serving
from tests.simulators.clock import SimClock
from tests.simulators.keys import SimulatedKeys
from tests.simulators.redis import rdb

SECRET = "hunter2-geheim"


@dataclass
class Simulated:
    keys: SimulatedKeys

    def keep(self, database: int, key: bytes, value: bytes, milliseconds: int = 0) -> None:
        expires = int(self.keys.clock.now() * 1000) + milliseconds if milliseconds else 0
        self.keys.keep(database, key, value, expires)

    def now(self) -> float:
        return self.keys.clock.now()

    def wait(self, seconds: float) -> None:
        self.keys.clock.sleep(seconds)


@dataclass
class Real:
    keys: Any
    url: str

    def keep(self, database: int, key: bytes, value: bytes, milliseconds: int = 0) -> None:
        with Server(self.url, 0, Path()).client(database) as client:
            client.set(key, value, px=milliseconds or None)

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def start(lab: Any, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda name, **settings: stack.enter_context(serving(lab, tmp_path / name, **settings))


@pytest.fixture
def program(lab: Any) -> RedisServer:
    return RedisServer(SystemClock(), str(lab.bin / "redis-server"))


@pytest.fixture
def simulated() -> Simulated:
    return Simulated(SimulatedKeys(SimClock()))


@pytest.fixture
def real(start: Any) -> Iterator[Real]:
    server = start("real", requirepass=SECRET)
    keys = RedisKeys(server.url)
    yield Real(keys, server.url)
    keys.close()


@pytest.fixture
def loaded(program: RedisServer) -> Iterator[Real]:
    """The server of our own, emptied."""
    data = rdb({0: {b"a": b"1"}})
    with program.room(len(data)) as file:
        file.write_bytes(data)
        with program.load(file, 16) as found:
            found.remove(0, [b"a"])
            yield Real(found, f"unix://{file.parent}/socket")


@pytest.fixture(params=["simulated", *(pytest.param(one, marks=pytest.mark.lab) for one in ("real", "loaded"))])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def every(place: Any, database: int = 0) -> set[bytes]:
    return {key for keys in place.keys.keys(database) for key in keys}


# --- the contract


def test_it_says_who_it_is_and_how_many_keys_it_has(place: Any):
    place.keep(0, b"a", b"1")
    place.keep(3, b"b", b"2")
    told = place.keys.describe()
    assert (told.dialect, told.databases, told.refusal) == ("redis", {0: 1, 3: 1}, "")
    assert told.identity and told.version[0].isdecimal()


def test_a_key_is_read_and_written_elsewhere_as_it_was_with_its_moment(place: Any):
    value = bytes(range(256)) * 40
    place.keep(0, b"for ever", value)
    place.keep(0, "ünï".encode(), b"", 90_000)
    assert every(place) == {b"for ever", "ünï".encode()}
    mine = place.keys.read(0, [b"for ever", "ünï".encode(), b"absent"])
    assert mine[2] is None and mine[0].expires == 0
    assert abs(mine[1].expires - (place.now() + 90) * 1000) < 30_000
    place.keys.write(5, mine[:2], over=False)
    assert place.keys.read(5, [b"for ever", "ünï".encode()]) == mine[:2]


def test_a_key_that_is_there_is_written_over_only_where_that_is_asked(place: Any):
    place.keep(0, b"a", b"old")
    place.keep(1, b"a", b"new")
    (new,) = place.keys.read(1, [b"a"])
    with pytest.raises(Conflict):
        place.keys.write(0, [new], over=False)
    assert place.keys.read(0, [b"a"]) != [new]
    place.keys.write(0, [new], over=True)
    assert place.keys.read(0, [b"a"]) == [new]


def test_a_key_whose_time_has_come_is_taken_and_not_made(place: Any):
    place.keep(0, b"a", b"1")
    (one,) = place.keys.read(0, [b"a"])
    place.keys.write(7, [Entry(b"b", one.payload, 1)], over=False)
    assert place.keys.read(7, [b"b"]) == [None] and place.keys.describe().databases == {0: 1}


def test_a_key_expires_while_it_is_there(place: Any):
    place.keep(0, b"a", b"1", 40)
    place.wait(0.1)
    assert place.keys.read(0, [b"a"]) == [None]


def test_what_is_no_value_is_refused(place: Any):
    place.keep(0, b"a", b"1")
    (one,) = place.keys.read(0, [b"a"])
    bad = Entry(b"b", one.payload[:-10] + b"\xff\xff" + one.payload[-8:], 0)
    with pytest.raises(Permanent, match="does not take these values, for they are of a newer version"):
        place.keys.write(0, [bad], over=False)
    assert every(place) == {b"a"}


def test_a_database_that_there_is_not_is_refused(place: Any):
    place.keep(0, b"a", b"1")
    (one,) = place.keys.read(0, [b"a"])
    with pytest.raises(Permanent, match="has fewer databases than the backup"):
        place.keys.write(17, [one], over=False)


def test_keys_are_removed_and_once_more_is_no_error(place: Any):
    place.keep(0, b"a", b"1")
    place.keep(0, b"b", b"1")
    for _ in range(2):
        place.keys.remove(0, [b"a", b"absent"])
        assert every(place) == {b"b"}
    place.keys.remove(0, [])


def test_a_word_is_noted_beside_the_keys_and_is_none_of_them(place: Any):
    place.keep(0, b"a", b"1")
    assert place.keys.noted(0) == ""
    for text in ("one", "two"):
        place.keys.note(0, text)
        assert place.keys.noted(0) == text
    assert every(place) == {b"a"}
    place.keys.forget(0)
    assert place.keys.noted(0) == "" and place.keys.describe().databases == {0: 1}


def test_every_key_of_many_is_met(place: Any):
    names = {b"%d" % number for number in range(5000)}
    place.keep(0, b"0", b"x")
    (one,) = place.keys.read(0, [b"0"])
    place.keys.write(0, [Entry(name, one.payload, 0) for name in names], over=True)
    assert every(place) == names


# --- real servers that are not as they should be


@pytest.mark.lab
def test_a_server_that_cannot_be_a_target_says_why(start: Any):
    watched = start("watched")
    for server, why in (
        (start("node", cluster_enabled="yes"), "one node of a cluster"),
        (start("sentinel", sentinel_of=watched.port), "it is a Sentinel"),
        (start("replica", replicaof=f"127.0.0.1 {watched.port}"), "it is a replica, which takes no writes"),
    ):
        keys = RedisKeys(server.url)
        assert why in keys.describe().refusal
        keys.close()


@pytest.mark.lab
def test_limits_of_memory_are_told_and_a_full_server_is_an_error_with_advice(start: Any):
    server = start("full", maxmemory="3mb", maxmemory_policy="allkeys-lru")
    keys = RedisKeys(server.url)
    found = keys.describe()
    assert (found.most, found.evicts) == (3 << 20, True) and 0 < found.used < found.memory
    with server.client() as client:
        client.set("a", b"x" * 200_000)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
    (one,) = keys.read(0, [b"a"])
    with pytest.raises(Permanent, match=r"its memory is full \(maxmemory\): raise that"):
        keys.write(0, [Entry(b"b", one.payload, 0)], over=False)
    keys.close()


@pytest.mark.lab
def test_who_may_not_is_told_which_rights_it_needs_and_those_are_enough(start: Any):
    server = start("acl")
    with server.client() as client:
        client.set("a", 1)
        client.execute_command("ACL", "SETUSER", "restorer", "on", f">{SECRET}", "+info", "~*")
    url = server.url.replace("redis://", f"redis://restorer:{SECRET}@")
    keys = RedisKeys(url)
    with pytest.raises(Permanent, match="its ACL forbids it: give this user") as raised:
        keys.read(0, [b"a"])
    assert SECRET not in str(raised.value)
    rights = str(raised.value).partition("give this user ")[2].partition(" while")[0].split()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "restorer", *rights)
    (one,) = keys.read(0, [b"a"])
    keys.write(2, [one], over=True)
    assert [list(found) for found in keys.keys(2)] == [[b"a"]]
    keys.note(0, "x")
    assert keys.noted(0) == "x" and keys.describe().databases
    keys.forget(0)
    keys.remove(2, [b"a"])
    keys.close()


@pytest.mark.lab
def test_a_wrong_password_is_told_and_not_shown(start: Any):
    keys = RedisKeys(start("closed", requirepass="right").url.replace("right", SECRET))
    with pytest.raises(Permanent, match="it does not let us in") as raised:
        keys.describe()
    assert SECRET not in str(raised.value)
    keys.close()


def test_a_server_that_is_away_may_be_asked_again():
    with pytest.raises(Transient, match=r"Redis at 127\.0\.0\.1:1 did not answer"):
        RedisKeys("redis://127.0.0.1:1").describe()


@pytest.mark.parametrize("url", ["", "redis:///0", f"http://:{SECRET}@h", f"redis://:{SECRET}@h:port"])
def test_a_url_that_cannot_be_understood_is_not_shown(url: str):
    with pytest.raises(Permanent, match="cannot be understood") as raised:
        RedisKeys(url)
    assert SECRET not in str(raised.value) and raised.value.__cause__ is None
