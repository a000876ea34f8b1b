"""The verbs of restores for Prefect: thin tasks over ``onlyvips.wiring.restores``."""

from __future__ import annotations

import time
from typing import Any

from prefect import get_run_logger

from onlyvips.core.backup_report import progress
from onlyvips.errors import Refused
from onlyvips.wiring import restores
from onlyvips.wiring.restores import Asked
from tasks.policies import backup_task


@backup_task(name="plan", task_run_name="plan {at}")
def plan(environment: str, kind: str, at: str, target: str, namespaces: list[str]) -> None:
    """What will be read and written, told in the log. Raises Refused for what would be refused."""
    found = restores.plan(Asked(environment, kind, at, target, tuple(namespaces)))
    for line in found.lines:
        get_run_logger().info("%s", line)
    if found.refusals:
        raise Refused(" ".join(found.refusals))


@backup_task(name="restore", task_run_name="restore {at}")
def run(environment: str, kind: str, at: str, target: str, namespaces: list[str]) -> dict[str, Any]:
    """All of it; a later attempt goes on where this one ended."""
    found = restores.run(Asked(environment, kind, at, target, tuple(namespaces)), _Teller().tell)
    get_run_logger().info("%s", found.line)
    return dict(found.values)


class _Teller:
    """Says in the log how far it is, every few seconds."""

    _EVERY = 5.0

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._read: dict[str, int] = {}
        self._log = get_run_logger()

    def tell(self, doing: str, size: int) -> None:
        """So many bytes more of what is being done."""
        self._read[doing] = self._read.get(doing, 0) + size
        now = time.monotonic()
        if now - self._told >= self._EVERY:
            self._told = now
            self._log.info("%s: %s", doing, progress(self._read[doing], 0, now - self._began))
