"""Where the CPU of a restore goes: each step alone, in one thread, on what the one before left in memory."""

from __future__ import annotations

from collections.abc import Mapping

from onlyvips.core.archive import Documents
from onlyvips.core.changes import Create, Put, Remove
from onlyvips.core.replay import Translator
from onlyvips.core.restore import RestorePlan, Source
from onlyvips.ports import TargetDatabase
from onlyvips.steps.copies import hash_of
from onlyvips.steps.load import Sum
from onlyvips.steps.sound import Reader, each, read_object
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
    steps.take("hash of each that is there", lambda: [Sum().add(each(batch)) for batch in back])
    return {step: cpu * share for step, cpu in steps.cpu.items()}


def steps_of_replay(plan: RestorePlan, target: TargetDatabase, reader: Reader) -> Mapping[str, float]:
    """CPU seconds by step; each of these but the writing is done twice: before the target is touched, and then."""
    steps, assumed = Steps(), plan.until
    assert assumed is not None
    entries = [entry for source in plan.logs for found in _opened(steps, source, reader) for entry in found.entries]
    translator = Translator(plan.names, plan.start, assumed)
    done = steps.take(
        "translate the entries", lambda: [one for entry in entries for one in translator.translate(entry)]
    )
    writes = [one for one in done if isinstance(one, Put | Remove)]
    batches = [writes[at : at + _BATCH] for at in range(0, len(writes), _BATCH)]
    steps.take("write inserts and deletes alone", lambda: [target.apply(batch) for batch in batches])
    return steps.cpu


def _opened(steps: Steps, source: Source, reader: Reader) -> list[Documents]:
    """What is in it."""
    (store,), found = reader.stores.values(), list[Documents]()
    what = "read from S3, hashed, age, zstd, checks"
    steps.take(what, lambda: read_object(source, store, reader, "", found.append))
    return found


def _batches(data: bytes) -> list[bytes]:
    documents = list(each(data))
    return [b"".join(documents[at : at + _BATCH]) for at in range(0, len(documents), _BATCH)]
