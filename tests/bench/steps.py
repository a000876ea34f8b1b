"""Where the CPU of a base goes: each step of the pipe alone, in one thread, on what the one before left in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import fastcrc
import pyrage

from onlyvips.adapters.database_mongodb import MongoDatabase
from onlyvips.core.archive import Tally, write_collection
from onlyvips.core.plan import BackupPlan
from onlyvips.ports import ObjectStore, Stored
from onlyvips.steps.copies import hash_of
from onlyvips.steps.frames import compress
from onlyvips.steps.pipe import Hose, recipients

T = TypeVar("T")
_BLOCK = 1 << 20
_KEY = "bench/steps"


class Steps:
    """CPU seconds of this process by step, in the order in which they were taken."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}

    def take(self, name: str, action: Callable[[], T]) -> T:
        """Do it, and remember what it cost, beside what it cost before."""
        before = time.process_time()
        done = action()
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - before
        return done


def steps_of(source: MongoDatabase, store: ObjectStore, plan: BackupPlan) -> dict[str, float]:
    """CPU seconds for each GB of BSON, by step; the first collection of the database goes through."""
    one, steps, tally = source.namespaces(plan.database)[0], Steps(), Tally()
    name = (one.database, one.collection)
    steps.take("receive from the server", lambda: sum(map(len, source.documents(one))))
    batches = list(source.documents(one))
    frames = steps.take("framing, CRC-64", lambda: list(write_collection(name, batches, tally, fastcrc.crc64.xz)))
    packed = steps.take(f"zstd, level {plan.zstd_level}", lambda: list(compress(frames, plan.zstd_level)))
    stored = b"".join(steps.take("age", lambda: _encrypted(packed, plan)))
    blocks = [stored[at : at + _BLOCK] for at in range(0, len(stored), _BLOCK)]
    steps.take("SHA-256 of the whole", lambda: hash_of(iter(blocks)))
    steps.take("upload to S3, each part and all hashed", lambda: _uploaded(blocks, store))
    steps.take("read back from S3, hashed", lambda: hash_of(store.read(_KEY)))
    return {step: cpu / tally.size * 1e9 for step, cpu in steps.cpu.items()}


def _encrypted(packed: list[bytes], plan: BackupPlan) -> list[bytes]:
    found = list[bytes]()
    hose = Hose(iter(packed), found.append)
    pyrage.encrypt_io(hose, hose, recipients(plan.recipients))
    return found


def _uploaded(blocks: list[bytes], store: ObjectStore) -> Stored:
    upload = store.upload(_KEY)
    for block in blocks:
        upload.write(block)
    return upload.finish()
