"""What the sides read from and write to: firehose and S3 servers, started for one run of the benchmark."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from tests.bench.measure import Failed, end

COLLECTIONS = 4
DOCUMENT_SIZE = 1024
DATABASE = "bench"
BUCKET = "bench"
ACCESS, SECRET, REGION = "bench", "bench-secret", "us-east-1"
AT_ONCE = "0s"
_PATIENCE = 15.0


@dataclass(frozen=True)
class Source:
    """A running firehose: where it listens, and how much BSON it serves."""

    uri: str
    size: int
    documents: int
    pid: int


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of an S3 server of its own, whose objects are files in ``folder``."""

    name: str
    endpoint: str
    folder: Path
    pid: int

    def client(self) -> boto3.client:
        """For looking at results."""
        style = Config(s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": ACCESS, "aws_secret_access_key": SECRET, "region_name": REGION}
        return boto3.client("s3", endpoint_url=self.endpoint, config=style, **keys)

    def size(self) -> int:
        """Bytes of all objects."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def clear(self) -> None:
        """Forget all objects, so that their unwritten pages burden nobody."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def serving(program: Path, megabytes: int) -> Iterator[Source]:
    """A firehose with about so much data, on a port of its own, until the block ends."""
    documents = max(1, megabytes * 1_000_000 // (DOCUMENT_SIZE * COLLECTIONS))
    numbers = {"docs": documents, "size": DOCUMENT_SIZE, "collections": COLLECTIONS}
    with _firehose(program, *(f"-{name}={number}" for name, number in numbers.items())) as source:
        yield source


@contextmanager
def sink(program: Path, delay: str = AT_ONCE) -> Iterator[Source]:
    """A firehose with nothing, which keeps in memory what is written and serves it, until the block ends; each of its
    answers comes after ``delay``."""
    with _firehose(program, "-store", "-docs=0", f"-delay={delay}") as empty:
        yield empty


@contextmanager
def _firehose(program: Path, *flags: str) -> Iterator[Source]:
    process = subprocess.Popen([program, "-listen=127.0.0.1:0", *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise Failed(f"{program} did not begin to serve.")
        told = dict(word.split("=") for word in words[2:])
        yield Source(f"mongodb://{words[1]}/", int(told["bytes"]), int(told["docs"]), process.pid)
    finally:
        end([process])


@contextmanager
def bucket(program: Path, name: str, folder: Path) -> Iterator[Bucket]:
    """A versitygw over ``folder`` with one bucket, until the block ends."""
    root, port = folder / name, _free_port()
    root.mkdir()
    command = [program, "--quiet", "--port", f"127.0.0.1:{port}", "posix", root]
    keys = {"ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    process = subprocess.Popen(command, env=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        made = Bucket(name, f"http://127.0.0.1:{port}", root / BUCKET, process.pid)
        made.client().create_bucket(Bucket=BUCKET)
        yield made
    finally:
        end([process])


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed("versitygw did not begin to serve.")
