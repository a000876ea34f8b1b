"""The only retries there are, driven by the error vocabulary: what may pass by itself is tried again, nothing else.

Every task is NO_CACHE: it converges from the live state, and no cache may say that it was done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from onlyvips.errors import Abandoned, Permanent, Transient, UnknownOutcome

if TYPE_CHECKING:  # a command without a server needs no Prefect
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

T = TypeVar("T")
_MINUTES = [1.0, 5.0, 15.0, 30.0, 60.0, 60.0]
BEGINNINGS = 3
"""How often a backup is begun, in all, that is abandoned each time."""


def passes_by_itself(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """True for errors that asking again may cure: a decision is made anew each time, so nothing is done twice."""
    try:
        state.result()
    except (Transient, UnknownOutcome):
        return True
    except BaseException:  # noqa: BLE001 - whatever else it is, it does not pass by itself
        return False
    return False


def goes_on(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """As ``passes_by_itself``, but not for what was abandoned: that is begun anew, by ``until_whole``."""
    try:
        state.result()
    except Abandoned:
        return False
    except BaseException:  # noqa: BLE001 - asked once more below
        return passes_by_itself(task, run, state)
    return False


def rollout_task(**options: Any) -> Callable[..., Any]:
    """Options of ``@task`` for a rollout: some fourteen minutes of patience with the cluster, then a person is told."""
    return _patient([0.5, 1, 2, 5, 10, 15, *[20] * 40], passes_by_itself, options)


def backup_task(**options: Any) -> Callable[..., Any]:
    """Options of ``@task`` for a backup: some three minutes of patience with a server that blinks."""
    return _patient(_MINUTES, passes_by_itself, options)


def step_task(**options: Any) -> Callable[..., Any]:
    """As ``backup_task``, for a step of a backup that ``until_whole`` begins anew where one is abandoned."""
    return _patient(_MINUTES, goes_on, options)


def until_whole(take: Callable[[], T], tell: Callable[[str], None], wait: Callable[[float], None]) -> T:
    """``take``, begun anew where it was abandoned, and ``tell`` why. Raises Permanent when that is so each time."""
    for number in range(1, BEGINNINGS + 1):
        try:
            return take()
        except Abandoned as error:
            if number == BEGINNINGS:
                raise Permanent(f"There is no backup: {number} were begun and abandoned. The last: {error}") from error
            tell(f"{error} It is begun anew, {number + 1} of at most {BEGINNINGS} times.")
            wait(error.delay)
    raise AssertionError("not reached")


def _patient(delays: list[float], again: Callable[..., bool], options: dict[str, Any]) -> Callable[..., Any]:
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    return task(
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=again,
        **options,
    )
