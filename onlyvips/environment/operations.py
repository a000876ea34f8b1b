"""Sections on watching, security and people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from onlyvips.core.bulletin import Event
from onlyvips.environment.base import Email, Identifier, Name, Section, Text
from onlyvips.environment.quantities import Duration, Share, Threshold
from onlyvips.environment.references import SecretReference

Signal = Literal["latency", "errors", "database-pool", "disk", "payments", "cpu", "memory", "cache", "queue"]


class Alert(Section):
    """An alert; it fires when ``signal`` was ``above`` (or ``below``) for ``during``, at once without."""

    signal: Signal
    severity: Literal["critical", "warning"]
    quantile: Share | None = None
    above: Threshold | None = None
    below: Threshold | None = None
    during: Duration | None = None


class Metrics(Section):
    """The metrics by their names in Prometheus. ``latency`` is a histogram."""

    latency: Identifier
    requests: Identifier
    errors: Identifier
    database_connections: Identifier
    cache_hit_rate: Identifier
    task_completion_rate: Identifier
    payment_success_rate: Identifier


class Dashboard(Section):
    """A dashboard and what it shows."""

    title: Text
    shows: tuple[Text, ...]


class Monitoring(Section):
    """Metrics, alerts, dashboards."""

    metrics: Metrics
    alerts: Annotated[dict[Name, Alert], Field(min_length=1)]
    dashboards: Annotated[dict[Name, Dashboard], Field(min_length=1)]


class Probe(Section):
    """An item of the readiness checklist; ``limit`` is the least time left or the greatest age."""

    title: Text
    limit: Duration | None = None


class Readiness(Section):
    """The checklist; each item is probed, by its key, and gives evidence."""

    infrastructure: Annotated[dict[Name, Probe], Field(min_length=1)]
    security: Annotated[dict[Name, Probe], Field(min_length=1)]
    monitoring: Annotated[dict[Name, Probe], Field(min_length=1)]
    backup_and_recovery: Annotated[dict[Name, Probe], Field(min_length=1)]


class Scan(Section):
    """A scan before a deployment, and the tools that do it."""

    title: Text
    tools: Annotated[tuple[Text, ...], Field(min_length=1)]


class Security(Section):
    """Before a deployment, and at run time."""

    scans: Annotated[dict[Name, Scan], Field(min_length=1)]
    run_time: Annotated[dict[Name, Text], Field(min_length=1)]


class NotificationTarget(Section):
    """Where messages go: an Apprise URL, always a secret, and which ``wants``. ``to``: a mail server's addresses."""

    url: SecretReference
    wants: Annotated[tuple[Literal["all", Event], ...], Field(min_length=1)]
    to: Literal["leads", "escalation"] | None = None


class Notifications(Section):
    """What each says, and where to. Nobody answers for ``escalate_after``: that is told too."""

    says: tuple[Text, ...]
    slack_channel: Text
    targets: dict[Name, NotificationTarget] = {}
    escalate_after: Duration


class People(Section):
    """Who is called."""

    leads: Annotated[dict[Name, Email], Field(min_length=1)]
    escalation: Email
    on_call: SecretReference | None = None
    war_room: Text
    notifications: Notifications
