"""Our side, in a process of its own: python -m tests.bench.ours WHAT TOLD.json DONE.json

The first file says what to do, the second what was done.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage

from onlyvips.adapters.clock_system import SystemClock
from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.adapters.memory_glibc import give_back_large_blocks
from onlyvips.adapters.memory_python import passing_by_what_is_loaded
from onlyvips.adapters.objects_directory import DirectoryStore
from onlyvips.adapters.objects_s3 import S3Store
from onlyvips.adapters.target_mongodb import MongoTarget
from onlyvips.core.catalog import read_catalog
from onlyvips.core.plan import BackupPlan
from onlyvips.core.restore import RestorePlan, Wanted, plan_restore
from onlyvips.ports import ObjectStore
from onlyvips.steps.backup import Run
from onlyvips.steps.base import take_base
from onlyvips.steps.restore import restore
from onlyvips.steps.shelves import read_shelves
from onlyvips.steps.sound import Reader
from tests.bench.restore_steps import steps_of_load, steps_of_replay
from tests.bench.steps import steps_of

Json = dict[str, Any]


def store(told: Json, part_size: int) -> ObjectStore:
    """A destination by its description."""
    if "path" in told:
        return DirectoryStore(told["name"], Path(told["path"]))
    return S3Store(**told, part_size=part_size)


def base(told: Json) -> Json:
    """A base of the database at every destination; says what its manifest says."""
    plan = BackupPlan(**told["plan"])
    stores = [store(one, plan.part_size) for one in told["stores"]]
    source = MongoDatabase(told["uri"])
    taken = take_base(source, stores, plan, Run(1, SystemClock(), os.urandom), sampler=source)
    records = [record for one in taken.manifest.objects for record in one.namespaces]
    return {
        "prefix": taken.manifest.prefix,
        "bytes": sum(record.bytes for record in records),
        "documents": sum(record.documents for record in records),
        "lacking": taken.lacking,
    }


def steps(told: Json) -> Json:
    """Where the CPU of such a base goes."""
    plan = BackupPlan(**told["plan"])
    return dict(steps_of(MongoDatabase(told["uri"]), store(told["stores"][0], plan.part_size), plan))


def media(told: Json) -> Json:
    """A backup of a directory of media at one S3 destination; says what it lacks."""
    from onlyvips.adapters.bucket_s3 import Address  # a base and its restore do without these
    from onlyvips.adapters.media_directory import DirectoryMedia
    from onlyvips.adapters.tree_s3 import S3Tree
    from onlyvips.steps.media import take_media

    plan = BackupPlan(**told["plan"])
    tree = S3Tree(S3Store(**told["store"], part_size=plan.part_size), Address(**told["store"]))
    taken = take_media(DirectoryMedia(Path(told["source"])), [tree], plan, Run(1, SystemClock(), os.urandom))
    return {"lacking": taken.lacking}


def restored(told: Json) -> Json:
    """The newest state that the destination has, in an empty server; says how much that was."""
    plan = planned(store(told["store"], PART), told["environment"])
    with passing_by_what_is_loaded():  # as the command does
        done = restore(plan, MongoTarget(MongoDatabase(told["uri"])), reader(told), SystemClock())
    return {"documents": done.documents, "entries": done.entries}


def restored_steps(told: Json) -> Json:
    """Where the CPU of such a restore goes."""
    plan = planned(store(told["store"], PART), told["environment"])
    target = MongoTarget(MongoDatabase(told["uri"]))
    return dict(steps_of_replay(plan, target, reader(told)) if plan.logs else steps_of_load(plan, target, reader(told)))


def planned(place: ObjectStore, name: str) -> RestorePlan:
    """Everything there is of an environment, to its latest moment."""
    return plan_restore(name, read_catalog(read_shelves([place], name)), {}, Wanted("latest"))


def reader(told: Json) -> Reader:
    """Of one destination, with as many workers as production has."""
    place, identity = store(told["store"], PART), pyrage.x25519.Identity.from_str(told["identity"])
    return Reader({place.name: place}, (identity,), lambda doing, size: None, told["workers"])


PART = 1 << 26
"""Bytes of a part where nothing is uploaded."""
WHAT: dict[str, Callable[[Json], Json]] = {
    "base": base,
    "steps": steps,
    "media": media,
    "restore": restored,
    "restore steps": restored_steps,
}

if __name__ == "__main__":
    asked, told, done = sys.argv[1:]
    give_back_large_blocks()  # as the command does before a backup or a restore
    Path(done).write_text(json.dumps(WHAT[asked](json.loads(Path(told).read_text()))))
