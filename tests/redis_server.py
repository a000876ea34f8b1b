"""A Redis server of one's own, of the lab's program, in a folder of its own; and what is in one, to compare."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

Contents = dict[tuple[int, bytes], Any]
"""(database, key) → what it is."""


@dataclass(frozen=True)
class Server:
    """One that runs; ``client`` is anybody's."""

    url: str
    port: int
    folder: Path

    def client(self, database: int = 0) -> Any:
        return redis.Redis.from_url(self.url, db=database)


@contextmanager
def serving(lab: Any, folder: Path, *, sentinel_of: int = 0, **settings: Any) -> Iterator[Server]:
    """Redis as it is by default, but for ``settings`` (``_`` for ``-``), once its data are loaded; or a Sentinel of
    the server at a port."""
    folder.mkdir(exist_ok=True)
    port = _free_port()
    asked = {"bind": "127.0.0.1", "port": port, "dir": folder}
    if sentinel_of:
        asked |= {"sentinel monitor main 127.0.0.1": f"{sentinel_of} 1"}
    else:
        asked |= {"save": '""', "repl-diskless-sync-delay": 0, **settings}
    config = folder / "redis.conf"
    config.write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in asked.items()))
    with (folder / "log").open("wb") as log:
        command = [str(lab.bin / "redis-server"), str(config), *(["--sentinel"] if sentinel_of else [])]
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    password = f":{settings['requirepass']}@" if "requirepass" in settings else ""
    server = Server(f"redis://{password}127.0.0.1:{port}", port, folder)
    try:
        _await(server, running)
        yield server
    finally:
        running.kill()
        running.wait()


def _free_port() -> int:
    """One that a node of a cluster can have too: it takes the one 10,000 above as well."""
    while True:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            port = int(door.getsockname()[1])
        if port <= 55_535:
            return port


def _await(server: Server, running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with server.client() as client:
                if not client.info().get("loading", 0):
                    return
        except redis.ConnectionError:
            assert running.poll() is None and time.monotonic() < until, (server.folder / "log").read_text()
        time.sleep(0.02)


def contents(server_url: str) -> Contents:
    """Every key of every database: its type, its value, and when it expires, in whole seconds of unix time."""
    found: Contents = {}
    with redis.Redis.from_url(server_url) as front:
        databases = [int(name.removeprefix("db")) for name in front.info("keyspace")]
    for number in databases:
        with redis.Redis.from_url(server_url, db=number) as client:
            for key in client.scan_iter(count=1000):
                found[number, key] = (client.type(key), _value(client, key), client.expiretime(key))
    return found


def _value(client: Any, key: bytes) -> Any:
    """What the key holds: as DUMP says it, and as a set or mapping where the order there is a matter of chance."""
    read = {b"set": client.smembers, b"hash": client.hgetall}.get(client.type(key))
    if client.object("encoding", key) == b"hashtable" and read:
        return read(key)
    return client.dump(key)
