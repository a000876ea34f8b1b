"""A drill: a restore that is rehearsed and timed. What is stored of it as it begins and when it ended, and what all of
them say of how long a restore takes. Pure; ``core.drill_findings`` has what an audit finds in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from onlyvips.core.manifest import moment
from onlyvips.core.strict_json import counts, from_json, matches, to_json
from onlyvips.errors import Refused

PASSED, FAILED = "passed", "failed"
UNENDED, RUNNING = "never ended", "running"
LATEST = "latest"
"""What a drill is of that counts: one of an older moment says nothing of the backups that came since."""
SCRATCH = "drill_"
"""How the databases begin that drills restore into."""
_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"
_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_AT = re.compile(rf"{LATEST}|{_MOMENT}|\d{{1,10}}:\d{{1,10}}")
_KEY = re.compile(rf"[^/]+/evidence/drills/({_ID})(\.begun)?\.(json|sig)")
_LONGEST_NAME = 30
"""Of an environment's name in a database's, which is 63 bytes at most."""
_RESTS_ON = 5
"""Drills that an estimate rests on, at most."""


@dataclass(frozen=True)
class Compared:
    """One collection of the scratch target after the restore: what the objects of the backups say must be there, by
    count and by the sum of a hash of every document, and what was read."""

    source: str
    target: str
    documents: int
    hash: str
    read_documents: int
    read_hash: str

    @property
    def equal(self) -> bool:
        """Whether it is what it must be."""
        return (self.documents, self.hash) == (self.read_documents, self.read_hash)


@dataclass(frozen=True)
class Used:
    """A destination, and how many objects were read there for the comparison."""

    destination: str
    objects: int


@dataclass(frozen=True)
class DrillRecord:
    """What one drill did and found. Times are milliseconds: ``recovery_time_ms`` is the restore from its plan to its
    end (RTO), ``recovery_point_ms`` how long ago the newest moment was that could be had as it began (RPO), None where
    it did not come so far. ``size``: stored bytes that were read. ``removed``: scratch databases that drills which died
    had left; ``left``: those that could not be removed."""

    id: str
    environment: str
    kind: str
    operator: str
    tool: str
    at: str
    started: str
    ended: str
    verdict: str
    reasons: tuple[str, ...]
    rto_ms: int
    rpo_ms: int
    base: str = ""
    slices: tuple[str, ...] = ()
    reached: str = ""
    size: int = 0
    documents: int = 0
    entries: int = 0
    recovery_time_ms: int | None = None
    recovery_point_ms: int | None = None
    verification_ms: int | None = None
    compared: tuple[Compared, ...] = ()
    used: tuple[Used, ...] = ()
    flaws: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matches("id", self.id, _ID)
        for name in ("started", "ended"):
            matches(name, getattr(self, name), _MOMENT)
        matches("verdict", self.verdict, f"{PASSED}|{FAILED}")
        counts(size=self.size, documents=self.documents, entries=self.entries)
        if (self.verdict == FAILED) != bool(self.reasons):
            raise ValueError("reasons: a drill fails with some, and passes without")

    @property
    def passed(self) -> bool:
        return self.verdict == PASSED

    @property
    def of_latest(self) -> bool:
        """Whether it was of the newest moment that could be had."""
        return self.at == LATEST

    @property
    def key(self) -> str:
        """Where it is in every destination."""
        return record_key(self.environment, self.id)


@dataclass(frozen=True)
class Begun:
    """What is stored before a drill does anything, so that one that dies is known by name. ``scratch``: the database
    that it restores into."""

    id: str
    environment: str
    kind: str
    operator: str
    tool: str
    at: str
    started: str
    scratch: str

    def __post_init__(self) -> None:
        matches("id", self.id, _ID)
        matches("started", self.started, _MOMENT)

    @property
    def of_latest(self) -> bool:
        """As of a record."""
        return self.at == LATEST

    @property
    def key(self) -> str:
        """Where it is in every destination."""
        return begun_key(self.environment, self.id)


Stored = TypeVar("Stored", DrillRecord, Begun)


@dataclass(frozen=True)
class Unverified:
    """A record that counts for nothing: its id, and why, by the destinations that have it."""

    id: str
    why: str


@dataclass(frozen=True)
class Drills:
    """The records whose signatures are good, oldest first; those that count for nothing; destinations that could not be
    read, each with the reason; those that began and of which no record says how they ended, oldest first, and the one
    of them that may be running now, by its id."""

    records: tuple[DrillRecord, ...] = ()
    unverified: tuple[Unverified, ...] = ()
    away: Mapping[str, str] | None = None
    unended: tuple[Begun, ...] = ()
    running: str = ""


@dataclass(frozen=True)
class DrillPlan:
    """What an environment asks of its drills, in seconds. ``rehearsed``: it says where to."""

    environment: str
    rehearsed: bool
    every: float
    limit: float
    rto: float
    rpo: float


def record_key(environment: str, id: str) -> str:
    """Where the record of a drill is, in every destination; its signature has ``.sig`` for ``.json``."""
    return f"{environment}/evidence/drills/{id}.json"


def begun_key(environment: str, id: str) -> str:
    """Where it stands, in every destination, that a drill began."""
    return f"{environment}/evidence/drills/{id}.begun.json"


def signature_key(key: str) -> str:
    """Where the signature of a record is."""
    return key.removesuffix(".json") + ".sig"


def id_of_key(key: str) -> str:
    """The drill's id in the key of a record, of its beginning, or of a signature; "" for any other key."""
    found = _KEY.fullmatch(key)
    return found[1] if found else ""


