"""Backups of media on simulators, and what they bring back: found by hand, with nothing of the code that wrote them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from backports import zstd

from onlyvips.core.catalog import Backup, read_catalog
from onlyvips.core.manifest import manifest_from_json
from onlyvips.core.media_paths import to_key, to_path
from onlyvips.core.plan import BackupPlan
from onlyvips.ports import MediaSource
from onlyvips.steps.backup import Run, Taken
from onlyvips.steps.media import MediaSession, take_media
from onlyvips.steps.shelves import read_shelves
from tests.procedures.test_backup import PLAN as BASE_PLAN
from tests.simulators.media import SimulatedTree
from tests.simulators.objects import Life, SimulatedStore

PLAN = replace(BASE_PLAN, kind="media", database="", workers=2)
HALF_A_PART = 5 << 20
_numbers = itertools.count(1)


class Minutes:
    """A clock on which each backup begins a minute after the one before."""

    def __init__(self, number: int) -> None:
        self._now = 1785585600.0 + 60 * number

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("must not be called")


def trees(*names: str, life: Life | None = None) -> list[SimulatedTree]:
    return [SimulatedTree(SimulatedStore(name, life)) for name in names]


def reborn(places: Sequence[SimulatedTree], life: Life | None = None) -> list[SimulatedTree]:
    """The same objects, and a process that lives."""
    found = trees(*(place.name for place in places), life=life)
    for place, before in zip(found, places, strict=True):
        place.store.objects = dict(before.store.objects)
    return found


def run_of(key: str = "") -> Run:
    number = next(_numbers)
    return Run(number, Minutes(number), lambda n: number.to_bytes(n, "big"), key=key)


def take(source: MediaSource, places: Sequence[SimulatedTree], plan: BackupPlan = PLAN) -> Taken:
    return take_media(source, places, plan, run_of())


def begin(source: MediaSource, places: Sequence[SimulatedTree], plan: BackupPlan = PLAN) -> MediaSession:
    return MediaSession(source, places, plan, run_of())


def brought_back(objects: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """What a destination brings back of one backup, as the format's document says by hand."""
    place = f"lab/media/{name}"
    manifest = manifest_from_json(objects[f"{place}/manifest.json"])
    (record,) = manifest.objects
    stored = objects[f"{place}/{record.key}"]
    assert hashlib.sha256(stored).hexdigest() == record.sha256
    found = {}
    for line in zstd.decompress(stored).splitlines():
        one = json.loads(line)
        if "key" in one:
            sha256 = one["sha256"]
            here = objects.get(f"lab/media-tree/{to_path(one['key'])}")
            if here is None or hashlib.sha256(here).hexdigest() != sha256:
                here = objects[f"lab/media-versions/{sha256[:2]}/{sha256}"]
            assert hashlib.sha256(here).hexdigest() == sha256
            found[one["key"]] = here
    return found


def synced(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    """What ``aws s3 sync`` of the tree brings back."""
    start = "lab/media-tree/"
    return {to_key(key.removeprefix(start)): data for key, data in objects.items() if key.startswith(start)}


def published(place: SimulatedTree) -> list[str]:
    return [key.split("/")[2] for key in sorted(place.store.objects) if key.endswith("/manifest.json")]


def name_of(taken: Taken) -> str:
    return f"{taken.manifest.id}-e{taken.manifest.epoch}"


def facts(taken: Taken) -> dict[str, str]:
    return {fact.name: fact.value for fact in taken.manifest.facts}


def catalog(places: Sequence[SimulatedTree]) -> list[Backup]:
    return read_catalog(read_shelves([place.store for place in places], "lab"))
