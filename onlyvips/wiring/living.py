"""A sign of life while something long is done that does not give one by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from onlyvips.errors import OnlyVipsError, Transient, UnknownOutcome

T = TypeVar("T")

_SIGN_OF_LIFE = 5.0


@contextmanager
def lively(progress: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Say every few seconds that the driver lives, whatever is waited for. The value passes on what that raised: an
    abort that somebody asked for, a lease that is lost."""
    done, raised = threading.Event(), list[OnlyVipsError]()

    def live() -> None:
        while not raised and not done.wait(_SIGN_OF_LIFE):
            try:
                progress()
            except OnlyVipsError as error:
                raised.append(error)

    def alive() -> None:
        if raised:
            raise raised[0]

    thread = threading.Thread(target=live, name="backup-lives", daemon=True)
    thread.start()
    try:
        yield alive
    finally:
        done.set()
        thread.join()


def alive_while(progress: Callable[[], None], do: Callable[[], T]) -> T:
    """What ``do`` returns, with signs of life meanwhile: a store that is slow does not cost a driver its lease, nor
    does an API that is away for a moment. A lease that was lost is found by the next write."""

    def sign() -> None:
        with suppress(Transient, UnknownOutcome):
            progress()

    with lively(sign):
        return do()
