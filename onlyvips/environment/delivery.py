"""Sections on the platform and how a release reaches it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from onlyvips.core.plan import RouterKind, Strategy
from onlyvips.environment.base import (
    Digest,
    Flag,
    HeaderName,
    HeaderValue,
    Identifier,
    Image,
    Name,
    Section,
    TaggedImage,
    Text,
    Version,
    Whole,
)
from onlyvips.environment.calendar_of import ReleaseFreeze, ReleaseWindow
from onlyvips.environment.chart_of import Chart
from onlyvips.environment.config_of import ConfigOfRelease
from onlyvips.environment.quantities import Duration, Share, Weight
from onlyvips.environment.references import Endpoint, Kubeconfig, PathReference, SecretReference

_ROUTERS: dict[str, RouterKind] = {kind: kind for kind in get_args(RouterKind)}
_UNTESTED = ("istio", "linkerd", "traefik", "contour", "kong", "apisix", "ambassador", "gloo", "smi", "alb", "app-mesh")
_REFUSED_ROUTERS = {
    "ingress-nginx": "ingress-nginx is retired and gets no fixes: move to the Gateway API (router: gateway-api)",
    **{
        name: f"{name.capitalize()} is refused for now, for no test has moved requests through it by its own objects: "
        "use router: gateway-api, where it speaks the Gateway API"
        for name in _UNTESTED
    },
}


def _router(name: object) -> RouterKind:
    if name not in _ROUTERS:
        known = f"`{name}` is not a router that we can drive: use one of {', '.join(_ROUTERS)}"
        raise ValueError(_REFUSED_ROUTERS.get(str(name), known))
    return _ROUTERS[str(name)]


_Router = Annotated[RouterKind, BeforeValidator(_router)]


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("a path begins with a slash, such as /healthz")
    return text


class EndpointsFile(Section):
    """A file of NAME=value lines that wins over the process environment for ``env:`` names with ``prefix``."""

    home: Identifier
    default_home: Text
    name: Text
    prefix: Identifier
    start: Text


class Endpoints(Section):
    """Where the platform's parts answer. Those with a password are secrets, so references."""

    kubeconfig: Kubeconfig
    api: Endpoint
    prometheus: Endpoint
    mongodb: SecretReference
    redis: SecretReference | None = None
    alertmanager: Endpoint | None = None
    grafana: Endpoint | None = None
    loki: Endpoint | None = None
    sentry: SecretReference | None = None
    vault: Endpoint | None = None
    prefect_api: Endpoint | None = None
    prefect_ui: Endpoint | None = None
    gateway_admin: Endpoint | None = None
    load: Endpoint | None = None


class Manifests(Section):
    """Where the platform's repository keeps what a release applies."""

    green_deployment: Text
    migration_job: Text
    secrets: Text
    configs: Text


class MongoDB(Section):
    """The database; the first two are what may answer at ``endpoints.mongodb``."""

    hosting: Literal["atlas", "self-hosted", "lab"]
    database: Identifier
    collections: Annotated[tuple[Identifier, ...], Field(min_length=1)]


class Redis(Section):
    """The cache; a persistent one is backed up too."""

    role: Literal["cache"]
    persistent: Flag


class Platform(Section):
    """The cluster and what stands around it. ``helm_program`` is Helm, by default the one on PATH."""

    namespace: Name
    router: _Router
    main_service: Name
    helm_release: Name | None = None
    helm_program: PathReference | None = None
    automatic_managers: tuple[Identifier, ...] = ()
    domains: tuple[Text, ...] = ()
    mongodb: MongoDB
    redis: Redis
    media: Literal["s3", "directory", "none"]
    cdn: Literal["cloudflare", "cloudfront", "none"]
    secret_manager: Literal["vault", "ssm", "none"]
    manifests: Manifests | None = None
    replaced_scripts: dict[Text, Text] = {}


class Route(Section):
    """The HTTPRoute's name and the name of the rule in it."""

    name: Name
    rule: Name


class Testers(Section):
    """Who sends ``header`` with exactly ``value`` gets the canary while it has traffic."""

    header: HeaderName
    value: HeaderValue


class Service(Section):
    """One service. ``assets`` says whether a front-end's files carry the version in their names.

    ``affinity: cookie``: a canary's route keeps each user to one version within a stage; ``embedded``: in a frame of
    another site, too (SameSite=None; Secure; Partitioned). ``router`` splits the requests of its canary,
    platform.router where it is left out; ``replicas`` are the pods of which a canary by replica-ratio makes its stages.
    """

    kind: Literal["api", "front-end", "bot"]
    image: Image
    strategy: Strategy
    deployment: Name
    service: Name | None = None
    route: Route | None = None
    assets: Literal["versioned", "published-first", "none"] = "versioned"
    affinity: Literal["none", "cookie"] = "none"
    embedded: Flag = False
    testers: Testers | None = None
    chart: Chart | None = None
    router: _Router | None = None
    replicas: Whole | None = None


class StageOfCanary(Section):
    """``weight`` percent of requests for at least ``hold``."""

    weight: Weight
    hold: Duration


class Canary(Section):
    """Stages, each watched, then promotion at 100 %."""

    stages: Annotated[tuple[StageOfCanary, ...], Field(min_length=1)]
    promotion: Weight
    on_failure: Literal["roll-back"]


