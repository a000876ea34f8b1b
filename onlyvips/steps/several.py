"""Several things done at a time, and one that an interrupt ends at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
_GLANCE = 0.5
"""Seconds after which an interrupt is heard at the latest: one that reaches another thread wakes nobody."""


class Stopped(Exception):
    """Who waits for this thread was interrupted."""


def stoppable(do: Callable[[], T], stopping: threading.Event) -> T:
    """Do it in a thread: an interrupt is heard at once and sets ``stopping``, at which ``do`` and all its threads must
    end at their next sign of life (``Stopped``); then it is raised, and nobody writes anything any more."""
    stopping.clear()  # set by an attempt that failed by itself
    with ThreadPoolExecutor(1, thread_name_prefix="stoppable") as pool:
        try:
            doing = pool.submit(do)
            while not doing.done():
                wait([doing], _GLANCE)
            return doing.result()
        except BaseException:
            stopping.set()  # before the pool waits for its thread
            raise


def several(action: Callable[[T], None], items: Iterable[T], workers: int) -> None:
    """``action`` of each, ``workers`` at a time. Nothing is begun once one failed; raises the first failure when all
    that was begun has ended."""
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(action, item) for item in items]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
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
