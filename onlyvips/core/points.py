"""Which backup a restore brings back, of a kind whose backups are each of one moment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onlyvips.core.catalog import NO_MANIFEST, Backup
from onlyvips.core.manifest import Manifest, seconds
from onlyvips.core.restore import Source, trusted
from onlyvips.errors import Refused

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Point:
    """One backup: its objects with the destinations that may have them, and what a person must know of the choice."""

    manifest: Manifest
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``ID-eEPOCH``."""
        return f"{self.manifest.id}-e{self.manifest.epoch}"

    @property
    def size(self) -> int:
        """Stored bytes to be read."""
        return sum(one.record.size for one in self.sources)


def choose_point(backups: Sequence[Backup], away: Mapping[str, str], kind: str, at: str) -> Point:
    """The backup that ``at`` means: ``latest``, a moment in UTC (the last one finished by then), or a name's beginning.

    One of which no copy is complete is chosen only by its name, or where there is no better one: each of its objects
    may still be found somewhere. Raises Refused, which says what can be had instead.
    """
    known = sorted((one for one in backups if one.kind == kind and _to_be_had(one)), key=_order)
    if not known:
        raise Refused(
            f"There is no backup of {kind} that could be restored: see `onlyvips backup list -e ENVIRONMENT`. Nothing "
            "was read."
        )
    if at == "latest":
        found, newer = _last(known)
    elif _MOMENT.fullmatch(at):
        found, newer = _last(_until(known, at))
    else:
        found, newer = _named(known, at), []
    assert found.manifest is not None
    destinations = trusted(found.copies)
    sources = tuple(Source(found.manifest, record, destinations) for record in found.manifest.objects)
    notes = [f"{one.name} is newer, and no copy of it is complete" for one in newer]
    notes += [f"{name} was not read: {why}" for name, why in away.items()]
    return Point(found.manifest, sources, tuple(notes))


def _to_be_had(one: Backup) -> bool:
    return one.manifest is not None and any(not copy.away and NO_MANIFEST not in copy.flaws for copy in one.copies)


def _order(one: Backup) -> tuple[str, str]:
    return one.finished, one.name


def _last(asked: Sequence[Backup]) -> tuple[Backup, list[Backup]]:
    """The last complete one, and those after it that are not."""
    whole = [number for number, one in enumerate(asked) if one.complete]
    at = whole[-1] if whole else len(asked) - 1
    return asked[at], list(asked[at + 1 :])


def _until(known: Sequence[Backup], at: str) -> list[Backup]:
    try:
        seconds(at)
    except ValueError as error:
        raise Refused(f"`{at}` is no moment: {error}.") from error
    found = [one for one in known if one.finished <= at]
    if not found:
        raise Refused(
            f"{at} is before the first backup was finished: the earliest moment that can be had is "
            f"{known[0].finished}, by {known[0].name}. Nothing was read."
        )
    return found


def _named(known: Iterable[Backup], at: str) -> Backup:
    every = list(known)
    found = [one for one in every if at and one.name.startswith(at)]
    if len(found) != 1:
        what = (
            "more than one backup"
            if found
            else "neither `latest`, nor a moment like 2026-08-01T12:00:00Z, nor a backup"
        )
        raise Refused(f"`{at}` is {what}: the newest is {every[-1].name}. Nothing was read.")
    return found[0]


def check_past(at: str, now: str, environment: str, kind: str) -> None:
    """Raise Refused for a moment that has not passed by ``now``: until then another backup may become the one that it
    means, of what a restore is about to write over for one."""
    if _MOMENT.fullmatch(at) and at >= now:
        raise Refused(
            f"--at {at} has not passed yet (now it is {now}, UTC), so which backup it means is not settled: nothing "
            f"was read; say an earlier moment, or a name: onlyvips backup list -e {environment} --kind {kind}."
        )


def check_name(point: Point, at: str, written: Iterable[str]) -> None:
    """Raise Refused where ``latest`` is to be ``written`` over what is there, or into what is live: the same command,
    run again after it died, would mean the safety backup, or another one that was taken of the ruins."""
    if at == "latest" and any(written):
        raise Refused(
            "Over what is there, and into what is backed up, a backup is restored by its name, for another may become "
            f"the latest meanwhile: nothing was changed; say --at {point.name}."
        )
