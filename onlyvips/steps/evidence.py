"""The evidence of a release: one JSON document in every store of the backups, and a page of it, each written once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from onlyvips.core import report
from onlyvips.core.plan import ReleasePlan
from onlyvips.core.record import Record
from onlyvips.errors import Conflict, NotFound, OnlyVipsError, Transient
from onlyvips.ports import Clock, ObjectStore
from onlyvips.steps.several import at_once


def key_of(record: Record) -> str:
    """Where the evidence of a release is, in every store."""
    return key_at(record.environment, record.id)


def key_at(environment: str, release: str) -> str:
    """Where the evidence of ``release`` is, in every store of ``environment``."""
    return f"{environment}/evidence/release/{release}.json"


def page_key(key: str) -> str:
    """Where the page is of the evidence at ``key``."""
    return f"{key.removesuffix('.json')}.html"


@dataclass(frozen=True)
class Kept:
    """Where the evidence is: ``stores`` have it under ``key``, ``pages`` have its page too, ``refusals`` say why others
    do not; ``changes`` is the key of what a person commits."""

    key: str
    stores: tuple[str, ...]
    refusals: tuple[str, ...]
    pages: tuple[str, ...] = ()
    changes: str = ""

    @property
    def observed(self) -> str:
        """One sentence of it."""
        lacking = f"; not kept by {'; '.join(self.refusals)}" if self.refusals else ""
        commit = f"; commit {self.changes}" if self.changes else ""
        return f"evidence {self.key} in {', '.join(self.stores)}{commit}{lacking}"


Opened = Callable[[], ObjectStore]
Draw = Callable[[Mapping[str, Any]], str]
"""From the document to its page, one HTML document."""


def keep_evidence(
    stores: Mapping[str, Opened], clock: Clock, plan: ReleasePlan, record: Record, draw: Draw | None = None
) -> Kept:
    """Write it to every store that takes it, then its page; one that has it from an earlier attempt took it.

    Raises Transient when no store took it: the release is over, its evidence is not lost, for the record stays open.
    Without a page a release ends all the same.
    """
    document, key = _document(clock, plan, record), key_of(record)
    taken, refusals = put(stores, key, _written(document))
    if not taken:
        raise Transient(
            f"No store took the evidence {key}: {'; '.join(refusals)} Users are served, the release stays open: "
            "correct one of them, then run `onlyvips "
            f"release reconcile -e {record.environment} -s {record.service}`."
        )
    pages = list[str]()
    if draw is not None:
        pages, more = _keep_page({name: stores[name] for name in taken}, key, draw)
        refusals += [f"page: {one}" for one in more]
    return Kept(key, tuple(taken), tuple(refusals), tuple(pages))


def changes_key(key: str) -> str:
    """Where that is which a person commits after the release with the evidence at ``key``."""
    return f"{key.removesuffix('.json')}.changes.yaml"


def keep_changes(stores: Mapping[str, Opened], kept: Kept, write: Callable[[], bytes]) -> Kept:
    """What the release changed, beside its evidence, in the stores that took that. Without it a release ends all the
    same, and says so."""
    try:
        taken, refusals = put({name: stores[name] for name in kept.stores}, changes_key(kept.key), write())
    except Exception as error:  # noqa: BLE001 - the evidence is kept, and what runs can be read at any time
        why = str(error) if isinstance(error, OnlyVipsError) else f"{type(error).__name__}: {error}"
        taken, refusals = [], [why]
    told = tuple(f"changes to commit: {one}" for one in refusals)
    return replace(kept, changes=changes_key(kept.key) if taken else "", refusals=(*kept.refusals, *told))


def put(stores: Mapping[str, Opened], key: str, data: bytes) -> tuple[list[str], list[str]]:
    """Write it to all stores at once; returns those that have it now, and why others do not."""
    taken, refusals = list[str](), list[str]()
    for name, found in zip(stores, at_once([partial(_put, one, key, data) for one in stores.values()]), strict=True):
        if isinstance(found, OnlyVipsError):
            refusals.append(f"{name}: {found}")
        elif isinstance(found, Exception):
            raise found
        else:
            taken.append(name)
    return taken, refusals


def _put(opened: Opened, key: str, data: bytes) -> None:
    with suppress(Conflict):
        opened().put_new(key, data)


def _keep_page(stores: Mapping[str, Opened], key: str, draw: Draw) -> tuple[list[str], list[str]]:
    """Of the document as it is kept, which an earlier attempt may have written."""
    try:
        page = draw(json.loads(find(stores, key) or b"")).encode()
    except Exception as error:  # noqa: BLE001 - the document is kept, and a page can be made of it at any time
        return [], [f"it could not be made ({type(error).__name__}: {error})"]
    return put(stores, page_key(key), page)


def find(stores: Mapping[str, Opened], key: str) -> bytes | None:
    """What the first store that has ``key`` has; None where all answer that they have it not.

    Raises Transient, with what each said, when none has it and not all could be asked.
    """
    troubles = list[str]()
    for name, opened in stores.items():
        try:
            return b"".join(opened().read(key))
        except NotFound:
            continue
        except OnlyVipsError as error:
            troubles.append(f"{name}: {error}")
    if troubles:
        raise Transient(f"{key} was found in no store, and not all could be asked: {'; '.join(troubles)}")
    return None


def _document(clock: Clock, plan: ReleasePlan, record: Record) -> dict[str, Any]:
    written = datetime.fromtimestamp(clock.now(), UTC).isoformat()
    release = report.summary(replace(record, phase="closed", evidence=key_of(record)))
    return {"schema": 1, "kind": "release", "written": written, "release": release, "plan": asdict(plan)}


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()
