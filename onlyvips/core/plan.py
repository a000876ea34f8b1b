"""What an environment asks for, as plain frozen values: the rest of core reads these and nothing else.

``onlyvips.environment`` fills them from ``deployments/environments/<name>.yaml``. Durations are seconds, sizes bytes,
weights whole percent, shares between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["canary", "blue-green", "rolling", "recreate"]
RouterKind = Literal["gateway-api", "replica-ratio", "service-selector"]


@dataclass(frozen=True)
class Stage:
    """One step of a canary: ``weight`` percent of requests for at least ``hold`` seconds."""

    weight: int
    hold: float


@dataclass(frozen=True)
class Guardrail:
    """An absolute limit on a share of requests: an alert threshold of the plan, with the sample it needs.

    ``errors``: share of requests that are errors may not pass ``threshold``.
    ``latency``: at most ``threshold`` of requests may take longer than ``bound`` seconds (p95 <= 500 ms is
    ``threshold`` 0.05, ``bound`` 0.5); ``bound`` must be a bucket of the histogram.
    ``recent``: the last so many seconds are judged on their own too (the alert's duration), 0 for not.
    """

    name: str
    kind: Literal["errors", "latency"]
    threshold: float
    bound: float = 0.0
    minimum_requests: int = 100
    recent: float = 0.0


@dataclass(frozen=True)
class Margins:
    """What the canary may be worse than stable by: ``errors`` as a share of requests, ``latency`` as P(canary slower)
    above one half. Below ``minimum_requests`` of either side nothing is decided; a pod's first ``warm_up`` seconds do
    not count."""

    errors: float
    latency: float
    minimum_requests: int
    warm_up: float


@dataclass(frozen=True)
class MetricNames:
    """The judge's counters by their names in Prometheus; ``latency`` is a histogram. ``errors_may_be_absent``: a
    service that has had none exports none."""

    requests: str = "api_request_total"
    errors: str = "api_errors_total"
    latency: str = "api_request_duration_seconds"
    errors_may_be_absent: bool = False


@dataclass(frozen=True)
class Waits:
    """How long things may take. ``propagation`` is the longest a router needs to obey a change; ``hold_limit`` is for a
    person's hold, 0 for as long as ``maximum_hold``."""

    propagation: float
    poll: float
    look: float
    ready: float
    job: float
    maximum_hold: float
    hold_limit: float = 0.0


@dataclass(frozen=True)
class RouteRef:
    """The rule of the HTTPRoute that carries the service's requests."""

    name: str
    rule: str


@dataclass(frozen=True)
class Testers:
    """Who sends ``header`` with ``value`` gets the canary while it has traffic."""

    header: str
    value: str


@dataclass(frozen=True)
class ServicePlan:
    """One service of the platform: its names in the cluster and its image's repository, without a tag.

    ``sticky``: a canary's route keeps each user to one version within a stage, by a cookie; ``embedded``: one that a
    frame of another site keeps, too. ``router`` is what splits the requests of its canary.
    """

    name: str
    image: str
    strategy: Strategy
    deployment: str
    service: str
    route: RouteRef | None
    sticky: bool = False
    embedded: bool = False
    testers: Testers | None = None
    router: RouterKind = "gateway-api"

    @property
    def by_pods(self) -> bool:
        """Whether its canary's share of requests is its share of pods."""
        return self.strategy == "canary" and self.router == "replica-ratio"


@dataclass(frozen=True)
class SmokeTest:
    """A GET of ``path`` that has to be answered with ``status`` and a body that contains ``contains``."""

    path: str
    status: int = 200
    contains: str = ""


@dataclass(frozen=True)
class BlueGreen:
    """Two Deployments, ``DEPLOYMENT-COLOUR``, told apart by ``label``; ``tests`` are asked of the one without users.

    ``beside`` names other services behind the same Service.
    """

    label: str
    colours: tuple[str, str]
    tests: tuple[SmokeTest, ...]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """An index of the plan: ``keys`` in order, 1 ascending, -1 descending."""

    collection: str
    keys: tuple[tuple[str, int], ...]
    unique: bool = False


@dataclass(frozen=True)
class MigrationPlan:
    """The index migration: a Kubernetes Job that runs ``image`` with ``command`` (PLAN goes in as JSON in env)."""

    job: str
    image: str
    command: tuple[str, ...]
    database: str
    uri_secret: str
    uri_key: str
    indexes: tuple[Index, ...]


@dataclass(frozen=True)
class HookPlan:
    """A Job that a release runs to its end, once: ``image`` with ``command``, for at most ``timeout`` seconds."""

    name: str
    image: str
    command: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class SecretPlan:
    """A Secret of the release: ``values`` maps each key to a *reference* (``env:``, ``file:`` …), never to a value.

    ``replaces`` is the name that the Deployment's pod template uses today, or the stem of it before the hash.
    """

    name: str
    replaces: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Approvals:
    """Where people have to approve: before anything changes, before stages of a canary (by weight, 100 is the
    promotion), before the switch of blue-green. ``at_least`` so many of ``by`` (empty: anybody) within ``within``
    seconds; with ``four_eyes`` who started the release does not count."""

    before_traffic: bool = False
    stages: tuple[int, ...] = ()
    before_switch: bool = False
    within: float = 0.0
    at_least: int = 1
    by: tuple[str, ...] = ()
    four_eyes: bool = False


@dataclass(frozen=True)
class ChartPlan:
    """The Helm ``release`` that owns a service's Deployment, and the chart that it is upgraded from: a ``path`` (which
    may be a reference), or a ``name`` with its ``version``, in ``repository`` where the name alone does not say.

    Values are paths such as ``backend.image.tag``: of the image's tag, of the release's id (an annotation of the pods),
    and of each Secret's name. One call of Helm takes at most ``timeout`` seconds.
    """

    release: str
    image_value: str
    release_value: str
    secret_values: tuple[tuple[str, str], ...]
    timeout: float
    path: str = ""
    name: str = ""
    version: str = ""
    repository: str = ""


@dataclass(frozen=True)
class ConfigPlan:
    """A ConfigMap of the release: its ``keys``, those of a ``folder``'s files come on top. What it holds is read when
    it is made. ``replaces`` as of a Secret."""

    name: str
    replaces: str
    keys: tuple[str, ...]
    folder: str = ""


@dataclass(frozen=True)
class ReleasePlan:
    """All that one rollout of one service needs to know of its environment.

    ``automatic_managers`` are field managers that write by themselves (a GitOps controller): where one owns a field
    that a release would write, the release is refused. ``stages`` of blue-green is
    one: how long the old colour is kept warm. Without ``margins`` the canary is not compared with stable. ``digest`` is
    that of the image that is asked for, "" where it is named by its tag alone.
    """

    environment: str
    namespace: str
    service: ServicePlan
    stages: tuple[Stage, ...]
    waits: Waits
    guardrails: tuple[Guardrail, ...]
    alpha: float
    lease_duration: float
    migration: MigrationPlan | None
    secrets: tuple[SecretPlan, ...]
    automatic_managers: tuple[str, ...]
    margins: Margins | None = None
    blue_green: BlueGreen | None = None
    before: tuple[HookPlan, ...] = ()
    after: tuple[HookPlan, ...] = ()
    helm: str = ""
    digest: str = ""
    metrics: MetricNames = MetricNames()
    approvals: Approvals | None = None
    chart: ChartPlan | None = None
    configs: tuple[ConfigPlan, ...] = ()


@dataclass(frozen=True)
class ManyPlan:
    """A release of several ``services``, in the order in which they go forward. ``before`` and ``after`` are hooks;
    ``contract`` is the migration that nothing can be taken back across."""

    environment: str
    services: tuple[str, ...]
    waits: Waits
    lease_duration: float
    migration: MigrationPlan | None = None
    before: tuple[HookPlan, ...] = ()
    after: tuple[HookPlan, ...] = ()
    contract: HookPlan | None = None
    approvals: Approvals | None = None


@dataclass(frozen=True)
class DestinationPlan:
    """A place that backups are copied to. What a kind of place does not have is empty.

    ``url``, ``access_key``, ``secret_key`` and ``path`` may be references (``env:`` …); keys always are. ``medium``,
    ``offsite`` and ``immutable`` are what the environment declares.
    """

    name: str
    kind: Literal["s3", "directory"]
    medium: str
    offsite: bool
    immutable: bool
    url: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    path: str
    pruner_access_key: str = ""
    pruner_secret_key: str = ""


@dataclass(frozen=True)
class Scheduled:
    """A deployment that Prefect starts by itself each ``every`` seconds, ``after`` so many, with these parameters;
    ``name`` is unique."""

    name: str
    deployment: str
    parameters: tuple[tuple[str, str | float], ...]
    every: float
    after: float = 0.0


@dataclass(frozen=True)
class LeasePlan:
    """Where the right to write backups is held: at ``destination``, in the ``bucket`` of leases; ``duration`` is in
    seconds, ``patience`` how long a writer may make no progress."""

    destination: DestinationPlan
    bucket: str
    duration: float
    patience: float


@dataclass(frozen=True)
class BackupPlan:
    """How one base of the database is made.

    ``uri`` is a reference; ``recipients`` are age public keys or references to them. ``zstd_threads`` 0 means none
    beside the worker's own. ``workers`` collections are read at a time; a destination that takes nothing for
    ``stall_timeout`` seconds is dropped. ``part_size`` (a part of an upload), ``object_size`` (an object before
    compression) and ``split_above`` (collections that are split by ``_id``) are bytes. ``lock`` is the object lock's
    mode at destinations that are ``immutable``.
    """

    environment: str
    kind: str
    database: str
    uri: str
    destinations: tuple[DestinationPlan, ...]
    recipients: tuple[str, ...]
    zstd_level: int
    zstd_threads: int
    workers: int
    stall_timeout: float
    part_size: int
    object_size: int
    split_above: int
    lock: Literal["compliance", "governance", "none"]
