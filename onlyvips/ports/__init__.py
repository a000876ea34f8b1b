"""The ports: everything the library needs of the world, at most five methods each. The docstrings are the contract.

Every port has one contract suite in ``tests/contracts``, which the real adapter and the simulator both pass. Adapters
raise only the words of ``onlyvips.errors``: ``Transient`` when asking again may help, ``UnknownOutcome`` when a write
was sent and no answer came, ``Permanent`` otherwise. No adapter retries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from onlyvips.core.accounts import Accounts
from onlyvips.core.changes import Write
from onlyvips.core.media import Item, Left
from onlyvips.core.oplog_entry import Position
from onlyvips.core.ranges import Sampled

Manifest = dict[str, Any]
"""A Kubernetes object as JSON says it."""


class Clock(Protocol):
    """Time, so that a test can move it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC: for records and people, never compared between machines."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back: for measuring."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class Cluster(Protocol):
    """Kubernetes objects of one namespace. Kinds are ``Deployment``, ``ConfigMap``, ``HTTPRoute`` … by plain name."""

    def get(self, kind: str, name: str) -> Manifest | None:
        """The live object, or None when there is none. An error while asking is raised, never None."""

    def list(self, kind: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Live objects that carry all of ``labels``, by name."""

    def create(self, manifest: Manifest) -> Manifest:
        """POST it and return what is stored. Raises Conflict when the name is taken."""

    def patch(self, kind: str, name: str, version: str, operations: Sequence[Manifest]) -> Manifest:
        """Apply JSON Patch ``operations`` if the object's resourceVersion is still ``version``; return what is stored.

        Raises Conflict when it is not, or when a ``test`` among the operations fails; Permanent when it is gone.
        """

    def delete(self, kind: str, name: str, version: str) -> None:
        """Delete it (dependents in the background) if its resourceVersion is still ``version``.

        Raises Conflict when it is not. Deleting what is not there is done.
        """


class Lease(Protocol):
    """The right to drive one service's release, with an epoch that only grows.

    A held lease renews itself until released, lost, or until ``progress`` was not called for ``patience`` seconds.
    """

    def acquire(self, holder: str) -> int:
        """Take the lease and return the new epoch, one above any before.

        The lease is free when it has no holder, or when it was seen not to change for its whole duration (clocks are
        not compared). Raises Refused, naming the holder, while another one renews it. Taking it again with the same
        ``holder`` in the same process returns the same epoch.
        """

    def holder(self) -> str:
        """Who the cluster says holds it; empty when nobody does. Needs no acquire."""

    def progress(self) -> None:
        """Say that the driver lives; raises Fenced when the lease was lost, Transient while it cannot be renewed."""

    def release(self) -> None:
        """Give it up at once; a lease that is not ours any more is left alone."""


@dataclass(frozen=True)
class Term:
    """What a lease says: who holds it ("" for nobody), its epoch, duration in seconds, when it was renewed last (for
    people), and the version of the cell that said so ("" for one that is not there yet)."""

    holder: str
    epoch: int
    duration: float
    renewed: float
    version: str


class Cell(Protocol):
    """One place in the world that is changed by compare-and-set: what a lease is made of."""

    def read(self) -> Term | None:
        """What it says now; None when it is not there."""

    def write(self, term: Term) -> Term:
        """Replace what has ``term.version`` (make it, where that is ""), and return what is stored, with its version.

        Raises Conflict when it was changed meanwhile.
        """


@dataclass(frozen=True)
class Sample:
    """Raw samples of one counter: ``points`` are (unix seconds, value), oldest first."""

    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


class Metrics(Protocol):
    """Raw counter samples (never rates: extrapolation misses a series' first increment)."""

    def samples(self, metric: str, labels: Mapping[str, str], start: float, end: float) -> list[Sample]:
        """Every series of ``metric`` with ``labels``, its samples in (start, end].

        Empty when there is none: that is "no data". Raises Transient when the system did not answer: that is "error".
        """

    def now(self) -> float:
        """The metrics system's own clock, unix seconds; raises Transient when it is away."""


@dataclass(frozen=True)
class Stored:
    """What a store says it holds; ``sha256`` and ``version`` (its VersionId) are empty where it does not say.
    ``locked``: until when nobody can remove it, unix seconds; 0 where it is not locked, or a list does not say."""

    key: str
    size: int
    sha256: str = ""
    version: str = ""
    locked: float = 0.0


class Upload(Protocol):
    """One object on its way into one store: invisible until ``finish``."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; blocks while the store is slower than the source."""

    def finish(self) -> Stored:
        """Make it visible and return what the store confirmed, size and SHA-256 of the whole object.

        Raises Permanent when what the store has is not what was written.
        """

    def abort(self) -> None:
        """Leave nothing behind. Safe to call at any time, twice too."""


class ObjectStore(Protocol):
    """One destination of backups and evidence. Keys are ``a/b/c``; objects are written once, and changed only where a
    repair says so."""

    name: str

    def upload(self, key: str, *, over: bool = False) -> Upload:
        """Begin writing ``key``, of unknown size. ``over`` puts it in the place of what is there, if anything is."""

    def put_new(self, key: str, data: bytes) -> Stored:
        """Write a small object only if ``key`` does not exist (If-None-Match). Raises Conflict when it does."""

    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes in chunks. Raises NotFound when there is no such key."""

    def head(self, key: str) -> Stored | None:
        """Size, version and lock of ``key`` (``sha256`` is empty where the store does not keep it), or None."""

    def list(self, prefix: str) -> list[Stored]:
        """Key and size of all that begin with ``prefix``, sorted by key."""


class Lockable(Protocol):
    """A destination that may promise that what was written there stays."""

    name: str

    def cannot_lock(self) -> str:
        """Why objects cannot be locked there, in words; "" where they can. What cannot be asked is raised."""


@dataclass(frozen=True)
class Version:
    """One version of an object, a mark that it was deleted, or an upload of it that nobody finished.

    ``version`` is its VersionId (or UploadId), empty where a place keeps none; ``modified`` is when the store says that
    it was written (or begun), unix seconds.
    """

    key: str
    version: str
    modified: float
    latest: bool = True
    what: Literal["object", "mark", "upload"] = "object"


class Pruner(Protocol):
    """What takes away from one destination, with a credential of its own: who writes backups has no such thing."""

    name: str

    def versions(self, prefix: str) -> list[Version]:
        """Every version and mark of all that begins with ``prefix``, by key, the oldest of a key first."""

    def unfinished(self, prefix: str) -> list[Version]:
        """What was begun under ``prefix`` and is neither finished nor given up, by key."""

    def locked_until(self, one: Version) -> float:
        """Until when nobody can remove it, unix seconds: 0 when it is not locked, infinity under a legal hold.

        A lock that ran out may be told. What is not there (any more) is not locked.
        """

    def remove(self, one: Version) -> None:
        """Remove this version, mark or upload for good; nothing when it is gone. Raises Permanent when it is locked."""

    def extend(self, one: Version, until: float) -> None:
        """Lock it until ``until``, or longer where it already is. Raises Permanent where nothing can be locked."""


@dataclass(frozen=True)
class Namespace:
    """A collection to dump. ``metadata`` is mongodump's canonical Extended JSON v2 of options and indexes."""

    database: str
    collection: str
    type: str
    metadata: str


EVERYTHING = b"\5\0\0\0\0"
"""The query that matches every document, as BSON."""


class SourceDatabase(Protocol):
    """A MongoDB-compatible server, read for a backup as raw BSON: one member of a replica set, never two."""

    def server(self) -> Mapping[str, str]:
        """``version``, ``dialect`` (what answers), ``oplog`` (``none`` without one) and ``member``: the process that
        answers, as far as the server tells."""

    def namespaces(self, database: str) -> list[Namespace]:
        """Every collection and view of ``database`` with its options and indexes, by name.

        Raises Permanent for a kind that cannot be kept (by name), or when the database does not exist.
        """

    def accounts(self, database: str) -> Accounts:
        """Users and roles that are of ``database``, as mongodump keeps them with it; in words why there are none."""

    def documents(self, namespace: Namespace, where: bytes = EVERYTHING) -> Iterator[bytes]:
        """Raw batches: concatenated BSON documents that match ``where`` (a query as BSON), in the server's order.

        Nothing is decoded. Raises Transient when the server breaks off, Abandoned when it is not the member it was.
        """

    def duplicates(self, database: str, collection: str, keys: Sequence[str], limit: int) -> list[str]:
        """Up to ``limit`` values of ``keys`` that more than one document has (they would break a unique index)."""


class SourceOplog(Protocol):
    """The transaction log of a server, raw BSON: only what is final, which nothing can precede or take back any more
    (of a replica set: what a majority has)."""

    def describe(self) -> Mapping[str, str]:
        """``dialect`` (what answers), ``version``, ``now``: unix seconds by the server's own clock; ``last``: where the
        newest entry is, final or not (SECONDS:ORDINAL; ``newest`` where all are final; "" where it does not know).
        Raises Permanent where no oplog is kept."""

    def oldest(self) -> bytes:
        """The first entry that is still there."""

    def newest(self) -> bytes:
        """The last final entry. Whatever was read from the server before this was asked is covered by it."""

    def open_since(self) -> Position | None:
        """Where the oldest transaction begins that is open now; None when none is."""

    def entries(self, start: Position, end: Position) -> Iterator[bytes]:
        """Batches of the entries from ``start`` to ``end``, both inclusive, in order; nothing where none is there.

        Raises Permanent when they are removed while they are read.
        """


class Sampler(Protocol):
    """What must be known of a big collection to cut it into ranges of ``_id``."""

    def size(self, namespace: Namespace) -> int:
        """Bytes of its documents as BSON, as the server counts them; 0 for a view."""

    def sample(self, namespace: Namespace, most: int) -> list[Sampled]:
        """At most ``most`` of its documents' ``_id``, spread over its bytes. May read all of it; memory is bounded."""


class TargetDatabase(Protocol):
    """A server that a restore writes into. Namespaces are ``DB.COLLECTION``, documents raw BSON."""

    def describe(self) -> Mapping[str, str]:
        """``dialect`` (what answers), ``version``, and ``identity``: equal for the same running server, by whatever
        address it was asked, and for no other; ``free``, bytes on its disk, where it says so."""

    def collections(self, database: str) -> list[str]:
        """Names of its collections and views, sorted, but for those of the server's own (``system.js`` is a user's);
        nothing where there is no such database."""

    def insert(self, namespace: str, documents: bytes) -> list[int]:
        """Insert these documents, one after the other in ``documents``; returns the places (from 0) of those that are
        not inserted because their ``_id`` is there already."""

    def documents(self, namespace: str, ids: Sequence[bytes] | None = None) -> Iterator[Sequence[bytes]]:
        """All documents, some at a time, or those with these ``ids``, each ``{_id: …}``; in any order."""

    def apply(self, writes: Sequence[Write]) -> None:
        """Do them in order; of one collection's Put and Remove each ``_id`` once. All of it is there when it returns.

        Doing again what was done, wholly or in part, ends with the same.
        """


class SnapshotSource(Protocol):
    """A system that gives all of itself as one consistent snapshot, in its own format."""

    def describe(self) -> Mapping[str, str]:
        """``dialect`` (what answers), ``version``, and other facts that a restore needs; never a secret.

        Asked after a snapshot was read to its end, it is about what that snapshot holds.
        """

    def snapshot(self) -> Iterator[bytes]:
        """The bytes of one consistent snapshot. Raises, at the latest after the last of them, when it was cut short."""


@dataclass(frozen=True, slots=True)
class Held:
    """An object in a tree, as it is listed; ``tag`` changes when its bytes do."""

    key: str
    size: int
    tag: str


class MediaSource(Protocol):
    """Where the platform keeps its media: objects under names, which come, change and go while they are read."""

    def describe(self) -> Mapping[str, str]:
        """``dialect`` (what holds them), ``version``, and where. Raises when it does not answer, or not to us."""

    def pages(self) -> Iterator[Sequence[Item | Left]]:
        """Everything there is, once, some at a time; Left says what cannot be kept (no name that is text, no file)."""

    def look(self, key: str) -> Item | None:
        """One object as it is now; None when it is gone."""

    def read(self, items: Sequence[Item]) -> list[tuple[Item, bytes] | Left]:
        """All bytes of small objects, each of one moment, with the object as it was at that moment.

        Left says that it is gone, or kept changing. One that may not be read is an error: a backup without it would
        look whole.
        """

    def stream(self, item: Item) -> Iterator[bytes]:
        """The bytes of a large object. Raises Conflict, at the latest after the last, when they are not those of
        ``item`` any more, NotFound when it is gone."""


class Tree(Protocol):
    """The plain objects of one destination, replaced and removed. No part of a key is empty, ``.`` or ``..``.
    ``objects`` is the same place for what is large: it is written and read as a stream there."""

    name: str
    objects: ObjectStore

    def listing(self, prefix: str) -> Iterator[Sequence[Held]]:
        """Everything whose key begins with ``prefix``, some at a time."""

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        """Write small objects in the place of what is there, if anything is; return their tags.

        Each appears whole or not at all, and is on its medium when this returns. Raises what the first failure is.
        """

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy objects within the destination, (from, to) each; raises NotFound when one is not there."""

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there is removed."""

    def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """All bytes of small objects; None for what is not there."""
