"""A base of the database: ours to one and to three copies, beside mongodump's two usual pipelines."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import fastcrc
from rich.console import Console

from onlyvips import environment
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.core.archive import Closed, Reader
from onlyvips.core.manifest import MANIFEST_KEY, Manifest
from onlyvips.core.strict_json import from_json
from onlyvips.ports import ObjectStore
from onlyvips.steps.opened import open_object
from tests.bench.measure import Cost, Failed, end
from tests.bench.programs import Programs
from tests.bench.servers import ACCESS, BUCKET, DATABASE, REGION, SECRET, serving
from tests.bench.setting import Command, Round, Setting, set_up, take_turns

LEVEL = 3
"""As in production's environment, which ours reads."""
ZSTD, GZIP = "base.archive.zst.age", "base.archive.gz"


@dataclass(frozen=True)
class Found:
    """The source in bytes and documents, what each side cost in each round, and CPU seconds for each GB of ours by
    step."""

    size: int
    documents: int
    rounds: Sequence[Round]
    steps: Mapping[str, float]


def measure(programs: Programs, megabytes: int, rounds: int, console: Console) -> Found:
    """All of it."""
    with set_up(programs, ("s3-a", "s3-b")) as empty, serving(programs["firehose"], megabytes) as source:
        setting = replace(empty, source=source)
        sides: dict[str, Callable[[bool], Cost]] = {
            "ours, one copy": partial(_ours, setting, 1),
            "ours, three copies": partial(_ours, setting, 3),
            "mongodump | zstd | age | aws": partial(_pipeline, setting, ZSTD, zstd(setting)),
            "mongodump --gzip | aws": partial(_pipeline, setting, GZIP, _gzip(setting)),
        }
        found = take_turns(sides, rounds, console)
        console.print("each step of ours by itself …")
        return Found(source.size, source.documents, found, _steps(setting))


def _steps(setting: Setting) -> dict[str, float]:
    assert setting.source is not None
    told = [s3(setting.buckets[0].name, setting.buckets[0].endpoint)]
    with _cleared(setting):
        _, done = setting.ours("steps", {"uri": setting.source.uri, "plan": plan(setting), "stores": told})
    return dict(done)


def _ours(setting: Setting, copies: int, check: bool) -> Cost:
    source, directory = setting.source, setting.folder / "directory"
    assert source is not None
    directory.mkdir(exist_ok=True)
    told = [s3(place.name, place.endpoint) for place in setting.buckets]
    told = [*told, {"name": "directory", "path": str(directory)}][:copies]
    with _cleared(setting):
        cost, done = setting.ours("base", {"uri": source.uri, "plan": plan(setting), "stores": told})
        found = done["bytes"], done["documents"]
        if done["lacking"] or found != (source.size, source.documents):
            raise Failed(f"Our base has {found} bytes and documents of {source}; lacking: {done['lacking'] or 'none'}.")
        if check:
            for one in told:
                _check_ours(setting, _store(one), done["prefix"])
        return replace(cost, size=setting.buckets[0].size())


def plan(setting: Setting) -> dict[str, Any]:
    """As production's environment says, but for who and where."""
    asked = environment.backup_plan(environment.load("production"))
    ours = {"environment": "bench", "database": DATABASE, "uri": "", "destinations": ()}
    return asdict(replace(asked, recipients=setting.recipients, **ours))


def s3(name: str, endpoint: str) -> dict[str, str]:
    keys = {"access_key": ACCESS, "secret_key": SECRET, "region": REGION}
    return {"name": name, "endpoint": endpoint, "bucket": BUCKET, **keys}


def _store(told: dict[str, str]) -> ObjectStore:
    return DirectoryStore(told["name"], Path(told["path"])) if "path" in told else S3Store(**told)


def _check_ours(setting: Setting, store: ObjectStore, prefix: str) -> None:
    """Every object opens, and holds what the manifest says."""
    manifest = from_json(b"".join(store.read(prefix + MANIFEST_KEY)), Manifest)
    for record in manifest.objects:
        if wrong := open_object(store.read(prefix + record.key), record, setting.identities[:1]):
            raise Failed(f"{store.name}: {record.key} {wrong}")


def zstd(setting: Setting) -> list[Command]:
    """A dump of the source, compressed and encrypted, but for the upload."""
    programs, recipients = setting.programs, [word for key in setting.recipients for word in ("-r", key)]
    return [
        _mongodump(setting, "--archive"),
        (programs["zstd"], f"-{LEVEL}", "-T0", "-q", "-c"),
        (programs["age"], *recipients),
    ]


def _gzip(setting: Setting) -> list[Command]:
    return [_mongodump(setting, "--gzip", "--archive")]


def _mongodump(setting: Setting, *words: str) -> Command:
    assert setting.source is not None
    return (setting.programs["mongodump"], "--quiet", f"--uri={setting.source.uri}{DATABASE}", *words)


def _pipeline(setting: Setting, key: str, commands: Sequence[Command], check: bool) -> Cost:
    with _cleared(setting):
        cost = setting.run(*commands, setting.aws("cp", "--only-show-errors", "-", setting.url(key)))
        size = setting.buckets[0].client().head_object(Bucket=BUCKET, Key=key)["ContentLength"]
        if check:
            _check_pipeline(setting, key)
        return replace(cost, size=size)


def _check_pipeline(setting: Setting, key: str) -> None:
    """Its object opens, is a whole archive, and holds every document."""
    assert setting.source is not None
    plain = _plain_gzip(setting, key) if key == GZIP else _plain_zstd(setting, key)
    reader, closed = Reader(fastcrc.crc64.xz), list[Closed]()
    for chunk in plain:
        closed += [event for event in reader.feed(chunk) if isinstance(event, Closed)]
    reader.finish()
    found = sum(one.size for one in closed), sum(one.count for one in closed)
    if found != (setting.source.size, setting.source.documents):
        raise Failed(f"{key} has {found} bytes and documents of {setting.source}.")


def _plain_gzip(setting: Setting, key: str) -> Iterator[bytes]:
    unpack = zlib.decompressobj(wbits=31)
    for chunk in setting.buckets[0].client().get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(1 << 20):
        yield unpack.decompress(chunk)


def _plain_zstd(setting: Setting, key: str) -> Iterator[bytes]:
    stored = setting.buckets[0].folder / key
    age = subprocess.Popen([setting.programs["age"], "-d", "-i", setting.identity, stored], stdout=subprocess.PIPE)
    zstd = subprocess.Popen([setting.programs["zstd"], "-dc"], stdin=age.stdout, stdout=subprocess.PIPE)
    assert zstd.stdout is not None
    try:
        yield from iter(lambda: zstd.stdout.read(1 << 20), b"")
    finally:
        end([age, zstd])


@contextmanager
def _cleared(setting: Setting) -> Iterator[None]:
    """Afterwards nothing is left of a side's backup."""
    try:
        yield
    finally:
        for place in setting.buckets:
            place.clear()
        for path in (setting.folder / "directory").glob("*"):
            shutil.rmtree(path)
