"""What a restore of media is about to do and what it did, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onlyvips.core.backup_report import size
from onlyvips.core.media import Entry, Index, named
from onlyvips.core.media_restore import Chosen, Found
from onlyvips.core.restored import instead_of


@dataclass(frozen=True)
class MediaPlan:
    """``coming`` is what the backup has of what was asked for, by its key in the target; ``notes`` what else a person
    must know."""

    chosen: Chosen
    index: Index
    coming: Mapping[str, Entry]
    found: Found
    notes: tuple[str, ...]

    def bytes_of(self, keys: Sequence[str]) -> int:
        """Of these files, as they come back."""
        return sum(self.coming[key].item.size for key in keys)


@dataclass(frozen=True)
class RestoredMedia:
    """``files`` came back with ``size`` bytes, of which ``replaced`` were written over; ``kept`` had the right bytes,
    ``believed`` of them by their listing. ``others`` stay. ``flaws`` are copies that were not used."""

    backup: str
    files: int
    size: int
    replaced: int
    kept: int
    believed: int
    others: int
    flaws: tuple[str, ...]
    seconds: float


def lines(plan: MediaPlan) -> Iterator[str]:
    """A plan, line by line."""
    found, manifest = plan.found, plan.chosen.manifest
    yield f"Media of the backup {plan.chosen.backup.name}, taken {manifest.started} to {manifest.finished}"
    yield f"  {len(plan.coming):,} files, {size(plan.bytes_of(list(plan.coming)))}"
    yield f"  missing there: {_told(plan, found.missing)}"
    yield f"  different there, to be overwritten: {_told(plan, list(found.differ))}"
    yield f"  already there: {len(found.same):,} files, {found.believed:,} of them by their listing, the others read"
    stay = f": {named(found.others)}" if found.others else ""
    yield f"  there and not in the backup, they stay: {len(found.others):,} files{stay}"
    yield f"  copies are tried in this order: {', '.join(plan.chosen.copies)}"
    for note in plan.notes:
        yield f"  note: {note}"


def _told(plan: MediaPlan, keys: Sequence[str]) -> str:
    return f"{len(keys):,} files, {size(plan.bytes_of(keys))}" + (f": {named(keys)}" if keys else "")


def as_json(plan: MediaPlan, overwritten: Sequence[str]) -> dict[str, Any]:
    """A plan in plain values."""
    found = plan.found
    return {
        "backup": plan.chosen.backup.prefix,
        "started": plan.chosen.manifest.started,
        "finished": plan.chosen.manifest.finished,
        "files": len(plan.coming),
        "missing": len(found.missing),
        "differ": len(found.differ),
        "same": len(found.same),
        "believed": found.believed,
        "others": len(found.others),
        "size": plan.bytes_of(found.to_write),
        "copies": list(plan.chosen.copies),
        "overwritten": list(overwritten),
        "notes": list(plan.notes),
    }


def done(found: RestoredMedia) -> str:
    """What was done, in a few sentences."""
    over = f", {found.replaced:,} of them over what was there" if found.replaced else ""
    told = (
        f"Restored media of {found.backup}: {found.files:,} files ({size(found.size)}) written and read back equal"
        f"{over}; {found.kept:,} had the right bytes already, {found.believed:,} of them by "
        f"their listing, in {found.seconds:.1f} s."
    )
    if found.others:
        told += f" {found.others:,} files that the backup has not were left as they are."
    told += instead_of(found.flaws)
    return f"{told} Flush the CDN and caches of what was replaced, and take a new backup of media."


def result(found: RestoredMedia) -> dict[str, Any]:
    """The same in plain values."""
    return asdict(found)


def notes_of(chosen: Chosen, index: Index, away: Mapping[str, str]) -> Iterator[str]:
    """What else a person must know of a backup."""
    if chosen.newer:
        yield f"there are {len(chosen.newer)} newer backups of media, up to {chosen.newer[-1]}"
    if index.left:
        told = named([one.key for one in index.left])
        yield f"{len(index.left)} files could not be taken by it, or are of the backup before: {told}"
    if index.gone:
        told = named([one.key for one in index.gone])
        yield f"{len(index.gone)} files of the backup before were gone by then, an older --at has them: {told}"
    for name, why in away.items():
        yield f"{name} was not read: {why}"
