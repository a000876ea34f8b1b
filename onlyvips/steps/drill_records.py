"""Records of drills in every destination: signed and written once, believed only where the signature is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from onlyvips.core.drills import (
    DrillRecord,
    Drills,
    Unverified,
    as_stored,
    id_of_key,
    read_record,
    record_key,
    signature_key,
)
from onlyvips.errors import NotFound, OnlyVipsError, Permanent, Transient
from onlyvips.ports import ObjectStore
from onlyvips.steps.copies import put_once
from onlyvips.steps.signature import Signer, signed_by

_AT_ONCE = 8


@dataclass(frozen=True)
class KeptRecord:
    """Which destinations have the record and its signature, read back; ``refusals`` say why others do not."""

    key: str
    stores: tuple[str, ...]
    refusals: tuple[str, ...]


def keep_record(record: DrillRecord, signer: Signer, stores: Sequence[ObjectStore]) -> KeptRecord:
    """Sign it and write it to every store that takes it, the signature first. Doing it again is the same.

    Raises Transient when no store took it.
    """
    data = as_stored(record)
    taken, refusals = list[str](), list[str]()
    for store in stores:
        try:
            put_once(store, signature_key(record.key), signer.sign(data))
            put_once(store, record.key, data)
        except OnlyVipsError as error:
            refusals.append(f"{store.name}: {error}")
            continue
        taken.append(store.name)
    if not taken:
        told = "; ".join(refusals)
        raise Transient(f"No store took the record of drill {record.id} ({record.verdict}): {told}", delay=5.0)
    return KeptRecord(record.key, tuple(taken), tuple(refusals))


def read_records(stores: Sequence[ObjectStore], environment: str, keys: Sequence[str], newest: int = 0) -> Drills:
    """Every record, or the ``newest`` so many of them; of each the first copy whose signature is good by one of the
    public ``keys``. Raises Transient when no store answers."""
    with ThreadPoolExecutor(max(1, len(stores))) as pool:
        listed = list(pool.map(lambda store: _ids(store, environment), stores))
    away = {store.name: found for store, found in zip(stores, listed, strict=True) if isinstance(found, str)}
    if len(away) == len(stores):
        raise Transient(f"No destination could be asked for records of drills: {' '.join(away.values())}")
    holding = {store: found for store, found in zip(stores, listed, strict=True) if not isinstance(found, str)}
    ids = sorted(set().union(*holding.values()))[-newest if newest else 0 :]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda id: _one(environment, id, holding, keys), ids))
    return Drills(
        records=tuple(one for one in found if isinstance(one, DrillRecord)),
        unverified=tuple(one for one in found if isinstance(one, Unverified)),
        away=away,
    )


def _ids(store: ObjectStore, environment: str) -> set[str] | str:
    """The records that a store lists (of a signature alone the record was never written); or why it cannot be read."""
    try:
        found = store.list(record_key(environment, "").removesuffix(".json"))
    except OnlyVipsError as error:
        return str(error)
    return {id for one in found if one.key.endswith(".json") and (id := id_of_key(one.key))}


def _one(
    environment: str, id: str, holding: Mapping[ObjectStore, set[str]], keys: Sequence[str]
) -> DrillRecord | Unverified:
    why, silent = list[str](), list[Transient]()
    for store in (one for one, ids in holding.items() if id in ids):
        try:
            found = _believed(store, environment, id, keys)
        except Transient as error:
            silent.append(error)
            continue
        if isinstance(found, DrillRecord):
            return found
        why.append(f"{store.name}: {found}")
    if silent:
        raise Transient(f"The record of drill {id} could not be read: {silent[0]}") from silent[0]
    return Unverified(id, "; ".join(why))


def _believed(store: ObjectStore, environment: str, id: str, keys: Sequence[str]) -> DrillRecord | str:
    """The record in one store when it may be believed, else why not."""
    key = record_key(environment, id)
    try:
        data = b"".join(store.read(key))
        signature = b"".join(store.read(signature_key(key)))
    except NotFound:
        return "it has no signature"
    except Permanent as error:
        return str(error).rstrip(".")
    if not keys:
        return "no public key is known to check it with"
    if not signed_by(data, signature, keys):
        return "its signature is not by a key of recovery.drill.public_keys, or not of these bytes"
    try:
        return read_record(data, environment, id)
    except Permanent as error:
        return str(error).rstrip(".")
