"""Records of drills in every destination: signed and written once, believed only where the signature is good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from onlyvips.core.drills import (
    Begun,
    DrillRecord,
    Drills,
    Stored,
    Unverified,
    as_stored,
    begun_key,
    id_of_key,
    read_begun,
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
    return _keep(record, f"the record of drill {record.id} ({record.verdict})", signer, stores)


def keep_begun(begun: Begun, signer: Signer, stores: Sequence[ObjectStore]) -> KeptRecord:
    """That a drill began, stored as its record is. Raises Transient when no store took it."""
    return _keep(begun, f"that drill {begun.id} begins, so it does not", signer, stores)


def _keep(record: DrillRecord | Begun, told: str, signer: Signer, stores: Sequence[ObjectStore]) -> KeptRecord:
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
        raise Transient(f"No store took {told}: {'; '.join(refusals)}", delay=5.0)
    return KeptRecord(record.key, tuple(taken), tuple(refusals))


def read_records(stores: Sequence[ObjectStore], environment: str, keys: Sequence[str], newest: int = 0) -> Drills:
    """Every drill, or the ``newest`` so many of them: its record, or where there is none, that it began; of each the
    first copy whose signature is good by one of the public ``keys``. Raises Transient when no store answers."""
    with ThreadPoolExecutor(max(1, len(stores))) as pool:
        listed = list(pool.map(lambda store: _keys(store, environment), stores))
    away = {store.name: found for store, found in zip(stores, listed, strict=True) if isinstance(found, str)}
    if len(away) == len(stores):
        raise Transient(f"No destination could be asked for records of drills: {' '.join(away.values())}")
    holding = {store: found for store, found in zip(stores, listed, strict=True) if not isinstance(found, str)}
    every = set[str]().union(*holding.values())
    ids = sorted({id_of_key(key) for key in every})[-newest if newest else 0 :]
    ended = [id for id in ids if record_key(environment, id) in every]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(
            pool.map(
                lambda id: _one(id, _Place(record_key(environment, id), environment, keys), read_record, holding), ended
            )
        )
        begun = list(
            pool.map(
                lambda id: _one(id, _Place(begun_key(environment, id), environment, keys), read_begun, holding),
                [id for id in ids if id not in ended],
            )
        )
    return Drills(
        records=tuple(one for one in found if isinstance(one, DrillRecord)),
        unverified=tuple(
            sorted((one for one in (*found, *begun) if isinstance(one, Unverified)), key=lambda one: one.id)
        ),
        away=away,
        unended=tuple(one for one in begun if isinstance(one, Begun)),
    )


@dataclass(frozen=True)
class _Place:
    """Where something is in every destination, of which environment, and by which public keys it is signed."""

    key: str
    environment: str
    keys: Sequence[str]


def _keys(store: ObjectStore, environment: str) -> set[str] | str:
    """What a store lists of drills (of a signature alone nothing was ever written); or why it cannot be read."""
    try:
        found = store.list(record_key(environment, "").removesuffix(".json"))
    except OnlyVipsError as error:
        return str(error)
    return {one.key for one in found if one.key.endswith(".json") and id_of_key(one.key)}


def _one(
    id: str, place: _Place, read: Callable[[bytes, str, str], Stored], holding: Mapping[ObjectStore, set[str]]
) -> Stored | Unverified:
    why, silent = list[str](), list[Transient]()
    for store in (one for one, keys in holding.items() if place.key in keys):
        try:
            found = _believed(store, id, place, read)
        except Transient as error:
            silent.append(error)
            continue
        if not isinstance(found, str):
            return found
        why.append(f"{store.name}: {found}")
    if silent:
        raise Transient(f"The record of drill {id} could not be read: {silent[0]}") from silent[0]
    return Unverified(id, "; ".join(why))


def _believed(store: ObjectStore, id: str, place: _Place, read: Callable[[bytes, str, str], Stored]) -> Stored | str:
    """What is in one store when it may be believed, else why not."""
    try:
        data = b"".join(store.read(place.key))
        signature = b"".join(store.read(signature_key(place.key)))
    except NotFound:
        return "it has no signature"
    except Permanent as error:
        return str(error).rstrip(".")
    if not place.keys:
        return "no public key is known to check it with"
    if not signed_by(data, signature, place.keys):
        return "its signature is not by a key of recovery.drill.public_keys, or not of these bytes"
    try:
        return read(data, place.environment, id)
    except Permanent as error:
        return str(error).rstrip(".")
