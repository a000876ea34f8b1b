"""Sections on data: backups, disaster recovery, and the database's and caches' set-up."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from onlyvips.environment.base import (
    Bucket,
    Count,
    Flag,
    Identifier,
    KubernetesKind,
    Name,
    ParameterPath,
    Section,
    Text,
    Whole,
)
from onlyvips.environment.quantities import Duration, Size
from onlyvips.environment.references import Endpoint, PathReference, PublicKey, Recipient, SecretReference


class Destination(Section):
    """A place of copies. ``medium`` and ``offsite`` are what we declare: a report says that nobody measured them.

    ``access_key`` writes and should not be able to delete; ``pruner_access_key`` deletes, and only prune asks for it.
    """

    kind: Literal["s3", "directory"]
    medium: Name
    offsite: Flag
    immutable: Flag
    bucket: Bucket | None = None
    url: Endpoint | None = None
    region: Name | None = None
    access_key: SecretReference | None = None
    secret_key: SecretReference | None = None
    pruner_access_key: SecretReference | None = None
    pruner_secret_key: SecretReference | None = None
    path: PathReference | None = None


class AgeRecipient(Section):
    """A key that backups are encrypted to, and where its identity (the private half) is kept."""

    recipient: Recipient
    identity_kept_in: Literal["vault", "cluster", "ssm", "offline", "file"]
    identity: SecretReference | None = None


class Copies(Section):
    """What 3-2-1 asks for; ``immutable`` is ours (3-2-1-1-0)."""

    at_least: Annotated[int, Strict(), Field(ge=3)]
    media: Annotated[int, Strict(), Field(ge=2)]
    offsite: Annotated[int, Strict(), Field(ge=1)]
    immutable: Annotated[int, Strict(), Field(ge=0)]


class VaultReader(Section):
    """A token that may read ``sys/storage/raft/snapshot`` of ``endpoints.vault``, and its namespace (Enterprise).

    ``restorer_token`` may write there; a restore asks for it, else for the other.
    """

    token: SecretReference
    restorer_token: SecretReference | None = None
    namespace: Text | None = None


class SsmReader(Section):
    """Which parameters of AWS SSM are ours, and who may read them; ``url`` is for what is not AWS itself.

    ``restorer_access_key`` may write them; a restore asks for it, else for the other.
    """

    region: Name
    paths: Annotated[tuple[ParameterPath, ...], Field(min_length=1, max_length=50)]
    access_key: SecretReference
    secret_key: SecretReference
    restorer_access_key: SecretReference | None = None
    restorer_secret_key: SecretReference | None = None
    url: Endpoint | None = None


class SecretsReader(Section):
    """How the backup reads the secret manager; the one that the platform has."""

    vault: VaultReader | None = None
    ssm: SsmReader | None = None


class MediaReader(Section):
    """Where the platform's media are, and who may read them: a bucket (what begins with ``prefix`` in it), or a
    directory."""

    kind: Literal["s3", "directory"]
    url: Endpoint | None = None
    region: Name | None = None
    bucket: Bucket | None = None
    prefix: Text | None = None
    access_key: SecretReference | None = None
    secret_key: SecretReference | None = None
    path: PathReference | None = None


class RedisReader(Section):
    """How the backup reads Redis; ``replica``: what is at ``endpoints.redis`` may be a replica, as long as it has its
    link to the primary. ``server`` is the redis-server that a restore loads an RDB with, by default that on PATH."""

    replica: Flag
    server: PathReference | None = None


class ConfigurationReader(Section):
    """Which kinds of objects of ``platform.namespace`` are kept, and the git repository that they come from.

    It is looked at every ``look_every``, and taken when anything changed or the last is older than ``take_every``.
    """

    kinds: Annotated[tuple[KubernetesKind, ...], Field(min_length=1, max_length=100)]
    repository: PathReference | None = None
    look_every: Duration
    take_every: Duration


class Leases(Section):
    """Where the right to write backups is held: a bucket without versioning, at an S3 destination."""

    destination: Name
    bucket: Bucket


class Keep(Section):
    """What stays of one kind: the ``last`` ones, the first of each of so many hours, days, weeks, months and years,
    all that is younger than ``within``. ``locked_for``: how long a copy is locked at first, where it is immutable."""

    last: Whole
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    within: Duration | None = None
    locked_for: Duration | None = None


KindName = Literal["mongodb", "oplog", "redis", "media", "configuration", "secrets"]


class Backup(Section):
    """How backups are made. ``oplog_every`` is how often a slice is taken, ``oplog_limit`` what the audit accepts.
    ``memory`` is what the process that takes one may hold.

    ``metrics_file`` is written for node_exporter's textfile collector; ``scheduled``: Prefect takes backups by itself.
    Of a kind without ``retention`` nothing is ever removed; after ``longest_run`` a run that did not end is dead.
    """

    copies: Copies
    secrets: SecretsReader | None = None
    media: MediaReader | None = None
    redis: RedisReader | None = None
    configuration: ConfigurationReader | None = None
    destinations: dict[Name, Destination]
    leases: Leases
    recipients: dict[Name, AgeRecipient]
    zstd_level: Annotated[int, Strict(), Field(ge=1, le=19)]
    zstd_threads: Annotated[int, Strict(), Field(ge=0, le=64)]
    workers: Annotated[int, Strict(), Field(ge=1, le=64)]
    stall_timeout: Duration
    memory: Size
    part_size: Size
    object_size: Size
    split_above: Size
    oplog_every: Duration
    oplog_limit: Duration
    verified_within: Duration
    metrics_file: PathReference | None = None
    scheduled: Flag = False
    lock: Literal["compliance", "governance", "none"]
    retention: dict[KindName, Keep]
    longest_run: Duration


class Protected(Section):
    """One kind of backup: how often, and what brings it back."""

    kind: KindName
    every: Duration | None = None
    with_kind: Literal["mongodb"] | None = None
    on_change: Flag = False
    how: Text
    recovered_by: Text


class Targets(Section):
    """RTO: back within; RPO: at most that much lost; ``degraded``: read-only mode is up within."""

    rto: Duration
    rpo: Duration
    degraded: Duration


class Drill(Section):
    """A rehearsed restore: how often, and how old the last good one may be.

    ``target`` is the URI of a server with room for it, under a database of the drill's own; the live one only where
    ``beside_live`` says so. Records are signed with ``signing_key`` and believed by ``public_keys``, also older ones.
    """

    every: Duration
    limit: Duration
    target: SecretReference | None = None
    beside_live: Flag = False
    signing_key: SecretReference | None = None
    public_keys: tuple[PublicKey, ...] = ()


class Recovery(Section):
    """Disaster recovery: what is protected, the targets, the drills."""

    protected: Annotated[tuple[Protected, ...], Field(min_length=1)]
    targets: Targets
    drill: Drill


class IndexOfCollection(Section):
    """An index; ``keys`` in order, 1 ascending, -1 descending."""

    collection: Identifier
    keys: Annotated[dict[Identifier, Literal[1, -1]], Field(min_length=1)]
    unique: Flag = False


class CdnRule(Section):
    """What the CDN does with some paths: by file ending or by prefix."""

    endings: tuple[Name, ...] = ()
    prefix: Text | None = None
    expires: Duration | None = None
    cache_control: Text


class Performance(Section):
    """Indexes, time to live of what the cache holds, and the CDN's rules."""

    indexes: Annotated[tuple[IndexOfCollection, ...], Field(min_length=1)]
    cache_ttl: dict[Identifier, Duration]
    cdn: tuple[CdnRule, ...]
