"""Loader by redis-server: what it loads and knows again, and that nothing of it is left, however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.keys_redis import RedisKeys
from onlyvips.adapters.server_redis import RedisServer
from onlyvips.adapters.snapshot_redis import RedisSnapshot
from onlyvips.errors import Refused
from tests.redis_server import Server, serving
from tests.simulators.redis import rdb


@pytest.fixture
def start(lab: Any, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda name, **settings: stack.enter_context(serving(lab, tmp_path / name, **settings))


@pytest.fixture
def program(lab: Any) -> RedisServer:
    return RedisServer(SystemClock(), str(lab.bin / "redis-server"))


def fill(server: Server) -> None:
    with server.client() as client:
        client.rpush("list", *range(500), "x" * 10_000)
        client.hset("hash", mapping={f"field {number}": number for number in range(1000)})
        client.hset("small", mapping={"a": "1"})
        client.sadd("set", *(f"member {number}" for number in range(1000)))
        client.zadd("sorted", {f"member {number}": number / 7 for number in range(1000)})
        for number in range(300):
            client.xadd("stream", {"number": number}, id=f"{number + 1}-0")
        client.xgroup_create("stream", "workers", "0")
        client.xreadgroup("workers", "first", {"stream": ">"}, count=20)
        client.set("string", "packed " * 100)


@pytest.mark.lab
def test_it_knows_values_again_that_another_server_writes_down_in_another_way(start: Any, program: RedisServer):
    source, other = start("source"), start("other", rdbcompression="no", hash_max_listpack_entries=0)
    fill(source)
    data = b"".join(RedisSnapshot(source.url).snapshot())
    target = RedisKeys(other.url)
    with program.room(len(data)) as file:
        file.write_bytes(data)
        with program.load(file, 16) as loaded:
            names = sorted(key for keys in loaded.keys(0) for key in keys)
            mine = [one for one in loaded.read(0, names) if one]
            target.write(0, mine, over=False)
            theirs = [one for one in target.read(0, names) if one]
            assert len(mine) == len(theirs) == 7
            assert sum(one.payload != two.payload for one, two in zip(mine, theirs, strict=True)) >= 4
            assert all(loaded.same(one, two) for one, two in zip(mine, theirs, strict=True))
            with other.client() as client:
                for change in ("HSET hash x 1", "HSET small a 2", "SREM set member", "RPUSH list 1", "SET string s"):
                    client.execute_command(*change.split())
                client.srem("set", "member 1")
                client.zincrby("sorted", 1, "member 1")
                client.xack("stream", "workers", "1-0")
            changed = [one for one in target.read(0, names) if one]
            assert [loaded.same(one, two) for one, two in zip(mine, changed, strict=True)] == [False] * 7
            assert loaded.describe().databases.keys() == {0, 16}, "only the database of our own has been written"
    target.close()


@pytest.mark.lab
def test_the_word_of_a_restore_that_was_under_way_is_counted_told_and_no_key(start: Any, program: RedisServer):
    source = start("source")
    keys = RedisKeys(source.url)
    with source.client() as client:
        client.mset({"a": "1", "b": "2"})
    keys.note(0, "a restore")
    keys.close()
    data = b"".join(RedisSnapshot(source.url).snapshot())
    with program.room(len(data)) as file:
        file.write_bytes(data)
        with program.load(file, 16) as loaded:
            assert loaded.describe().databases == {0: 3} and loaded.noted(0) == "a restore"
            assert {key for found in loaded.keys(0) for key in found} == {b"a", b"b"}


@pytest.mark.lab
def test_its_groups_of_keys_are_small_enough_for_memory(start: Any, program: RedisServer):
    source = start("source")
    with source.client() as client:
        for number in range(40):
            client.set(f"big {number}", os.urandom(1 << 20))
    data = b"".join(RedisSnapshot(source.url).snapshot())
    with program.room(len(data)) as file:
        file.write_bytes(data)
        with program.load(file, 16) as loaded:
            sizes = [sum(len(one.payload) for one in loaded.read(0, keys) if one) for keys in loaded.keys(0)]
    assert len(sizes) >= 5 and max(sizes) <= 9 << 20


@pytest.mark.lab
def test_its_room_is_private_and_nothing_is_left_of_it(program: RedisServer):
    data = rdb({0: {b"a": b"1"}})
    with program.room(len(data)) as file:
        assert file.parent.stat().st_mode & 0o777 == 0o700
        file.write_bytes(data)
        with program.load(file, 16) as loaded:
            assert not file.exists() and loaded.describe().databases == {0: 1}
            running = int((file.parent / "pid").read_text())
    assert not file.parent.exists() and gone(running)


def gone(process: int) -> bool:
    """Within ten seconds; a zombie is nobody."""
    for _ in range(500):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


_DIES = """
import sys, pathlib
from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.server_redis import RedisServer
from tests.simulators.redis import rdb
program = RedisServer(SystemClock(), sys.argv[1])
with program.room(1) as file:
    file.write_bytes(rdb({0: {b"a": b"1"}}))
    with program.load(file, 16):
        print(file.parent, (file.parent / "pid").read_text(), flush=True)
        sys.stdin.read()
"""


@pytest.mark.lab
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_it_when_its_process_is_killed(lab: Any, how: signal.Signals):
    command = [sys.executable, "-c", _DIES, str(lab.bin / "redis-server")]
    dying = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert dying.stdin and dying.stdout
    folder, number = dying.stdout.readline().split()
    assert Path(folder.decode()).exists()
    dying.send_signal(how)
    dying.communicate()
    assert gone(int(number))
    for _ in range(500):
        if not Path(folder.decode()).exists():
            break
        time.sleep(0.02)
    assert not Path(folder.decode()).exists()


@pytest.mark.lab
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"REDIS0099" + rdb({0: {b"a": b"1"}})[9:], "Can't handle RDB format version 99"),
        (rdb({40: {b"a": b"1"}}), "configured to handle more than 17 databases"),
    ],
)
def test_what_it_does_not_load_is_refused_with_what_it_says(program: RedisServer, data: bytes, why: str):
    with program.room(len(data)) as file, pytest.raises(Refused, match=why):  # noqa: SIM117
        file.write_bytes(data)
        with program.load(file, 16):
            raise AssertionError
    assert not file.parent.exists()


def test_a_program_that_is_not_there_or_is_another_one_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(Refused, match="There is no redis-server at /nowhere"):
        RedisServer(SystemClock(), "/nowhere").describe()
    with pytest.raises(Refused, match="/bin/true is no redis-server"):
        RedisServer(SystemClock(), "/bin/true").describe()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="There is no redis-server on PATH"):
        RedisServer(SystemClock()).describe()
