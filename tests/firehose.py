"""The stand-in of a MongoDB server (``tests/bench/firehose``) in tests: serves given BSON and keeps what it gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import bson
import pytest

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent / "deployments" / "lab"))

import builds  # noqa: E402


def program() -> Path:
    """Where it is, made where it is missing."""
    source = ROOT / "bench" / "firehose"
    made = builds.Module("firehose", source, (("firehose", "."),)).ingredient()
    cache = builds.cache_folder()
    if not builds.cached(cache, made).exists():
        builds.check_go()
        builds.make_all(cache, [made], builds.Console(stderr=True))
    return builds.cached(cache, made) / "bin" / "firehose"


@contextmanager
def running(*flags: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """One at work: its URI, and its process."""
    command = [str(program()), f"-listen=127.0.0.1:{port}", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            pytest.fail(f"firehose {' '.join(flags)} did not begin to serve")
        yield f"mongodb://{words[1]}/", process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def put(folder: Path, name: str, documents: Sequence[bytes], **entry: Any) -> None:
    """A collection for ``-folder``; ``entry`` is its type, options, info and indexes, where it has such."""
    stem = quote_plus(name)
    (folder / f"{stem}.bson").write_bytes(b"".join(documents))
    if entry:
        (folder / f"{stem}.entry.bson").write_bytes(bson.encode(entry))


def kept(folder: Path, suffix: str = ".bson") -> Mapping[str, list[bytes]]:
    """What came into ``-keep``, by ``DB.NAME``: documents, or with another suffix the creations and the indexes."""
    others = {".create.bson", ".indexes.bson"} - {suffix}
    files = [one for one in folder.iterdir() if one.name.endswith(suffix) and not one.name.endswith(tuple(others))]
    return {unquote_plus(one.name.removesuffix(suffix)): whole(one.read_bytes()) for one in files}


def whole(data: bytes) -> list[bytes]:
    """The documents that lie one after another."""
    found, at = [], 0
    while at < len(data):
        end = at + int.from_bytes(data[at : at + 4], "little")
        found.append(data[at:end])
        at = end
    return found


USER = {"_id": "bench.api", "userId": bson.Binary(b"u" * 16, 4), "user": "api", "db": "bench", "roles": []}
CREDENTIALS = {"SCRAM-SHA-256": {"iterationCount": 15000, "salt": "c2FsdA==", "storedKey": "c3RvcmVk"}}
ROLE = {"_id": "bench.reader", "role": "reader", "db": "bench", "privileges": [], "roles": []}
NOTES = [{"_id": "featureCompatibilityVersion", "version": "7.0"}, {"_id": "authSchema", "currentVersion": 5}]


def put_accounts(folder: Path, denied: str = "") -> None:
    """For ``-folder``: a user and a role of database bench, each beside one of admin; ``denied``: which of users, roles
    and version nobody may read."""
    put(folder, "things", [bson.encode({"_id": 1})])
    users = [{**USER, "credentials": CREDENTIALS}, {**USER, "_id": "admin.root", "db": "admin"}]
    roles = [{**ROLE, "_id": "admin.other", "db": "admin"}, ROLE]
    for name, documents in (("users", users), ("roles", roles), ("version", NOTES)):
        hidden = {"denied": True} if name == denied else {}
        put(folder, f"$admin.system.{name}", [bson.encode(one) for one in documents], **hidden)
