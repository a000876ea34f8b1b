"""What a release shows in Prefect, from a thread of its own: an API that is away, or silent, must not stop the driver.

Of several things to show under one name only the latest is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial

_SETTLE = 10.0

_waiting: dict[str, Callable[[], object]] = {}
_guard = threading.Lock()
_thread: threading.Thread | None = None


def soon(name: str, call: Callable[[], object]) -> None:
    """Have ``call`` made, in this task's context, unless a later one of ``name`` takes its place. Never blocks."""
    global _thread
    with _guard:
        _waiting[name] = partial(copy_context().run, call)
        if _thread is None:
            _thread = threading.Thread(target=_work, name="artifacts", daemon=True)
            _thread.start()


def settle(patience: float = _SETTLE) -> None:
    """Give what is still to be shown a moment, at the end of a run."""
    if (thread := _thread) is not None:
        thread.join(patience)


def _work() -> None:
    global _thread
    while True:
        with _guard:
            if not _waiting:
                _thread = None
                return
            call = _waiting.pop(next(iter(_waiting)))
        with suppress(Exception):
            call()
