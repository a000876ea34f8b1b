"""The same done to several things at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
