"""Copies read back from where they are: their stored bytes against the manifest, or, decrypted, their contents too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyrage

from onlyvips.core import backup_report
from onlyvips.core.catalog import NO_MANIFEST, Backup
from onlyvips.core.manifest import MEDIA, Manifest, ObjectRecord, moment
from onlyvips.core.strict_json import to_json
from onlyvips.core.verification import Damage, Verification, verification_key
from onlyvips.errors import Misuse, NotFound, OnlyVipsError, Permanent, Refused, Transient
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps.copies import hash_of, put_once
from onlyvips.steps.media_copies import PlainCopies, Seen
from onlyvips.steps.opened import open_object

Tell = Callable[[int], None]
"""Bytes that were read, each time some were; what it raises ends the verification."""


@dataclass(frozen=True)
class Reading:
    """How copies are read back: with ``identities`` they are decrypted, with ``share`` below 1 only so many objects.
    ``plain`` reads the plain objects of media, which are beside their manifests."""

    clock: Clock
    entropy: Callable[[int], bytes]
    share: float = 1.0
    identities: tuple[Any, ...] = ()
    tell: Tell = lambda size: None
    plain: PlainCopies | None = None


def identities(keys: Sequence[str]) -> tuple[Any, ...]:
    """age's identities of these secret keys. Raises Refused, without showing one."""
    try:
        return tuple(pyrage.x25519.Identity.from_str(key.strip()) for key in keys)
    except pyrage.IdentityError:
        # Without its cause, which may quote the key.
        raise Refused("An identity is no age secret key: correct what its reference points to.") from None


def check_opens(keys: Sequence[Any], manifests: Iterable[Manifest]) -> None:
    """Raise Refused where a backup is for none of these identities: known before any of it is read."""
    ours = {str(key.to_public()) for key in keys}
    for one in manifests:
        if not ours & set(one.recipients):
            raise Refused(
                f"None of the identities here opens {one.prefix.rstrip('/')}: it is for {', '.join(one.recipients)}, "
                f"and here is what opens {', '.join(sorted(ours))}. Nothing was read; give the identity of "
                "one of its recipients (backup.recipients)."
            )


def verify(backup: Backup, stores: Sequence[ObjectStore], reading: Reading) -> list[Verification]:
    """Read back each store's copy of ``backup``, all stores at once, and keep what was found as evidence in each.

    A store that does not have the backup at all is left out: the catalog says so.
    """
    manifest = backup.manifest
    if manifest is None:
        raise Permanent(f"{backup.prefix} has no manifest that can be believed: there is nothing to compare it with.")
    held = {copy.destination for copy in backup.copies if not copy.away and NO_MANIFEST not in copy.flaws}
    chosen = _chosen(manifest, reading)
    mine = [store for store in stores if store.name in held]
    with ThreadPoolExecutor(max(1, len(mine))) as pool:
        found = list(pool.map(lambda store: _verify_copy(store, manifest, chosen, reading), mine))
    for one in found:
        if one.damage or (one.good and one.whole):
            _keep(one, manifest, stores, reading)
    return found


def _chosen(manifest: Manifest, reading: Reading) -> list[ObjectRecord]:
    """A share of the objects."""
    keys = set(_share([one.key for one in manifest.objects], reading))
    return [one for one in manifest.objects if one.key in keys]


def _share(keys: list[str], reading: Reading) -> list[str]:
    """As many of them as were asked for, others each time; one at least."""
    if reading.share >= 1:
        return keys
    salt = reading.entropy(8)
    shuffled = sorted(keys, key=lambda key: hashlib.sha256(salt + key.encode()).digest())
    return shuffled[: max(1, round(reading.share * len(shuffled)))]


def _verify_copy(store: ObjectStore, manifest: Manifest, chosen: list[ObjectRecord], reading: Reading) -> Verification:
    damage, size, away = list[Damage](), 0, ""
    facts = {fact.name: fact.value for fact in manifest.facts}
    opened = partial(open_object, identities=reading.identities, window=manifest.window, facts=facts)
    check = opened if reading.identities else _stored
    for record in chosen:
        chunks = _counted(store.read(manifest.prefix + record.key), reading.tell)
        try:
            if why := check(chunks, record):
                damage.append(Damage(record.key, why))
        except NotFound as error:
            damage.append(Damage(record.key, str(error)))
        except (Transient, Permanent) as error:
            away = str(error)
            break
        size += record.size
    beside = Seen(0, 0, 0, ())
    if manifest.kind == MEDIA and not away:
        try:
            beside = _plain(reading).read_back(store.name, manifest, partial(_share, reading=reading), reading.tell)
        except (Transient, Permanent) as error:
            away = str(error)
    return Verification(
        backup=manifest.prefix.rstrip("/"),
        kind=manifest.kind,
        destination=store.name,
        at=moment(reading.clock.now()),
        how="decrypted" if reading.identities else "stored",
        objects=len(chosen) + beside.objects,
        of=len(manifest.objects) + beside.of,
        size=size + beside.size,
        damage=(*damage, *beside.damage),
        away=away,
    )


def _plain(reading: Reading) -> PlainCopies:
    if reading.plain is None:
        raise Misuse("Media are read back with their trees.")
    return reading.plain


def _counted(chunks: Iterator[bytes], tell: Tell) -> Iterator[bytes]:
    for chunk in chunks:
        tell(len(chunk))
        yield chunk


def _stored(chunks: Iterator[bytes], record: ObjectRecord) -> str:
    size, sha256 = hash_of(chunks)
    if (size, sha256) == (record.size, record.sha256):
        return ""
    return f"has {size} bytes with SHA-256 {sha256}, the manifest says {record.size} with {record.sha256}"


def _keep(found: Verification, manifest: Manifest, stores: Sequence[ObjectStore], reading: Reading) -> None:
    """Write it to every store that takes it: evidence is worth most where the copy itself is not."""
    nonce = reading.entropy(4).hex()
    key = verification_key(manifest.prefix, found.destination, found.at, found.good, nonce)
    document, refusals = to_json(found), list[str]()
    for store in stores:
        try:
            put_once(store, key, document)
        except OnlyVipsError as error:
            refusals.append(str(error))
    if len(refusals) == len(stores):
        told = backup_report.verification(found)
        raise Permanent(f"{told} No store took the evidence of it ({key}): {'; '.join(refusals)}")
