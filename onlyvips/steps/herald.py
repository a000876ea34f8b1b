"""Tells people the news of a release, beside the release: nothing of it can fail, delay or stop the driver.

Whoever drives shows the herald each record that it reads. News that a target was not given yet, as the record says, is
sent from a thread of that target, and what became of it is written beside the record. A driver that dies in between
leaves news untold: the next one sends it, so a message may come twice, and is not lost while the release is open.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from onlyvips.core import group_news
from onlyvips.core.bulletin import Event, News
from onlyvips.core.group import Group
from onlyvips.core.message import Message
from onlyvips.core.news import news, untold
from onlyvips.core.plan import ManyPlan, ReleasePlan
from onlyvips.core.record import Record, Told
from onlyvips.errors import OnlyVipsError
from onlyvips.ports import Clock
from onlyvips.ports.notifier import Notifier

_PATIENCE = 5.0
"""Seconds that the end of a run waits for messages that are on their way."""
_AGAIN, _AT_MOST = 60.0, 900.0
"""Seconds after which a target that did not take a message is asked again; twice that each time, up to the second."""
_LOG = logging.getLogger("onlyvips.notifications")

Start = Callable[[Callable[[], None]], object]


@dataclass(frozen=True)
class Target:
    """Where messages go, and which: ``opened`` makes the notifier, in the target's own thread."""

    name: str
    wants: frozenset[Event]
    opened: Callable[[], Notifier]


class Herald:
    """What tells people of a release; this one has nobody to tell."""

    def look(self, record: Record | Group) -> None:
        """Have told what ``record`` has to tell. Never blocks, never raises."""

    def settle(self, patience: float = _PATIENCE) -> None:
        """Give messages that are on their way a moment, at the end of a run. Never raises."""

    def owes(self, record: Record | Group) -> bool:
        """Whether somebody was not given yet what ``record`` has to tell, as it says itself."""
        return False


SILENT = Herald()


def in_a_thread(work: Callable[[], None]) -> None:
    """Start ``work`` beside the release; the end of the process does not wait for it."""
    threading.Thread(target=work, name="notifications", daemon=True).start()


@dataclass
class _Line:
    """What one target waits for; ``failed``: what it did not take, and why; it is asked again after ``rests_until``."""

    target: Target
    posts: deque[tuple[Record | Group, News]] = field(default_factory=deque)
    seen: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    rests: float = _AGAIN
    rests_until: float = 0.0
    working: bool = False


class Crier(Herald):
    """Tells each target what it wants. ``note`` writes down what became of it, ``link`` says where a person looks;
    ``plan`` is that of the service, or of all where the release of several services itself is told of."""

    def __init__(
        self,
        targets: Sequence[Target],
        clock: Clock,
        plan: ReleasePlan | ManyPlan,
        *,
        escalate_after: float,
        note: Callable[[str, Told], None],
        link: Callable[[Any], str],
        start: Start = in_a_thread,
    ) -> None:
        self._lines = [_Line(target) for target in targets]
        self._clock, self._plan, self._escalate_after = clock, plan, escalate_after
        self._note, self._link, self._start = note, link, start
        self._idle = threading.Condition()

    def look(self, record: Record | Group) -> None:
        """See ``Herald``."""
        try:
            found = self._found(record)
            for line in self._lines:
                self._queue(line, record, found)
        except Exception:  # noqa: BLE001 - a release never fails by its news
            _LOG.exception("What release %s has to tell could not be worked out.", record.id)

    def _found(self, record: Record | Group) -> Sequence[News]:
        now, plan = self._clock.now(), self._plan
        if isinstance(record, Group):
            assert isinstance(plan, ManyPlan)
            return group_news.news(record, plan, now, self._escalate_after)
        assert isinstance(plan, ReleasePlan)
        return news(record, plan, now, self._escalate_after)

    def owes(self, record: Record | Group) -> bool:
        """See ``Herald``."""
        found = self._found(record)
        return any(self._untold(line, record, found) for line in self._lines)

    def _untold(self, line: _Line, record: Record | Group, found: Sequence[News]) -> list[News]:
        return untold((each for each in found if each.event in line.target.wants), record, line.target.name)

    def _queue(self, line: _Line, record: Record | Group, found: Sequence[News]) -> None:
        with self._idle:
            for one in self._untold(line, record, found):
                rested = one.key not in line.failed or line.rests_until <= self._clock.monotonic()
                if one.key not in line.seen and rested:
                    line.seen.add(one.key)
                    line.posts.append((record, one))
            if not line.posts or line.working:
                return
            line.working = True
        self._start(lambda: self._work(line))

    def _work(self, line: _Line) -> None:
        while True:
            with self._idle:
                if not line.posts:
                    line.working = False
                    self._idle.notify_all()
                    return
                record, one = line.posts.popleft()
            try:
                self._tell(line, record, one)
            except OnlyVipsError as error:
                _LOG.warning("What %s was told of %s is not written down: %s", line.target.name, record.id, error)
            except Exception:  # noqa: BLE001 - a release never fails by its news
                _LOG.exception("Telling %s of release %s went wrong.", line.target.name, record.id)

    def _tell(self, line: _Line, record: Record | Group, one: News) -> None:
        failed = _sent(line.target, one.message(self._link(record)))
        with self._idle:
            known = line.failed.get(one.key)
            self._rest(line, one.key, failed)
        if failed:
            _LOG.warning("%s was not told that %s: %s", line.target.name, one.title, failed)
        if failed != known:
            self._note(record.id, Told(one.key, line.target.name, self._clock.now(), failed))

    def _rest(self, line: _Line, key: str, failed: str) -> None:
        if failed:
            line.seen.discard(key)
            line.failed[key] = failed
            line.rests_until = self._clock.monotonic() + line.rests
            line.rests = min(2 * line.rests, _AT_MOST)
        else:
            line.failed.pop(key, None)
            line.rests, line.rests_until = _AGAIN, 0.0

    def settle(self, patience: float = _PATIENCE) -> None:
        """See ``Herald``."""
        with self._idle:
            self._idle.wait_for(lambda: not any(line.working for line in self._lines), patience)


def _sent(target: Target, message: Message) -> str:
    """Why ``target`` did not take it, "" when it did."""
    try:
        target.opened().send(message)
    except OnlyVipsError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a notifier raises: its text may hold the address
        return f"it raised {type(error).__name__}"
    return ""
