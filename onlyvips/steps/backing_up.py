"""The backup before a release: of one kind one is written at a time, so a release waits for its turn."""

from __future__ import annotations

from collections.abc import Callable

from onlyvips.core.plan import Waits
from onlyvips.errors import Occupied, Permanent
from onlyvips.ports import Clock


def in_turn(
    take: Callable[[], str],
    clock: Clock,
    waits: Waits,
    progress: Callable[[], None],
    tell: Callable[[str], None],
) -> str:
    """``take`` a backup, once nobody else writes one: the sentence of what it waits for is given to ``tell``.

    Raises Permanent when it still is not its turn at the maximum hold, and what ``take`` and ``progress`` raise: an
    abort ends the wait.
    """
    until = clock.monotonic() + waits.maximum_hold
    while True:
        try:
            return take()
        except Occupied as error:
            told = f"the backup before it waits for its turn: {error.__cause__ or error}"
            if clock.monotonic() >= until:
                raise Permanent(
                    f"{told} It was not its turn within {waits.maximum_hold:.0f} s: nothing was changed; see "
                    "`onlyvips backup list`, then start the release again."
                ) from error
        tell(told)
        progress()
        clock.sleep(waits.poll)
