"""A server whose disk is full: a real FerretDB on a file system of a few MiB, and what others say of theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import bson
import pytest
from pymongo.errors import OperationFailure

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.changes import Create, Index, Put, Write
from onlyvips.errors import NoSpace, Permanent, Transient
from tests.firehose import builds

FULL = bson.encode({"_id": 1}), bson.encode({"_id": 1, "x": "y" * 100_000})
OWN = ("unshare", "-Urm", "sh", "-c")
"""A user and mounts of its own: whoever may have these needs no root for a file system of his own."""


def program() -> Path:
    module = next(one for one in builds.modules() if one.name == "ferretdb")
    return builds.cached(builds.cache_folder(), module.ingredient()) / "bin" / "ferretdb"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[MongoTarget]:
    """A FerretDB whose disk has no room for another document."""
    if not program().exists() or subprocess.run([*OWN, "mount -t tmpfs none /mnt"], check=False).returncode:
        pytest.skip("no FerretDB was built here, or nobody may have mounts of his own")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    serve = f"mount -t tmpfs -o size=2m none {tmp_path} && exec {program()} -listen={address} -data={tmp_path}"
    telling = {"DO_NOT_TRACK": "1", "FERRETDB_TELEMETRY": "disable"}
    process = subprocess.Popen([*OWN, serve], env={**os.environ, **telling}, stderr=subprocess.DEVNULL)
    try:
        database = MongoDatabase(f"mongodb://{address}/")
        yield filled(MongoTarget(database), process)
        database.client.close()
    finally:
        process.kill()
        process.wait()


def filled(target: MongoTarget, process: subprocess.Popen[bytes]) -> MongoTarget:
    """Given documents until it takes no more."""
    while True:  # until it serves
        assert process.poll() is None
        try:
            target.apply([Create("a.b")])
            break
        except Transient:
            time.sleep(0.05)
    for number in range(100):
        try:
            target.insert("a.b", bson.encode({"_id": number, "x": os.urandom(50_000)}))
        except NoSpace as error:
            assert str(error) == (
                "The server's disk is full, so it could not insert into a.b (code 1): make room there, then run the "
                "same again."
            )
            return target
    raise AssertionError("it takes everything")


def test_a_full_disk_is_told_as_that_by_whatever_is_written(full: MongoTarget) -> None:
    writes: list[Write] = [Create("a.c"), Put("a.b", *FULL), Index("a.b", '{"key":{"x":1},"name":"x_1"}')]
    for write in writes:
        with pytest.raises(NoSpace, match="The server's disk is full, so it could not .*make room there"):
            full.apply([write])
    assert sum(len(batch) for batch in full.documents("a.b")) > 0, "and it can be read"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (14031, "available disk space of 104857600 bytes is less than required minimum of 524288000"),
        (8, "28: No space left on device"),
        (8000, "you are over your space quota, using 513 MB of 512 MB"),
        (1, "could not extend file: No space left on device (SQLSTATE 53100)"),
    ],
    ids=["mongodb", "wiredtiger", "atlas", "postgresql"],
)
def test_what_other_servers_say_of_a_full_disk_is_told_as_that(code: int, words: str) -> None:
    database = MongoDatabase("mongodb://127.0.0.1:1/")
    with (
        pytest.raises(NoSpace, match=rf"could not insert into a.b \(code {code}\)"),
        database.explained("insert into a.b"),
    ):
        raise OperationFailure(words, code)
    with pytest.raises(Permanent, match="look at the server's log") as other, database.explained("insert into a.b"):
        raise OperationFailure("something else", 8)
    assert not isinstance(other.value, NoSpace)
