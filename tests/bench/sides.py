"""The two sides that are compared; each reads all of the source and leaves an encrypted backup in a folder."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyrage

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.core.plan import BackupPlan
from onlyvips.steps.backup import Run, Taken
from onlyvips.steps.base import take_base
from tests.bench.programs import DATABASE, Failed, Source, piped

LEVEL = 3
WORKERS = 4
"""Collections at a time: as in production's environment, and mongodump's own default."""


@dataclass(frozen=True)
class Setting:
    """What both sides are given."""

    source: Source
    programs: Mapping[str, Path]
    identities: tuple[pyrage.x25519.Identity, ...]

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public keys that both sides encrypt for."""
        return tuple(str(identity.to_public()) for identity in self.identities)


@dataclass(frozen=True)
class Measured:
    """One backup: how long it took, and how large it is."""

    seconds: float
    size: int


def ours(setting: Setting, folder: Path) -> Measured:
    """The product's own pipe, into a directory."""
    return _measure(folder, lambda: _check_base(setting.source, _take(setting, folder)))


def pipeline(setting: Setting, folder: Path) -> Measured:
    """mongodump, zstd and age, into a file."""
    return _measure(folder, lambda: _dump(setting, folder))


def check_pipeline(setting: Setting, folder: Path) -> None:
    """The pipeline's backup can be opened, and holds at least the bytes of all documents."""
    secret = folder / "identity"
    secret.write_text(str(setting.identities[0]))
    read = setting.programs["age"], "-d", "-i", secret, folder / "base.age"
    with piped([read, (setting.programs["zstd"], "-dc")], subprocess.PIPE, folder / "log") as running:
        stream = running[-1].stdout
        assert stream is not None
        size = sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    if size < setting.source.size:
        raise Failed(f"mongodump wrote {size} bytes of {setting.source.size}: the comparison would be of nothing.")


def _measure(folder: Path, action: Callable[[], None]) -> Measured:
    started = time.perf_counter()
    action()
    seconds = time.perf_counter() - started
    return Measured(seconds, sum(path.stat().st_size for path in folder.rglob("*.age")))


def _take(setting: Setting, folder: Path) -> Taken:
    plan = BackupPlan(
        environment="bench",
        kind="mongodb",
        database=DATABASE,
        uri="",
        destinations=(),
        recipients=setting.recipients,
        zstd_level=LEVEL,
        zstd_threads=0,
        workers=WORKERS,
        stall_timeout=60.0,
        part_size=64 << 20,
        object_size=0,
        split_above=0,
        lock="none",
    )
    source, store = MongoDatabase(setting.source.uri), DirectoryStore("disk", folder)
    return take_base(source, [store], plan, Run(1, SystemClock(), os.urandom))


def _check_base(source: Source, base: Taken) -> None:
    records = [record for object in base.manifest.objects for record in object.namespaces]
    found = sum(record.bytes for record in records), sum(record.documents for record in records)
    if base.degraded or found != (source.size, source.documents):
        raise Failed(f"Our base holds {found} bytes and documents of {(source.size, source.documents)}.")


def _dump(setting: Setting, folder: Path) -> None:
    programs = setting.programs
    commands = [
        (programs["mongodump"], "--quiet", f"--uri={setting.source.uri}{DATABASE}", "--archive"),
        (programs["zstd"], f"-{LEVEL}", "-T0", "-q", "-c"),
        (programs["age"], *(word for key in setting.recipients for word in ("-r", key))),
    ]
    with (folder / "base.age").open("wb") as target, piped(commands, target.fileno(), folder / "log"):
        pass
