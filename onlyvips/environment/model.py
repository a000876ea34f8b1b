"""What an environment's file may say, section by section."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr

from onlyvips.environment.base import Name, Section
from onlyvips.environment.delivery import (
    Analysis,
    Decision,
    Endpoints,
    EndpointsFile,
    Platform,
    Release,
    Service,
    Strategies,
    WaitTimes,
)
from onlyvips.environment.operations import Monitoring, People, Readiness, Security
from onlyvips.environment.protection import Backup, Performance, Recovery


class Environment(Section):
    """A validated environment. Holds references to secrets, never their values."""

    name: Name
    endpoints_file: EndpointsFile | None = None
    endpoints: Endpoints
    platform: Platform
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    strategies: Strategies
    waits: WaitTimes
    analysis: Analysis
    release: Release
    decision: Decision
    readiness: Readiness
    monitoring: Monitoring
    security: Security
    performance: Performance
    backup: Backup
    recovery: Recovery
    people: People

    _file: str = PrivateAttr(default="")

    @property
    def file(self) -> str:
        """The file it was read from, empty when it was made otherwise."""
        return self._file
