"""The verbs of restores for Prefect: thin tasks over ``onlyvips.wiring.restores``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.runtime import flow_run

from onlyvips.core.backup_report import progress
from onlyvips.errors import OnlyVipsError, Permanent, Transient
from onlyvips.steps.pipe import Progress
from onlyvips.wiring import restore_turn, restores
from onlyvips.wiring.restores import Asked, Done, Planned
from tasks.policies import backup_task


def asked(
    environment: str,
    kind: str,
    at: str,
    target: str,
    namespaces: list[str] | None = None,
    overwrite: list[str] | None = None,
    waived: str = "",
    users_and_roles: bool = False,
    confirmed: str = "",
) -> Asked:
    """What the parameters of a run ask for."""
    names, over = tuple(namespaces or ()), tuple(overwrite or ())
    return Asked(environment, kind, at, target, names, over, waived, users_and_roles, confirmed)


def _me(operator: str) -> str:
    return f"{operator or 'prefect'}, run {flow_run.name} ({flow_run.id}), attempt {flow_run.run_count}"


@contextmanager
def alone(asked: Asked, operator: str) -> Iterator[None]:
    """Nobody else restores this kind of the environment while the block does."""
    begin(asked, _me(operator))
    try:
        yield
    finally:
        restore_turn.end(asked)


@backup_task(name="begin", task_run_name="begin")
def begin(asked: Asked, holder: str) -> None:
    """The lease of restores. Raises Driven, which is refused, while another run lives."""
    if lacking := restore_turn.begin(asked, holder, Teller().tell):
        get_run_logger().warning("%s", lacking)


@backup_task(name="plan", task_run_name="plan {asked.at}")
def plan(asked: Asked) -> Planned:
    """What will be read and written, told in the log. Raises Refused for what would be refused."""
    found = restores.plan(asked)
    for line in found.lines if found.logged is None else found.logged:
        get_run_logger().info("%s", line)
    restores.allow(asked, found)
    return found


@backup_task(name="safety backup", task_run_name="safety backup of {asked.kind}")
def protect(asked: Asked, planned: Planned, operator: str) -> str:
    """What would bring back what is written over."""
    before = restores.earlier(asked) if planned.overwritten else []
    found = restores.protect(asked, planned, _me(operator), restores.counted(Teller().tell))
    for line in (f"Safety backup: {found}.", *before):
        get_run_logger().info("%s", line)
    return found


@backup_task(name="keep", task_run_name="keep what begins")
def keep_begun(asked: Asked, planned: Planned, safety: str, operator: str) -> str:
    """The evidence of what is about to be done; returns its name."""
    return _kept(*restores.keep(asked, _me(operator), safety, {"plan": dict(planned.values)}))


@backup_task(name="keep", task_run_name="keep what was done")
def keep_ended(asked: Asked, done: Done, safety: str, operator: str, begun: str) -> str:
    """The evidence of what was done."""
    return _kept(*restores.keep(asked, _me(operator), safety, {"result": dict(done.values)}, begun))


def _kept(id: str, lacking: str) -> str:
    if lacking:
        get_run_logger().warning("%s", lacking)
    return id


@backup_task(name="restore", task_run_name="restore {asked.at}")
def run(asked: Asked) -> Done:
    """All of it; a later attempt goes on where this one ended."""
    found = restores.run(asked, Teller().tell)
    get_run_logger().info("%s", found.line)
    return found


@backup_task(name="flush cache", task_run_name="flush the cache")
def flush_cache(asked: Asked, operator: str) -> None:
    """No cache of what was there before."""
    _after(restores.flush_cache, asked, operator)


@backup_task(name="new base", task_run_name="new base")
def new_base(asked: Asked, operator: str) -> None:
    """A base of what is there now."""
    _after(restores.new_base, asked, operator)


@backup_task(name="finish", task_run_name="finish")
def finish(asked: Asked) -> None:
    """Nothing is left of the restore."""
    _after(lambda asked, holder, tell: restores.finish(asked) or [], asked, "")


def _after(step: Callable[[Asked, str, Progress], list[str]], asked: Asked, operator: str) -> None:
    try:
        for line in step(asked, _me(operator), restores.counted(Teller().tell)):
            get_run_logger().info("%s", line)
    except Transient as error:
        raise Transient(restores.after_all(error), delay=error.delay) from error
    except OnlyVipsError as error:
        raise Permanent(restores.after_all(error)) from error


class Teller:
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
