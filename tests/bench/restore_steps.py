"""Where the CPU of a restore goes: each step alone, in one thread, on what the one before left in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from onlyvips.core.archive import Documents
from onlyvips.core.batches import MOST
from onlyvips.core.changes import Batch, Change, Create, Operation, Put, Remove
from onlyvips.core.little_bson import each
from onlyvips.core.replay import Translator, id_of
from onlyvips.core.restore import RestorePlan, Source
from onlyvips.ports import TargetDatabase
from onlyvips.steps.copies import hash_of
from onlyvips.steps.load import Sum
from onlyvips.steps.sound import Reader, read_object
from tests.bench.steps import Steps

_BATCH = 1000


def steps_of_load(plan: RestorePlan, target: TargetDatabase, reader: Reader) -> Mapping[str, float]:
    """CPU seconds by step; the first object of the base, as if all were such."""
    source, steps = plan.archives[0], Steps()
    (store,), name, share = reader.stores.values(), plan.coming[0].target, len(plan.archives)
    target.apply([Create(name)])
    steps.take("check: read from S3, hashed", lambda: hash_of(store.read(source.key)))
    found = _opened(steps, source, reader)
    batches = [batch for one in found for batch in _batches(one.data)]
    steps.take("insert", lambda: [target.insert(name, batch) for batch in batches])
    steps.take("hash of each document", lambda: [Sum().add(each(batch)) for batch in batches])
    back = steps.take("read back", lambda: list(target.documents(name)))
    steps.take("hash of each that is there", lambda: [Sum().add(batch) for batch in back])
    return {step: cpu * share for step, cpu in steps.cpu.items()}


def steps_of_replay(plan: RestorePlan, target: TargetDatabase, reader: Reader) -> Mapping[str, float]:
    """CPU seconds by step. The first two are done before the target is touched; of a log too long to be kept twice."""
    steps, assumed, done = Steps(), plan.until, list[Operation]()
    assert assumed is not None
    translator = Translator(plan.names, plan.start, assumed)
    (source,), (store,) = plan.logs, reader.stores.values()

    def take(found: Documents) -> None:
        done.extend(one for entry in found.entries for one in translator.translate(entry))

    read, translated = "read from S3, hashed, age, zstd, each entry read", "each entry translated"
    steps.take(read, lambda: read_object(source, store, reader, "", lambda found: None))
    steps.take(translated, lambda: read_object(source, store, reader, "", take))
    steps.cpu[translated] -= steps.cpu[read]
    for at in range(0, len(done), MOST):
        writes = steps.take("diffs applied", partial(_settled, target, done[at : at + MOST]))
        steps.take("write", partial(target.apply, writes))
        steps.take("read back", partial(_read, target, writes))
    return steps.cpu


def _settled(target: TargetDatabase, done: Sequence[Operation]) -> list[Put | Remove]:
    """What some operations in a row make of each document."""
    batch = Batch()
    for one in done:
        assert isinstance(one, Put | Remove | Change)
        batch.add(one)
    for namespace, ids in batch.wanted().items():
        for document in _read(target, [Remove(namespace, id) for id in ids]):
            batch.settle((namespace, id_of(document)), document)
    return batch.writes()


def _read(target: TargetDatabase, writes: Sequence[Put | Remove]) -> list[bytes]:
    """The documents that these are about."""
    found = target.documents(writes[0].namespace, [one.id for one in writes])
    return [document for batch in found for document in batch]


def _opened(steps: Steps, source: Source, reader: Reader) -> list[Documents]:
    """What is in it."""
    (store,), found = reader.stores.values(), list[Documents]()
    what = "read from S3, hashed, age, zstd, checks"
    steps.take(what, lambda: read_object(source, store, reader, "", found.append))
    return found


def _batches(data: bytes) -> list[bytes]:
    documents = list(each(data))
    return [b"".join(documents[at : at + _BATCH]) for at in range(0, len(documents), _BATCH)]