class SmokeRequest(Section):
    """A GET that the other colour has to answer with ``status`` and a body that contains ``contains``; of ``service``,
    or of each."""

    path: Annotated[Text, AfterValidator(_path)]
    status: Whole = 200
    contains: str = ""
    service: Name | None = None


class SmokeTest(Section):
    """What is asked before the switch; ``at`` is where users come in, endpoints.api where it is left out."""

    requests: Annotated[tuple[SmokeRequest, ...], Field(min_length=1)]
    at: Endpoint | None = None


class BlueGreen(Section):
    """Two colours and the Service that selects one by ``label``; the old one is kept warm for ``keep_warm``."""

    service: Name
    label: Identifier
    colours: tuple[Name, Name]
    smoke_test: SmokeTest
    keep_warm: Duration


class Rolling(Section):
    """The Deployment's own rolling update; what undoes it."""

    on_failure: Literal["undo"]


class Recreate(Section):
    """Stop, then start: for what may never run twice."""

    on_failure: Literal["undo"]


class Strategies(Section):
    """The ways of delivery; services choose by name."""

    recommended: Strategy
    canary: Canary
    blue_green: BlueGreen
    rolling: Rolling
    recreate: Recreate


class WaitTimes(Section):
    """How long things may take, seconds when read. ``propagation``: the longest a router needs to obey;
    ``hold_limit``: how long a person may hold a release, ``maximum_hold`` where it is left out; ``reconcile_every``:
    between two runs of the reconciler in Prefect, none where it is left out."""

    propagation: Duration
    poll: Duration
    look: Duration
    ready: Duration
    job: Duration
    maximum_hold: Duration
    hold_limit: Duration | None = None
    lease: Duration
    reconcile_every: Duration | None = None


class Analysis(Section):
    """The judge: ``guardrails`` name alerts; margins are what the canary may be worse by. ``errors_may_be_absent``: a
    service that has had no error exports no counter of them, so none is no error."""

    alpha: Share
    minimum_requests: Whole
    guardrails: Annotated[tuple[Name, ...], Field(min_length=1)]
    errors_margin: Share
    latency_margin: Share
    errors_may_be_absent: Flag = False


class SecretOfRelease(Section):
    """A new Secret: the pods' templates refer to ``replaces`` today, or to ``replaces`` or ``name`` with a hash."""

    name: Name
    replaces: Name
    values: Annotated[dict[Identifier, SecretReference], Field(min_length=1)]


class UriSecret(Section):
    """The Secret of the cluster, and its key, that holds the database's URI."""

    name: Name
    key: Identifier


class Migration(Section):
    """The Kubernetes Job that makes ``performance.indexes``."""

    job: Name
    image: TaggedImage
    command: Annotated[tuple[Text, ...], Field(min_length=1)]
    uri_secret: UriSecret


class Hook(Section):
    """A Kubernetes Job that a release runs once, for at most ``timeout``."""

    name: Name
    image: TaggedImage
    command: Annotated[tuple[Text, ...], Field(min_length=1)]
    timeout: Duration


class Hooks(Section):
    """``before`` anything changes, and ``after`` the new version serves; one that fails takes the release back."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()


def _approval_stages(weights: tuple[int, ...]) -> tuple[int, ...]:
    if any(after <= before for before, after in pairwise(weights)):
        raise ValueError("weights must rise from one to the next")
    return weights


class ReleaseApprovals(Section):
    """Where people have to approve: ``before_traffic`` (before anything changes), before these ``stages`` of a canary
    (weights; 100% is the promotion), ``before_switch`` of blue-green. ``at_least`` so many of ``by`` (anybody where it
    is left out) within ``within``; with ``four_eyes`` who started the release does not count."""

    before_traffic: Flag = False
    stages: Annotated[tuple[Weight, ...], AfterValidator(_approval_stages)] = ()
    before_switch: Flag = False
    within: Duration
    at_least: Whole = 1
    by: tuple[Text, ...] = ()
    four_eyes: Flag = False


class Release(Section):
    """One version: what it brings, in which order it happens, and how it comes back.

    ``depends`` names what a service needs to go forward before it. ``contract`` is a migration that the old version
    cannot live with: it runs once all services are promoted, and nothing goes back across it. ``digests`` says what
    the images of ``version`` are; with ``require_digest`` nothing is released by its tag alone.
    """

    version: Version
    brings: tuple[Text, ...]
    order: tuple[Literal["backup", "secrets", "migration", "deploy"], ...]
    services: Annotated[tuple[Name, ...], Field(min_length=1)]
    secrets: dict[Name, tuple[SecretOfRelease, ...]] = {}
    configs: dict[Name, tuple[ConfigOfRelease, ...]] = {}
    depends: dict[Name, tuple[Name, ...]] = {}
    migration: Migration | None = None
    hooks: Hooks = Hooks()
    contract: Hook | None = None
    require_digest: Flag = False
    digests: dict[Name, Digest] = {}
    windows: tuple[ReleaseWindow, ...] = ()
    freezes: tuple[ReleaseFreeze, ...] = ()
    approvals: ReleaseApprovals | None = None
    rollback: Literal["automatic"]
    rollback_by_hand: tuple[Text, ...]


class Decision(Section):
    """Go needs all of ``go``; any one of ``no_go`` stops the release."""

    go: Annotated[tuple[Text, ...], Field(min_length=1)]
    no_go: Annotated[tuple[Text, ...], Field(min_length=1)]
    slowdown_limit: Share
    coverage_minimum: Share
