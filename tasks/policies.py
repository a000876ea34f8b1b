"""The only retries there are, driven by the error vocabulary: what may pass by itself is tried again, nothing else.

Every task is NO_CACHE: it converges from the live state, and no cache may say that it was done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from onlyvips.errors import Transient, UnknownOutcome


def passes_by_itself(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """True for errors that asking again may cure: a decision is made anew each time, so nothing is done twice."""
    try:
        state.result()
    except (Transient, UnknownOutcome):
        return True
    except BaseException:  # noqa: BLE001 - whatever else it is, it does not pass by itself
        return False
    return False


def rollout_task(**options: Any) -> Callable[..., Any]:
    """Options of ``@task`` for a rollout: some fourteen minutes of patience with the cluster, then a person is told."""
    return _patient([0.5, 1, 2, 5, 10, 15, *[20] * 40], options)


def backup_task(**options: Any) -> Callable[..., Any]:
    """Options of ``@task`` for a backup: some three minutes of patience with a server that blinks."""
    return _patient([1, 5, 15, 30, 60, 60], options)


def _patient(delays: list[float], options: dict[str, Any]) -> Callable[..., Any]:
    from prefect import task

    return task(
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=passes_by_itself,
        **options,
    )