def as_stored(record: DrillRecord | Begun) -> bytes:
    """The bytes that are signed and stored."""
    return to_json(record)


def read_record(data: bytes, environment: str, id: str) -> DrillRecord:
    """The record. Raises BadManifest for what is none, Refused for one of another environment or drill."""
    return _in_its_place(from_json(data, DrillRecord), environment, id)


def read_begun(data: bytes, environment: str, id: str) -> Begun:
    """That it began. Raises as ``read_record``."""
    return _in_its_place(from_json(data, Begun), environment, id)


def _in_its_place(record: Stored, environment: str, id: str) -> Stored:
    if (record.environment, record.id) != (environment, id):
        raise Refused(f"it is the record of {record.id} in {record.environment}, and was put in the place of this one")
    return record


def check_at(at: str) -> None:
    """Raise Refused for what says no moment."""
    if not _AT.fullmatch(at):
        raise Refused(f"`{at}` is no moment: write latest, a moment like 2026-08-01T12:00:00Z, or SECONDS:ORDINAL.")


def scratch_name(environment: str, id: str) -> str:
    """The database that a drill restores into."""
    return f"{_scratch(environment)}{id.lower().replace('-', '_')}"


def is_scratch(environment: str, database: str) -> bool:
    """Whether it is one of this environment's drills, which died if it is not running."""
    return bool(re.fullmatch(re.escape(_scratch(environment)) + r"\d{8}t\d{6}z_[0-9a-f]{8}", database))


def _scratch(environment: str) -> str:
    return f"{SCRATCH}{environment[:_LONGEST_NAME].replace('-', '_')}_"


def span(duration: float) -> str:
    """``42 s``, ``3 min``, ``2 h 5 min``, ``4 d 1 h``: for people."""
    if duration < 90 and duration != 60:
        return f"{duration:.0f} s"
    minutes = round(duration / 60)
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2])


# --- how long a restore takes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speed:
    """Stored bytes a second that the newest good drills restored, how many those are, and when the newest ended."""

    rate: float
    drills: int
    newest: str


def speed(drills: Drills, kind: str) -> Speed | None:
    """What past drills say of how fast a restore is; None where there is no good one."""
    good = [one for one in drills.records if one.passed and one.kind == kind and one.recovery_time_ms and one.size]
    chosen = good[-_RESTS_ON:]
    took = sum(one.recovery_time_ms or 0 for one in chosen) / 1000
    return Speed(sum(one.size for one in chosen) / took, len(chosen), chosen[-1].ended) if chosen else None


