"""Several things done at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def several(action: Callable[[T], None], items: Iterable[T], workers: int) -> None:
    """``action`` of each, ``workers`` at a time. Nothing is begun once one failed; raises the first failure when all
    that was begun has ended."""
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(action, item) for item in items]
        wait(running, return_when=FIRST_EXCEPTION)
        for one in running:
            one.cancel()
    for one in running:
        if not one.cancelled():
            one.result()


def at_once(actions: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Each in a thread of its own, for what waits for answers: what it gave or raised, in their order."""
    if not actions:
        return []
    with ThreadPoolExecutor(len(actions)) as pool:
        running = [pool.submit(_settled, action) for action in actions]
    return [one.result() for one in running]


def _settled(action: Callable[[], T]) -> T | Exception:
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - it is the caller's, with what the others came to
        return error
