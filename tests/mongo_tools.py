"""MongoDB's own tools, in tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fastcrc

from onlyvips.core.archive import Closed, Documents, Prelude, Reader
from tests.conftest import Lab


def dumped(lab: Lab, uri: str, database: str, archive: Path) -> dict[str, bytes]:
    """What mongodump has of a database, users and roles too, by collection; the archive stays at ``archive``."""
    command = [lab.bin / "mongodump", f"--uri={uri}", f"--archive={archive}", f"--db={database}"]
    done = subprocess.run([*command, "--dumpDbUsersAndRoles"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return contents(archive.read_bytes())[1]


def contents(archive: bytes) -> tuple[Prelude, dict[str, bytes]]:
    """The head of an archive, and its documents by collection."""
    reader = Reader(fastcrc.crc64.xz)
    head, *events = reader.feed(archive)
    reader.finish()
    assert isinstance(head, Prelude)
    found = {one.collection: b"" for one in events if isinstance(one, Closed)}
    for one in events:
        if isinstance(one, Documents):
            found[one.collection] += one.data
    return head, found


def restored(lab: Lab, encrypted: Path, identity: Path, uri: str, *options: str) -> str:
    """One object as the runbook says; what mongorestore told."""
    script = (
        f"set -o pipefail; '{lab.bin / 'age'}' -d -i '{identity}' '{encrypted}' | '{lab.bin / 'zstd'}' -dc"
        f" | '{lab.bin / 'mongorestore'}' --uri='{uri}' --archive \"$@\""
    )
    done = subprocess.run(
        ["bash", "-c", script, "-", *options], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{encrypted.name}: {done.stderr[-3000:]}"
    return done.stderr
