"""A degraded or damaged backup finished from a good copy: each object is compared, what is bad is written again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from onlyvips.core.catalog import Backup
from onlyvips.core.manifest import (
    MANIFEST_KEY,
    MEDIA,
    CopiedObject,
    CopyRecord,
    Manifest,
    ObjectRecord,
    copy_from_json,
    copy_key,
    moment,
)
from onlyvips.core.strict_json import BadManifest, to_json
from onlyvips.errors import Fenced, NotFound, OnlyVipsError, Permanent
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps.copies import hash_of
from onlyvips.steps.media_copies import PlainCopies


@dataclass(frozen=True)
class Repaired:
    """One destination after a repair: keys that were written, and why it is still no copy ("" when it is one)."""

    destination: str
    written: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class Repair:
    """Who repairs: the ``epoch`` of the kind's lease, and ``check``, which raises when the lease is lost. ``plain``
    brings the plain objects of media; ``newest``: it is the backup that their trees should be."""

    epoch: int
    clock: Clock
    check: Callable[[], None] = lambda: None
    plain: PlainCopies | None = None
    newest: bool = True


def repair(backup: Backup, stores: Sequence[ObjectStore], by: Repair) -> list[Repaired]:
    """Make a complete copy of ``backup`` in each of ``stores``, and record where it is.

    An object is taken from the first store whose bytes are as the manifest says; each is read before it is believed.
    Raises Permanent when no manifest can be believed. A store that cannot be finished does not stop the others.
    """
    if backup.manifest is None:
        raise Permanent(f"{backup.prefix} has no manifest that can be believed: nothing says what a copy would be.")
    return [_repair_one(backup.manifest, store, stores, by) for store in stores]


def _repair_one(manifest: Manifest, target: ObjectStore, stores: Sequence[ObjectStore], by: Repair) -> Repaired:
    written: list[str] = []
    try:
        for record in manifest.objects:
            if not _is_good(target, manifest, record, by):
                _bring(manifest, record, target, [store for store in stores if store is not target], by)
                written.append(record.key)
        if by.plain is not None and manifest.kind == MEDIA:
            written += by.plain.bring(target.name, manifest, by.check, into_tree=by.newest)
        for key, data in _records(manifest, target, by, anew=bool(written)):
            _replace(target, manifest.prefix + key, data)
            written.append(key)
    except Fenced:
        raise
    except OnlyVipsError as error:
        return Repaired(target.name, tuple(written), str(error))
    return Repaired(target.name, tuple(written))


# --- objects ---------------------------------------------------------------------------------------------------------


def _is_good(store: ObjectStore, manifest: Manifest, record: ObjectRecord, by: Repair) -> bool:
    try:
        return hash_of(_watched(store.read(manifest.prefix + record.key), by)) == (record.size, record.sha256)
    except NotFound:
        return False


def _watched(chunks: Iterator[bytes], by: Repair) -> Iterator[bytes]:
    for chunk in chunks:
        by.check()
        yield chunk


def _bring(
    manifest: Manifest, record: ObjectRecord, target: ObjectStore, sources: Sequence[ObjectStore], by: Repair
) -> None:
    """Write it from the first source that gives the right bytes to the last one; nothing else becomes visible."""
    refusals = []
    for source in sources:
        try:
            _copy(manifest.prefix + record.key, record, source, target, by)
        except _BadSource as error:
            refusals.append(f"{source.name}: {error}")
            continue
        if _is_good(target, manifest, record, by):
            return
        raise Permanent(f"{target.name}: {record.key} was written again and reads back different: do not trust it.")
    raise Permanent(f"{record.key} is good in no other copy, so it cannot be repaired ({'; '.join(refusals)}).")


class _BadSource(Permanent):
    """This copy cannot give the object."""


def _copy(key: str, record: ObjectRecord, source: ObjectStore, target: ObjectStore, by: Repair) -> None:
    upload = target.upload(key, over=True)
    try:
        found = hash_of(_passed(_watched(_given(source, key), by), upload.write))
        if found != (record.size, record.sha256):
            raise _BadSource(f"has {found[0]} bytes with SHA-256 {found[1]}")
        upload.finish()
    except BaseException:
        upload.abort()
        raise


def _given(source: ObjectStore, key: str) -> Iterator[bytes]:
    try:
        yield from source.read(key)
    except OnlyVipsError as error:
        raise _BadSource(str(error)) from error


def _passed(chunks: Iterator[bytes], write: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


# --- what says that it is a copy -------------------------------------------------------------------------------------


def _records(manifest: Manifest, target: ObjectStore, by: Repair, *, anew: bool) -> Iterator[tuple[str, bytes]]:
    """The copy's record under this epoch (or in the place of one that is damaged), then the manifest: what differs."""
    found = {one.key.removeprefix(manifest.prefix): one for one in target.list(f"{manifest.prefix}copies/")}
    mine = [key for key in found if key.startswith(f"copies/{target.name}-")]
    damaged = [key for key in mine if not _is_record(b"".join(target.read(manifest.prefix + key)))]
    fresh = [copy_key(target.name, by.epoch)] if anew or not mine else []
    for key in [*damaged, *fresh]:
        yield key, to_json(_copy_record(manifest, target, by))
    data = to_json(manifest)
    if not _holds(target, manifest.prefix + MANIFEST_KEY, data):
        yield MANIFEST_KEY, data


def _is_record(data: bytes) -> bool:
    try:
        copy_from_json(data)
    except BadManifest:
        return False
    return True


def _copy_record(manifest: Manifest, target: ObjectStore, by: Repair) -> CopyRecord:
    held = []
    for record in manifest.objects:
        head = target.head(manifest.prefix + record.key)
        held.append(CopiedObject(record.key, record.size, record.sha256, head.version if head else ""))
    return CopyRecord(target.name, by.epoch, manifest.id, moment(by.clock.now()), tuple(held))


def _replace(store: ObjectStore, key: str, data: bytes) -> None:
    upload = store.upload(key, over=True)
    try:
        upload.write(data)
        upload.finish()
    except BaseException:
        upload.abort()
        raise


def _holds(store: ObjectStore, key: str, data: bytes) -> bool:
    try:
        return b"".join(store.read(key)) == data
    except NotFound:
        return False
