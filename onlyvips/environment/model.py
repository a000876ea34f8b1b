"""What an environment's file may say, section by section."""

from __future__ import annotations

from collections.abc import Mapping
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
from onlyvips.environment.problems import Path, dotted
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
    _lines: Mapping[Path, int] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """The file it was read from, empty when it was made otherwise."""
        return self._file

    def where(self, *path: str | int) -> str:
        """``file:line: key`` of a key, for a refusal; the line is that of the nearest parent that the file has."""
        there = next((here for end in range(len(path), 0, -1) if (here := path[:end]) in self._lines), ())
        return f"{self._file or self.name}:{self._lines.get(there, 1)}: {dotted(path)}"