def how_long(size: int, found: Speed) -> str:
    """How long a restore of so many stored bytes takes, with what that rests on."""
    rests = f"the last {found.drills} good drills" if found.drills > 1 else "one good drill"
    return f"about {span(max(1.0, size / found.rate))}, by {rests}, the newest of {found.newest}"


# --- for people ------------------------------------------------------------------------------------------------------


def headline(record: DrillRecord) -> str:
    """One drill in a sentence."""
    told = f"Drill {record.id} of {record.kind} in {record.environment}{_older(record.at)} {record.verdict}"
    if record.recovery_time_ms is not None:
        told += f": {record.documents:,} documents and {record.entries:,} entries back in {_time(record)}"
    if record.recovery_point_ms is not None:
        told += f", the newest moment to be had {span(record.recovery_point_ms / 1000)} before it began"
    return f"{told}. {' '.join(record.reasons)}".rstrip()


def _older(at: str) -> str:
    return "" if at == LATEST else f", to {at} and not to the latest moment,"


def _time(record: DrillRecord) -> str:
    return span((record.recovery_time_ms or 0) / 1000)


def lines(record: DrillRecord) -> Iterator[str]:
    """All of it."""
    yield headline(record)
    yield f"  {record.started} to {record.ended}, asked for {record.at} by {record.operator or 'nobody in particular'}"
    if record.base:
        yield f"  base {record.base}, {len(record.slices)} slices, to {record.reached}"
    for slice in record.slices:
        yield f"  slice {slice}"
    for one in record.compared:
        state = "equal" if one.equal else f"reads back as {one.read_documents:,} documents with hash {one.read_hash}"
        yield f"  {one.source} -> {one.target}: {one.documents:,} documents with hash {one.hash}, {state}"
    used = ", ".join(f"{one.destination} ({one.objects})" for one in record.used)
    if used:
        yield f"  objects read from {used}"
    for flaw in record.flaws:
        yield f"  not used: {flaw}"
    for name in record.removed:
        yield f"  removed {name}, which an earlier drill had left"
    for name in record.left:
        yield f"  {name} could not be removed from the scratch server: remove it by hand, or run the next drill"


def begun_lines(one: Begun) -> Iterator[str]:
    """All that is known of a drill of which no record says how it ended."""
    yield f"Drill {one.id} of {one.kind} in {one.environment} began, and no record says that it ended: it runs or died."
    yield f"  began {one.started}, asked for {one.at} by {one.operator or 'nobody in particular'}"
    yield f"  it restores into {one.scratch} on the scratch server, which the next drill removes where it died"


def row(record: DrillRecord) -> tuple[str, ...]:
    """One drill in a table; see ``HEADS``."""
    time = _time(record) if record.recovery_time_ms is not None else "-"
    point = span(record.recovery_point_ms / 1000) if record.recovery_point_ms is not None else "-"
    return record.id, record.kind, record.at, record.verdict, time, point, record.reached or "-"


HEADS = ("drill", "kind", "of", "verdict", "restored in", "newest moment", "restored to")


def rows(drills: Drills) -> list[tuple[str, ...]]:
    """Every drill in a table, oldest first, also those that never ended."""
    unended = [
        (one.id, one.kind, one.at, RUNNING if one.id == drills.running else UNENDED, "-", "-", "-")
        for one in drills.unended
    ]
    return sorted([*(row(one) for one in drills.records), *unended])


def told_unverified(one: Unverified) -> str:
    """A record that is ignored, in a sentence."""
    return f"{one.id}: unsigned/forged: ignored ({one.why})"


def id_of(now: float, entropy: bytes) -> str:
    """A drill's id: when it began, and four random bytes."""
    return f"{moment(now).replace('-', '').replace(':', '')}-{entropy[:4].hex()}"
