"""Big collections of a base in several pieces: ranges of ``_id``, and the rest that no range matches.

Where the cuts are is written into the journal's state, so that a retry of the run cuts in the same places.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onlyvips.core.plan import BackupPlan
from onlyvips.core.ranges import Id, Range, cut, matching, pieces_for, rest
from onlyvips.ports import EVERYTHING, Namespace, Sampler, SourceDatabase
from onlyvips.steps.base_window import without_window
from onlyvips.steps.journal import Begun

_SAMPLES_A_PIECE = 200
_MOST_SAMPLES = 20_000
Cuts = dict[str, tuple[Range, ...]]
"""By the collection's name; those that are one piece are not in it."""


@dataclass(frozen=True)
class Part:
    """A piece of a collection: what is asked for, and what its object is called beside the collection's name."""

    where: bytes = EVERYTHING
    label: str = ""


def parts(ranges: Sequence[Range]) -> list[Part]:
    """The pieces of a collection; one when it has no ranges."""
    if not ranges:
        return [Part()]
    found = [Part(matching(one), f".{number}of{len(ranges)}") for number, one in enumerate(ranges, start=1)]
    return [*found, Part(rest(ranges), ".rest")]


@dataclass(frozen=True)
class State:
    """What a base must remember of its source to be gone on with: who answered, what there was, where it was cut."""

    member: str
    namespaces: str
    cuts: Cuts

    def text(self) -> str:
        """For the journal."""
        told = {name: [_bounds(one) for one in ranges] for name, ranges in self.cuts.items()}
        return json.dumps({"member": self.member, "namespaces": self.namespaces, "cuts": told}, sort_keys=True)


def state_of(
    source: SourceDatabase,
    namespaces: Sequence[Namespace],
    sampler: Sampler | None,
    plan: BackupPlan,
    begun: Begun | None = None,
) -> State:
    """As it was remembered in ``begun``, where member, collections and indexes are still those; else found out now."""
    member = source.server().get("member", "")
    listed = hashlib.sha256(repr(namespaces).encode()).hexdigest()
    before = remembered(without_window(begun.state)) if begun else None
    if before and (before.member, before.namespaces) == (member, listed):
        return before
    cuts = {one.collection: cut_of(one, sampler, plan) for one in namespaces} if sampler and plan.split_above else {}
    return State(member, listed, {name: ranges for name, ranges in cuts.items() if ranges})


def cut_of(namespace: Namespace, sampler: Sampler, plan: BackupPlan) -> tuple[Range, ...]:
    """The ranges of one collection; none when it is small, or must stay in one piece."""
    if not divisible(namespace) or (size := sampler.size(namespace)) <= plan.split_above:
        return ()
    pieces = pieces_for(size, plan.object_size or plan.split_above)
    samples = sampler.sample(namespace, min(pieces * _SAMPLES_A_PIECE, _MOST_SAMPLES))
    return cut(samples, pieces, texts="collation" not in _options(namespace))


def divisible(namespace: Namespace) -> bool:
    """Whether it may be cut: a capped one's documents have an order that counts, and ranges need the index on _id."""
    indexes = json.loads(namespace.metadata).get("indexes", [])
    keyed = any(list(index.get("key", ())) == ["_id"] for index in indexes)
    return namespace.type == "collection" and keyed and not _options(namespace).get("capped", False)


def _options(namespace: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(namespace.metadata).get("options", {})
    return found


def member_of(begun: Begun | None) -> str:
    """The member that an earlier attempt read from; "" when there was none."""
    before = remembered(without_window(begun.state)) if begun else None
    return before.member if before else ""


def remembered(text: str) -> State | None:
    """The state out of a journal; None when it is none of ours."""
    try:
        found = json.loads(text)
        cuts = {name: tuple(map(_range, ranges)) for name, ranges in found["cuts"].items()}
        return State(str(found["member"]), str(found["namespaces"]), cuts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _bounds(one: Range) -> list[str]:
    return [f"{id.type:02x}{id.value.hex()}" if id else "" for id in (one.low, one.high)]


def _range(told: Sequence[str]) -> Range:
    low, high = (Id(int(text[:2], 16), bytes.fromhex(text[2:])) if text else None for text in told)
    return Range(low, high)
